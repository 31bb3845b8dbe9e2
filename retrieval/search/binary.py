"""Exact search in a binary space, by Hamming distance."""

from collections.abc import Iterator

import faiss
import numpy as np
from jaxtyping import Int, UInt8

from retrieval.search.mapped import PAGE_BYTES, MappedFile
from retrieval.search.plans import MEMORY_BYTES, plan_binary
from retrieval.search.ranking import Neighbours, merged, nothing_found, ranked, replace_rows


class Codes:
    """The selected rows of a binary space, read as they are asked for; nothing is kept."""

    def __init__(self, codes: UInt8[np.ndarray, "n bytes"], rows: Int[np.ndarray, " m"]) -> None:
        self._codes = codes
        self._rows = rows
        self._file = MappedFile(codes)
        self.row_bytes = int(codes.shape[1])

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_bytes(self) -> int:
        """What all of them take where they are held."""
        return self.row_bytes * len(self)

    def between(self, start: int, stop: int) -> UInt8[np.ndarray, "b bytes"]:
        """The codes of these positions; in memory, in C order."""
        self._file.count(self.row_bytes * (min(stop, len(self)) - start))
        return np.ascontiguousarray(self._codes[self._rows[start:stop]])

    def at(self, positions: Int[np.ndarray, " b"]) -> UInt8[np.ndarray, "b bytes"]:
        """The codes at some positions; in memory."""
        self._file.count(max(PAGE_BYTES, self.row_bytes) * len(positions))
        return np.asarray(self._codes[self._rows[positions]])


class BinarySearch:
    """Finds the best-scored of a gallery for queries of a binary space.

    The score of two codes is 1 − 2·hamming / bits: the cosine similarity of the two as vectors of
    ±1, which is 1 for equal codes and −1 for opposite ones. `bits` leaves out those that only fill
    up the last byte, which are 0 in every code. A gallery that does not fit in half of the memory
    is read again for every block of queries.
    """

    def __init__(
        self, queries: Codes, gallery: Codes, bits: int, k: int, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._queries = queries
        self._gallery = gallery
        self._bits = bits
        self._k = k
        sizes = len(queries), len(gallery), gallery.row_bytes, k
        self._plan = plan_binary(*sizes, memory_bytes)
        is_whole = self._plan.gallery_rows == len(gallery)
        self._whole = gallery.between(0, len(gallery)) if is_whole else None

    @property
    def block_rows(self) -> int:
        """How many queries to ask for at a time."""
        return self._plan.query_rows

    def __call__(self, start: int, stop: int) -> Neighbours:
        """The k best of the gallery for queries `start` to `stop`, maybe themselves as well."""
        best = nothing_found(stop - start, self._k)
        for offset, block in self._blocks():
            for first in range(start, stop, self._plan.query_strip):
                last = min(first + self._plan.query_strip, stop)
                at = np.arange(first - start, last - start)
                found = self._best(self._queries.between(first, last), block).moved(offset)
                if offset:
                    found = merged(Neighbours(best.rows[at], best.scores[at]), found, self._k)
                replace_rows(best, at, found)
            del block  # before the next one is read: the two would not fit
        return best

    def _blocks(self) -> Iterator[tuple[int, UInt8[np.ndarray, "g bytes"]]]:
        if self._whole is not None:
            yield 0, self._whole
            return
        for start in range(0, len(self._gallery), self._plan.gallery_rows):
            yield start, self._gallery.between(start, start + self._plan.gallery_rows)

    def _best(
        self, queries: UInt8[np.ndarray, "b bytes"], block: UInt8[np.ndarray, "g bytes"]
    ) -> Neighbours:
        # FAISS's other variant, a heap, may keep any of several codes at the same distance; this
        # one keeps those with the lowest rows. Ties are the rule with codes of 64 bits.
        k = min(self._k, len(block))
        distances, rows = faiss.knn_hamming(queries, block, k, variant="mc")
        scores = (1 - 2 * distances / self._bits).astype(np.float32)
        return ranked(rows, scores, k)
