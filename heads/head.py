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
from heads.projection.network import Projection, ProjectionSettings

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
    def from_json(cls, fields: Mapping[str, Any]) -> "HeadInfo":
        """From what JSON has made of `asdict(info)`: lists and mappings."""
        read = {
            "spaces": tuple(SpaceReference(**space) for space in fields["spaces"]),
            "split": Split(**fields["split"]),
            "classes": tuple(fields["classes"]),
            "where": tuple(fields["where"]),
        }
        return cls(**{**fields, **read})


@dataclass(frozen=True)
class Head:
    """A trained head: what it is, its network, and a hash of its file."""

    info: HeadInfo
    network: Projection
    fingerprint: str


def save_head(path: Path, info: HeadInfo, network: Projection) -> None:
    """Write a head file."""
    # One entry, since the library writes several in an order of luck: equal heads, equal bytes.
    versioned = {"format_version": FORMAT_VERSION, **asdict(info)}
    metadata = {FORMAT: json.dumps(versioned)}
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
        if FORMAT not in metadata:
            raise HeadError(f"{path} holds tensors of something else: expected a head")
        fields = json.loads(metadata[FORMAT])
        found = fields.pop("format_version", None)
        if found != FORMAT_VERSION:
            raise HeadError(
                f"{path} is a head of format version {found}: expected version {FORMAT_VERSION}"
            )
        info = HeadInfo.from_json(fields)
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
