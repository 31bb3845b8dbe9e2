"""The head file: a `.safetensors` with the weights, and everything else as JSON in its metadata.

Loading reads tensors and JSON and runs no code of the file's.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors
import torch
from jaxtyping import Int64
from safetensors.torch import load_file, save
from torch import Tensor, nn

from embed.errors import HeadError
from embed.files import replacing
from heads.info import HeadInfo, Output
from heads.kinds import build_network

FORMAT = "embedding-head"
FORMAT_VERSION = 2
SEEN_IDS = "seen_ids"
HEADER_START = 8
"""Where a safetensors file has the brace that opens its JSON, after that one's length."""


@dataclass(frozen=True)
class Head:
    """A trained head: what it is, its network in evaluation mode, and a hash of its file.

    `seen_ids` are those of `heads.seen.ids_of_sides`, None where the file keeps none.
    """

    info: HeadInfo
    network: nn.Module
    fingerprint: str
    seen_ids: Int64[np.ndarray, " s"] | None = None


def save_head(
    path: Path,
    info: HeadInfo,
    network: nn.Module,
    seen_ids: Int64[np.ndarray, " s"] | None = None,
) -> None:
    """Write a head file; beside the weights, hashes of the ids of what it was trained or chosen on.

    By `seen_ids` any store can tell what the head has seen; without them its splits do, as far as
    they can.
    """
    # One entry, since the library writes several in an order of luck: equal heads, equal bytes.
    metadata = {FORMAT: json.dumps({"format_version": FORMAT_VERSION, **asdict(info)})}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    if seen_ids is not None:
        tensors[SEEN_IDS] = torch.from_numpy(seen_ids)
    with replacing(path) as temporary:
        # By bytes, since the library's own file could be read by its owner alone.
        temporary.write_bytes(save(tensors, metadata))


def load_head(path: Path, output: Output | None = None) -> Head:
    """Read a head file; with `output`, only one that makes that.

    Raises:
        HeadError: there is none, it is not a head of this format version, or of another kind; or
            it is no safetensors file at all.
    """
    if not path.is_file():
        raise HeadError(f"no head at {path}: make one with `python -m heads train STORE -o {path}`")
    _refuse_other_format(path)
    try:
        info = _read_info(path)
        network = build_network(info)
        tensors = _read_tensors(path)
        seen_ids = tensors.pop(SEEN_IDS, None)
        network.load_state_dict(tensors)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        message = " ".join(str(error).split())[:200]
        raise HeadError(f"{path} is not a head, or it is damaged: {message}") from error
    if output not in (None, info.output):
        raise HeadError(f"{path} is {_described(info)}")
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    seen = None if seen_ids is None else seen_ids.numpy()
    return Head(info, network.eval(), digest, seen)


def _refuse_other_format(path: Path) -> None:
    """By the first bytes, of which the library's message would say nothing that people know."""
    with path.open("rb") as file:
        start = file.read(HEADER_START + 1)
    if start[HEADER_START:] != b"{":
        raise HeadError(
            f"{path} is not a head, since it is no safetensors file: expected one that "
            f"`python -m heads train` wrote{_looks_like(start)}"
        )


def _looks_like(start: bytes) -> str:
    if start.startswith(b"\x89HDF"):
        return "; it looks like a store: is STORE in the place of HEAD?"
    return ""


def _read_info(path: Path) -> HeadInfo:
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if FORMAT not in metadata:
        raise HeadError(f"{path} holds tensors of something else: expected a head")
    fields = json.loads(metadata[FORMAT])
    if not isinstance(fields, dict):
        raise TypeError(f"it says of itself {json.dumps(fields)[:60]}")
    found = fields.pop("format_version", None)
    if found != FORMAT_VERSION:
        raise HeadError(
            f"{path} is a head of format version {found}: expected version {FORMAT_VERSION}; "
            f"train it again"
        )
    return HeadInfo.from_json(fields)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    return dict(load_file(path))


def _described(info: HeadInfo) -> str:
    if info.output == "attributes":
        return (
            f"a head of kind '{info.kind}', which predicts {', '.join(info.targets)} and makes no "
            f"space: use it with `python -m heads predict`"
        )
    return (
        f"a head of kind '{info.kind}', which makes vectors and predicts nothing: use it with "
        f"`python -m heads apply`"
    )
