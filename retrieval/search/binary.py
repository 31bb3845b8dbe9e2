"""Exact search in a binary space, by Hamming distance."""

import faiss
import numpy as np
from jaxtyping import UInt8

from retrieval.search.plans import CANDIDATE_BYTES, MEMORY_BYTES, query_rows_beside
from retrieval.search.ranking import Neighbours, ranked


class BinarySearch:
    """Finds the best-scored of a gallery for queries of a binary space.

    The score of two codes is 1 − 2·hamming / bits: the cosine similarity of the two as vectors of
    ±1, which is 1 for equal codes and −1 for opposite ones. `bits` leaves out those that only fill
    up the last byte, which are 0 in every code.
    """

    def __init__(
        self,
        queries: UInt8[np.ndarray, "q bytes"],
        gallery: UInt8[np.ndarray, "g bytes"],
        bits: int,
        k: int,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._queries = np.ascontiguousarray(queries)
        self._bits = bits
        self._k = k
        held_bytes = queries.nbytes + 2 * gallery.nbytes
        self.block_rows = query_rows_beside(held_bytes, CANDIDATE_BYTES * k, memory_bytes)
        self._index = faiss.IndexBinaryFlat(8 * gallery.shape[1])
        # FAISS's other way, a heap, may keep any of several codes at the same distance; this one
        # keeps those with the lowest rows. Ties are the rule with codes of 64 bits.
        self._index.use_heap = False  # type: ignore[attr-defined]  # missing in its stubs
        self._index.add(np.ascontiguousarray(gallery))

    def __call__(self, start: int, stop: int) -> Neighbours:
        """The k best of the gallery for queries `start` to `stop`, maybe themselves as well."""
        distances, rows = self._index.search(self._queries[start:stop], self._k)
        scores = (1 - 2 * distances / self._bits).astype(np.float32)
        return ranked(rows, scores, self._k)
