"""Which models' files are on this machine, looked up without the network."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

WEIGHTS_PATTERNS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class CachedModel:
    """A repository of the Hugging Face hub, as it lies in the local cache."""

    repository: str
    folder: Path

    def has(self, *names: str) -> bool:
        """Whether one of these files is there, whole: a link to a file that is gone is not."""
        return any((self.folder / name).is_file() for name in names)

    @property
    def has_weights(self) -> bool:
        """Whether weights of timm or transformers are there."""
        return any(
            path.is_file() for pattern in WEIGHTS_PATTERNS for path in self.folder.glob(pattern)
        )

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """What its config.json holds; empty where there is none that can be read."""
        try:
            content = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def cached_models() -> Iterator[CachedModel]:
    """Every snapshot of every model in the hub's local cache, by name."""
    from huggingface_hub import constants

    for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*")):
        name = folder.parents[1].name.removeprefix("models--")
        yield CachedModel(name.replace("--", "/", 1), folder)


def is_cached(models: Iterable[CachedModel], repository: str, names: Iterable[str]) -> bool:
    """Whether the repository's snapshot holds one of these files."""
    return any(model.repository == repository and model.has(*names) for model in models)


def is_downloaded(url: str) -> bool:
    """Whether OpenCLIP keeps the file of an address from an earlier download."""
    return (Path("~/.cache/clip").expanduser() / url.rpartition("/")[2]).is_file()
