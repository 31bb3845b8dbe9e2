"""The vectors of a dense space at unit length, as a search reads them."""

import mmap
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

BLOCK_ROWS = 256  # small enough for a block to stay in the cache
RELEASE_BYTES = 2**25
"""What is read of a mapped file before its pages are handed back: 32 MiB."""


class UnitVectors:
    """The selected rows of a dense space, L2-normalised as they are read; nothing is kept.

    They are normalised in float64 and rounded to float32; a vector of zeros stays zero, so that
    its score to anything is 0. `norms` are those of the vectors as stored: they are not finite
    where a vector is not, and then nothing should be searched.
    """

    def __init__(self, vectors: Float[np.ndarray, "n d"], rows: Int[np.ndarray, " m"]) -> None:
        self._vectors = vectors
        self._rows = rows
        self._mapping = _mapping_of(vectors)
        self._unreleased_bytes = 0
        self.norms = self._norms()
        self._factors = np.zeros_like(self.norms)
        np.divide(1, self.norms, where=self.norms > 0, out=self._factors)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dim(self) -> int:
        """How many components a vector has."""
        return int(self._vectors.shape[1])

    def between(self, start: int, stop: int) -> Float32[np.ndarray, "b d"]:
        """The vectors of these positions, of unit length; in memory, in C order."""
        stop = min(stop, len(self))
        unit = np.empty((stop - start, self.dim), np.float32)
        for first in range(start, stop, BLOCK_ROWS):
            last = min(first + BLOCK_ROWS, stop)
            factors = self._factors[first:last, None]
            out = unit[first - start : last - start]
            block = self._read(first, last)
            np.multiply(block, factors, out=out, dtype=np.float64, casting="same_kind")
        return unit

    def _norms(self) -> Float64[np.ndarray, " m"]:
        norms = np.empty(len(self), np.float64)
        for first in range(0, len(self), BLOCK_ROWS):
            block = self._read(first, first + BLOCK_ROWS).astype(np.float64)
            norms[first : first + len(block)] = np.sqrt((block * block).sum(axis=1))
        return norms

    def _read(self, start: int, stop: int) -> Float[np.ndarray, "b d"]:
        """A copy of these rows, so that the pages of a mapped file need not stay."""
        block: Float[np.ndarray, "b d"] = self._vectors[self._rows[start:stop]]
        self._unreleased_bytes += block.nbytes
        if self._mapping is not None and self._unreleased_bytes > RELEASE_BYTES:
            self._mapping.madvise(mmap.MADV_DONTNEED)
            self._unreleased_bytes = 0
        return block


def _mapping_of(array: Any) -> mmap.mmap | None:
    """The mapped file that an array is a view of, where its pages can be handed back."""
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    can_release = isinstance(array, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED")
    return array if can_release else None
