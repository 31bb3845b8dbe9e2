"""The vectors of a dense space at unit length, as a search reads them."""

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from retrieval.search.mapped import PAGE_BYTES, MappedFile

BLOCK_ROWS = 256  # small enough for a block to stay in the cache


class UnitVectors:
    """The selected rows of a dense space, L2-normalised as they are read; nothing is kept.

    They are normalised in float64 and rounded to float32; a vector of zeros stays zero, so that
    its score to anything is 0. `norms` are those of the vectors as stored: they are not finite
    where a vector is not, and then nothing should be searched.
    """

    def __init__(self, vectors: Float[np.ndarray, "n d"], rows: Int[np.ndarray, " m"]) -> None:
        self._vectors = vectors
        self._rows = rows
        self._file = MappedFile(vectors)
        self.norms = self._norms()
        self._factors = np.zeros_like(self.norms)
        np.divide(1, self.norms, where=self.norms > 0, out=self._factors)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dim(self) -> int:
        """How many components a vector has."""
        return int(self._vectors.shape[1])

    @property
    def num_bytes(self) -> int:
        """What all of them take where they are held."""
        return 4 * self.dim * len(self)

    def between(self, start: int, stop: int) -> Float32[np.ndarray, "b d"]:
        """The vectors of these positions, of unit length; in memory, in C order."""
        return self.at(np.arange(start, min(stop, len(self))))

    def at(self, positions: Int[np.ndarray, " b"]) -> Float32[np.ndarray, "b d"]:
        """The vectors at some positions, of unit length; in memory, in C order."""
        unit = np.empty((len(positions), self.dim), np.float32)
        for first in range(0, len(positions), BLOCK_ROWS):
            some = positions[first : first + BLOCK_ROWS]
            out = unit[first : first + len(some)]
            factors = self._factors[some, None]
            np.multiply(self._read(some), factors, out=out, dtype=np.float64, casting="same_kind")
        return unit

    def _norms(self) -> Float64[np.ndarray, " m"]:
        norms = np.empty(len(self), np.float64)
        for first in range(0, len(self), BLOCK_ROWS):
            some = np.arange(first, min(first + BLOCK_ROWS, len(self)))
            block = self._read(some).astype(np.float64)
            norms[some] = np.sqrt((block * block).sum(axis=1))
        return norms

    def _read(self, positions: Int[np.ndarray, " b"]) -> Float[np.ndarray, "b d"]:
        """A copy of these rows, so that the pages of a mapped file need not stay."""
        block: Float[np.ndarray, "b d"] = self._vectors[self._rows[positions]]
        scattered = len(positions) and positions[-1] - positions[0] >= len(positions)
        self._file.count(max(block.nbytes, PAGE_BYTES * len(block) * bool(scattered)))
        return block
