"""The head file: a `.safetensors` with the weights, and everything else as JSON in its metadata.

Loading reads tensors and JSON and runs no code of the file's.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save

from embed.errors import HeadError
from embed.files import replacing
from embed.rows import Split
from heads.features import SpaceReference
from heads.projection import Projection, ProjectionSettings

FORMAT = "embedding-head"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class HeadInfo:
    """What a head keeps beside its weights.

    `classes` are the target's values that it was trained on, `metrics` those of its best epoch on
    the validation rows, `settings` those of head and training.
    """

    kind: str
    spaces: tuple[SpaceReference, ...]
    target: str
    classes: tuple[str, ...]
    split: Split
    where: tuple[str, ...]
    settings: Mapping[str, Any]
    training: Mapping[str, Any]
    num_train: int
    num_validation: int
    metrics: Mapping[str, float]

    @classmethod
    def from_json(cls, text: str) -> "HeadInfo":
        """Read what `json.dumps(asdict(info))` wrote."""
        fields = json.loads(text)
        fields["spaces"] = tuple(SpaceReference(**space) for space in fields["spaces"])
        fields["split"] = Split(**fields["split"])
        for key in ("classes", "where"):
            fields[key] = tuple(fields[key])
        return cls(**fields)


@dataclass(frozen=True)
class Head:
    """A trained head: what it is, its network, and a hash of its file."""

    info: HeadInfo
    network: Projection
    fingerprint: str


def save_head(path: Path, info: HeadInfo, network: Projection) -> None:
    """Write a head file."""
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "head": json.dumps(asdict(info)),
    }
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as temporary:
        # By bytes, since the library's own file could be read by its owner alone.
        temporary.write_bytes(save(tensors, metadata))


def load_head(path: Path) -> Head:
    """Read a head file.

    Raises:
        HeadError: there is none, or it is not a head of this format version.
    """
    if not path.is_file():
        raise HeadError(f"no head at {path}: make one with `python -m heads train STORE -o {path}`")
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        found = (metadata.get("format"), metadata.get("format_version"))
        if found != (FORMAT, str(FORMAT_VERSION)):
            raise HeadError(
                f"{path} holds {found[0] or 'tensors of something else'} version {found[1]}: "
                f"expected {FORMAT} version {FORMAT_VERSION}"
            )
        info = HeadInfo.from_json(metadata["head"])
        network = _network(info, load_file(path))
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        message = " ".join(str(error).split())[:200]
        raise HeadError(f"{path} is not a head, or it is damaged: {message}") from error
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return Head(info, network, digest)


def _network(info: HeadInfo, weights: dict[str, torch.Tensor]) -> Projection:
    num_features = sum(space.dim for space in info.spaces)
    network = Projection(num_features, ProjectionSettings(**info.settings))
    network.load_state_dict(weights)
    return network.eval()
