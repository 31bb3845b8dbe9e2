"""Weights that are published on the Hugging Face hub: are they here, or to be had?"""

from pathlib import Path

from embed.encoders.specs import WITHOUT_WEIGHTS
from embed.errors import WeightsNotFoundError

TIMEOUT_SECONDS = 10.0


def require_repository(repository: str, wanted: str, advice: str) -> None:
    """Return where the repository is in the local cache or can be reached.

    Asked before a library's own download, whose many attempts take a minute to fail.

    Raises:
        WeightsNotFoundError: neither; `wanted` says what for, `advice` how to do without.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    folder = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    if folder.is_dir():
        return
    try:
        HfApi().model_info(repository, timeout=TIMEOUT_SECONDS)
    except (HTTPError, HfHubHTTPError, OSError, ValueError) as error:
        looked = f"{HF_HUB_CACHE} and the hub's {repository}"
        raise weights_not_found(wanted, looked, advice, error) from error


def weights_not_found(
    wanted: str, looked: str, advice: str, error: BaseException
) -> WeightsNotFoundError:
    """The error that says what was wanted, where it was looked for, and what needs no weights."""
    reason = str(error).strip().splitlines()
    return WeightsNotFoundError(
        f"no weights for {wanted}: looked in {looked} "
        f"({reason[0] if reason else type(error).__name__}). {advice}; {WITHOUT_WEIGHTS}"
    )
