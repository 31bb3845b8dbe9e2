"""Exact search in a binary space, by Hamming distance."""

import faiss
import numpy as np
from jaxtyping import Int, UInt8

from retrieval.search.ranking import Neighbours, ranked


class BinarySearch:
    """Finds the best-scored of the selected rows of a binary space.

    The score of two codes is 1 − 2·hamming / bits: the cosine similarity of the two as vectors of
    ±1, which is 1 for equal codes and −1 for opposite ones. `bits` leaves out those that only fill
    up the last byte, which are 0 in every code.
    """

    def __init__(
        self, codes: UInt8[np.ndarray, "n bytes"], rows: Int[np.ndarray, " m"], bits: int
    ) -> None:
        self._codes = np.ascontiguousarray(codes[rows])
        self._bits = bits
        self._index = faiss.IndexBinaryFlat(8 * codes.shape[1])
        # FAISS's other way, a heap, may keep any of several codes at the same distance; this one
        # keeps those with the lowest rows. Ties are the rule with codes of 64 bits.
        self._index.use_heap = False  # type: ignore[attr-defined]  # missing in its stubs
        self._index.add(self._codes)

    def __call__(self, start: int, stop: int, k: int) -> Neighbours:
        """The k best of all selected rows for rows `start` to `stop`, themselves among them."""
        distances, rows = self._index.search(self._codes[start:stop], k)
        scores = (1 - 2 * distances / self._bits).astype(np.float32)
        return ranked(rows, scores, k)
