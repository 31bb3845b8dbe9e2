"""What the libraries hand over, and the fingerprint of everything that changes its numbers."""

import hashlib
import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch

from embed.encoders.specs import EncoderSpec
from embed.errors import EncoderError

UNREADABLE = (
    *(RuntimeError, ValueError, KeyError, OSError, EOFError),
    *(pickle.UnpicklingError, safetensors.SafetensorError),
)
"""What the libraries raise for a weights file that is damaged, or of another model."""


@dataclass(frozen=True)
class Tower:
    """The part of a model that turns inputs into vectors, as its library loads it.

    `forward` calls `module` also after that was moved or cast. `settings` and `weights` are what
    decides the numbers; the weights are those of the checkpoint, in its own precision.
    """

    module: torch.nn.Module
    forward: Callable[..., torch.Tensor]
    settings: Mapping[str, Any]
    weights: Sequence[tuple[str, torch.Tensor]]

    def fingerprint(self, precision: str) -> str:
        """A 128-bit hash (hex) of settings, weights and precision."""
        return fingerprint_of(self.settings, self.weights, precision)


def fingerprint_of(
    settings: Mapping[str, Any], weights: Iterable[tuple[str, torch.Tensor]], precision: str
) -> str:
    """A 128-bit hash (hex) of everything that changes the numbers: settings, weights, precision."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([settings, precision], sort_keys=True, default=str).encode())
    for name, tensor in sorted(weights, key=lambda item: item[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def require_file(path: Path, spec: EncoderSpec) -> Path:
    """The path of a weights file.

    Raises:
        EncoderError: there is no such file.
    """
    if not path.is_file():
        raise EncoderError(f"encoder '{spec.text}': no weights file at {path}")
    return path


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    """The tensor's bytes, not copied where it lies on the CPU."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
