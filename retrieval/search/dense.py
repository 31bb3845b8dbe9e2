"""Exact search in a dense space: FAISS proposes, one fixed way of adding up decides.

A matrix product adds up a score in an order that depends on the shape of the block and on the
machine, so the last bits of a score, and with them the order of duplicates, would change with the
block size. Here the product only proposes k and a few more candidates; their scores are computed
again pair by pair, always in the same order. Where rounding could have hidden a better candidate,
all rows that could be it are scored again. The result is the same for every block size.
"""

from collections.abc import Iterator
from functools import cached_property

import faiss
import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from retrieval.search.ranking import SLACK, Neighbours, merged, padded, ranked, replace_rows

GALLERY_BYTES = 2**30
"""Normalised gallery vectors held at once. A gallery that fits is normalised only once."""

NORM_BLOCK_ROWS = 256  # small enough for a block to stay in the cache
DOUBTFUL_CELLS = 2**22
"""Scores held at once while doubtful items are searched again: 16 MiB of float32."""


class UnitVectors:
    """The selected rows of a dense space, L2-normalised as they are read.

    They are normalised in float64 and kept as float32; a vector of zeros stays zero, so that its
    score to anything is 0. `norms` are those of the vectors as stored: they are not finite where a
    vector is not, and then nothing should be searched.
    """

    def __init__(
        self,
        vectors: Float[np.ndarray, "n d"],
        rows: Int[np.ndarray, " m"],
        held_bytes: int = GALLERY_BYTES,
    ) -> None:
        self._vectors = vectors
        self._rows = rows
        self._block_rows = max(1, held_bytes // (4 * max(1, vectors.shape[1])))
        self._fits = len(rows) <= self._block_rows
        self.norms = self._norms()
        self._factors = np.zeros_like(self.norms)
        np.divide(1, self.norms, where=self.norms > 0, out=self._factors)

    def between(self, start: int, stop: int) -> Float32[np.ndarray, "b d"]:
        """The vectors of these positions, of unit length."""
        return self._whole[start:stop] if self._fits else self._normalised(start, stop)

    def blocks(self) -> Iterator[tuple[int, Float32[np.ndarray, "b d"]]]:
        """All of them, in blocks that fit in what may be held, each with its first position."""
        for start in range(0, len(self._rows), self._block_rows):
            yield start, self.between(start, start + self._block_rows)

    def _norms(self) -> Float64[np.ndarray, " m"]:
        blocks = [
            self._vectors[self._rows[start : start + NORM_BLOCK_ROWS]].astype(np.float64)
            for start in range(0, len(self._rows), NORM_BLOCK_ROWS)
        ]
        return np.concatenate([np.sqrt((block * block).sum(axis=1)) for block in blocks])

    def _normalised(self, start: int, stop: int) -> Float32[np.ndarray, "b d"]:
        block = self._vectors[self._rows[start:stop]]
        normalised = np.empty(block.shape, np.float32)
        factors = self._factors[start:stop, None]
        np.multiply(block, factors, out=normalised, dtype=np.float64, casting="same_kind")
        return normalised

    @cached_property
    def _whole(self) -> Float32[np.ndarray, "m d"]:
        return self._normalised(0, len(self._rows))


class DenseSearch:
    """Finds the best-scored of a gallery for queries of a dense space."""

    def __init__(self, queries: UnitVectors, gallery: UnitVectors) -> None:
        self._queries = queries
        self._gallery = gallery

    def __call__(self, start: int, stop: int, k: int) -> Neighbours:
        """The k best of the gallery for queries `start` to `stop`, maybe themselves as well."""
        queries = self._queries.between(start, stop)
        best = Neighbours(
            np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        )
        for offset, gallery in self._gallery.blocks():
            found = best_in_gallery(queries, gallery, min(k, len(gallery)))
            best = merged(best, Neighbours(found.rows + offset, found.scores), k)
        return best


def best_in_gallery(
    queries: Float32[np.ndarray, "q d"], gallery: Float32[np.ndarray, "g d"], k: int
) -> Neighbours:
    """The k best of a gallery, exactly: by score descending, ties by row ascending.

    Both must be L2-normalised or zero, in C order, and k ≤ g.
    """
    num_candidates = min(k + SLACK, len(gallery))
    proposed, rows = faiss.knn(queries, gallery, num_candidates, faiss.METRIC_INNER_PRODUCT)
    best = ranked(rows, _scores_of(queries, gallery, rows), k)
    if num_candidates < len(gallery):
        is_doubtful = proposed[:, -1] + _rounding(queries) >= best.scores[:, -1]
        _search_again(queries, gallery, best, np.flatnonzero(is_doubtful))
    return best


def _rounding(vectors: Float32[np.ndarray, "q d"]) -> float:
    """How far two float32 ways of adding up the same score of unit vectors can lie apart.

    Twice the classical bound of d·u for a sum of d products in any order (Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1), and a little for norms that are not quite 1.
    """
    return float((vectors.shape[1] + 8) * np.finfo(np.float32).eps)


def _search_again(
    queries: Float32[np.ndarray, "q d"],
    gallery: Float32[np.ndarray, "g d"],
    best: Neighbours,
    doubtful: Int[np.ndarray, " m"],
) -> None:
    """Rank every row that may be among the k best of the doubtful queries, by its own score."""
    k = best.rows.shape[1]
    num_together = max(1, DOUBTFUL_CELLS // len(gallery))
    for start in range(0, len(doubtful), num_together):
        at = doubtful[start : start + num_together]
        floor = best.scores[at, -1:] - _rounding(queries)  # the k-th best can only be better
        pairs, rows = np.nonzero(queries[at] @ gallery.T >= floor)
        scores = scores_of_pairs(queries[at], gallery, pairs, rows)
        table = padded(pairs, rows, scores, len(at), k)
        replace_rows(best, at, ranked(table.rows, table.scores, k))


def _scores_of(
    queries: Float32[np.ndarray, "q d"],
    gallery: Float32[np.ndarray, "g d"],
    rows: Int[np.ndarray, "q m"],
) -> Float32[np.ndarray, "q m"]:
    pairs = np.repeat(np.arange(len(queries)), rows.shape[1])
    return scores_of_pairs(queries, gallery, pairs, rows.ravel()).reshape(rows.shape)


def scores_of_pairs(
    queries: Float32[np.ndarray, "q d"],
    gallery: Float32[np.ndarray, "g d"],
    query_rows: Int[np.ndarray, " p"],
    gallery_rows: Int[np.ndarray, " p"],
) -> Float32[np.ndarray, " p"]:
    """Inner products pair by pair: equal for equal vectors, and the same both ways round."""
    scores = np.empty(len(query_rows), np.float32)
    arrays = (queries, query_rows, gallery, gallery_rows, scores)
    contiguous = [np.ascontiguousarray(array) for array in arrays]  # pointers keep nothing alive
    faiss.pairwise_indexed_inner_product(  # type: ignore[attr-defined]  # missing in its stubs
        queries.shape[1], len(scores), *map(faiss.swig_ptr, contiguous)
    )
    return np.clip(scores, -1, 1)
