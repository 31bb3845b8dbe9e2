"""What every encoder offers, whatever library it comes from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Float, Shaped, UInt8

from embed.images import ImageTransform
from embed.store import SpaceInfo


class ImageEncoder(ABC):
    """Turns images into vectors. Encoders with equal transforms share one decode and one resize."""

    name: str
    info: SpaceInfo
    transform: ImageTransform
    is_parallel = False
    """Whether, on a CPU, it spreads one batch over all cores."""
    uses_device = False
    """Whether it runs on the device that was chosen, or always on the CPU."""

    @abstractmethod
    def encode(self, pixels: UInt8[np.ndarray, "b h w c"]) -> Shaped[np.ndarray, "b d"]:
        """One vector an image: of unit length in the space's precision, or packed bits (uint8)."""

    def start(
        self, pixels: UInt8[np.ndarray, "b h w c"]
    ) -> Callable[[], Shaped[np.ndarray, "b d"]]:
        """Begin to encode; the call that is returned waits for what `encode` returns.

        An encoder on a GPU returns at once, so that the next batch can be prepared meanwhile.
        """
        vectors = self.encode(pixels)
        return lambda: vectors


class TextEncoder(ABC):
    """Turns titles into vectors, one by one: a title's vector does not depend on the others."""

    name: str
    info: SpaceInfo
    is_parallel = False
    """Whether, on a CPU, it spreads one batch over all cores."""
    uses_device = False
    """Whether it runs on the device that was chosen, or always on the CPU."""

    @abstractmethod
    def encode(self, titles: Sequence[str]) -> Float[np.ndarray, "b d"]:
        """One vector of unit length a title."""

    def start(self, titles: Sequence[str]) -> Callable[[], Float[np.ndarray, "b d"]]:
        """Begin to encode; the call that is returned waits for what `encode` returns."""
        vectors = self.encode(titles)
        return lambda: vectors


@dataclass(frozen=True)
class FittedSpace:
    """A whole sparse space, and what its encoder learnt from the catalogue."""

    info: SpaceInfo
    vectors: scipy.sparse.csr_array
    fitted: Mapping[str, Shaped[np.ndarray, " m"]]


class FittedTextEncoder(ABC):
    """Turns titles into vectors after learning from all of them: at the sealing of a store."""

    name: str
    spec: str

    @abstractmethod
    def fit_encode(self, titles: Sequence[str]) -> FittedSpace:
        """Learn from the titles of the whole catalogue and encode them."""


def unit_length(vectors: Float[np.ndarray, "b d"]) -> Float[np.ndarray, "b d"]:
    """The vectors scaled to length 1 (float32); a zero vector stays zero."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))
