"""Exact search in a sparse space: only pairs that share a component have a score at all.

As in a dense space, a product of matrices only proposes candidates: their scores are added up again
pair by pair, in the one way that counts wherever a score is asked for.
"""

from functools import cached_property

import numpy as np
import scipy.sparse
from jaxtyping import Float32, Float64, Int
from sparse_dot_topn import sp_matmul_topn

from embed.devices import num_cores
from retrieval.search.exact import rounding
from retrieval.search.plans import CANDIDATE_BYTES, MEMORY_BYTES, query_rows_beside
from retrieval.search.ranking import SLACK, Neighbours, padded, ranked, replace_rows

DOUBTFUL_CELLS = 2**22
"""Scores held at once while items with ties at the last place are searched again."""

COMPONENTS_TOGETHER = 2**18
"""Components of either side of pairs that are scored at once: some 10 MiB."""


class UnitSparse:
    """The selected rows of a sparse space, L2-normalised; a row without components stays empty.

    `norms` are those of the rows as stored: where one is not finite nothing should be searched.
    """

    def __init__(self, matrix: scipy.sparse.csr_array, rows: Int[np.ndarray, " m"]) -> None:
        self._selected = _sorted_rows(matrix, rows)
        self.norms = _norms(self._selected)

    @property
    def num_bytes(self) -> int:
        """What it holds: values and their places, as stored, in rows, and in columns."""
        return 3 * int(self._selected.data.nbytes + self._selected.indices.nbytes)

    @cached_property
    def longest(self) -> int:
        """The most components that a row has."""
        return int(np.diff(self._selected.indptr).max(initial=0))

    @cached_property
    def rows(self) -> scipy.sparse.csr_matrix:
        """The unit vectors, one a row: (m, d)."""
        factors = np.zeros_like(self.norms)
        np.divide(1, self.norms, where=self.norms > 0, out=factors)
        factors = np.repeat(factors, np.diff(self._selected.indptr))
        normalised = self._selected.copy()
        normalised.data = (normalised.data * factors).astype(np.float32)
        return normalised

    @cached_property
    def columns(self) -> scipy.sparse.csr_matrix:
        """The unit vectors, one a column: (d, m), the right side of a product."""
        return self.rows.T.tocsr()


class SparseSearch:
    """Finds the best-scored of a gallery for queries of a sparse space.

    Only scores above 0 count: where fewer than k rows have one, the rest is `NO_ROW`.
    """

    def __init__(
        self,
        queries: UnitSparse,
        gallery: UnitSparse,
        k: int,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._queries = queries
        self._gallery = gallery
        self._k = k
        sides = [gallery] if queries is gallery else [queries, gallery]
        held_bytes = sum(side.num_bytes for side in sides)
        query_bytes = CANDIDATE_BYTES * (k + SLACK)
        self.block_rows = query_rows_beside(held_bytes, query_bytes, memory_bytes)
        self._rounding = rounding(max(queries.longest, gallery.longest))

    def __call__(self, start: int, stop: int) -> Neighbours:
        """The k best of the gallery for queries `start` to `stop`, maybe themselves as well."""
        k = self._k
        num_candidates = min(k + SLACK, self._num_gallery)
        candidates = self._candidates(np.arange(start, stop), num_candidates)
        best = ranked(candidates.rows, candidates.scores, k)
        if num_candidates < self._num_gallery:
            # Near the last place, better rows may have been left out. Rounding counts twice: for
            # what was left out, and for the lowest of what was not.
            lowest = candidates.scores.min(axis=1)
            is_doubtful = lowest + 2 * self._rounding >= best.scores[:, -1]
            self._search_again(start, best, np.flatnonzero(is_doubtful & np.isfinite(lowest)))
        return best

    @property
    def _num_gallery(self) -> int:
        return int(self._gallery.rows.shape[0])

    def _candidates(self, queries: Int[np.ndarray, " b"], num_candidates: int) -> Neighbours:
        vectors = self._queries.rows[queries]
        found = sp_matmul_topn(
            vectors, self._gallery.columns, num_candidates, threshold=0.0, n_threads=num_cores()
        )
        counts = np.diff(found.indptr)
        pairs = np.repeat(np.arange(len(counts)), counts)
        rows = found.indices[: len(pairs)].astype(np.int64)
        scores = sparse_scores_of_pairs(self._queries, self._gallery, queries[pairs], rows)
        is_above = scores > 0
        above = pairs[is_above], rows[is_above], scores[is_above]
        return padded(*above, len(counts), num_candidates)

    def _search_again(self, start: int, best: Neighbours, doubtful: Int[np.ndarray, " m"]) -> None:
        num_rows, k = self._num_gallery, best.rows.shape[1]
        num_together = max(1, DOUBTFUL_CELLS // num_rows)
        for first in range(0, len(doubtful), num_together):
            at = doubtful[first : first + num_together]
            candidates = self._candidates(start + at, num_rows)
            replace_rows(best, at, ranked(candidates.rows, candidates.scores, k))


def sparse_scores_of_pairs(
    queries: UnitSparse,
    gallery: UnitSparse,
    query_rows: Int[np.ndarray, " p"],
    gallery_rows: Int[np.ndarray, " p"],
) -> Float32[np.ndarray, " p"]:
    """Inner products pair by pair, each added up in the order of the components.

    So they are equal for equal vectors, and the same both ways round. Rounding may leave the
    product of a unit vector with itself a little off 1: it counts as 1.
    """
    longest = max(1, queries.longest, gallery.longest)
    ones = np.ones(queries.rows.shape[1], np.float32)
    scores = np.empty(len(query_rows), np.float32)
    step = max(1, COMPONENTS_TOGETHER // longest)
    for start in range(0, len(scores), step):
        part = slice(start, start + step)
        first, second = queries.rows[query_rows[part]], gallery.rows[gallery_rows[part]]
        found = first.multiply(second).tocsr() @ ones
        near = np.flatnonzero(found >= 1 - rounding(longest))
        differ = (first[near] != second[near]).sum(axis=1)
        found[near[np.asarray(differ).reshape(-1) == 0]] = 1
        scores[part] = np.clip(found, -1, 1)
    return scores


def _sorted_rows(
    matrix: scipy.sparse.csr_array, rows: Int[np.ndarray, " m"]
) -> scipy.sparse.csr_matrix:
    """The selected rows with components in ascending order and 32-bit indices, float32."""
    chosen = matrix[rows]
    chosen.sum_duplicates()
    indices, indptr = chosen.indices.astype(np.int32), chosen.indptr.astype(np.int32)
    data: Float32[np.ndarray, " e"] = chosen.data.astype(np.float32)
    return scipy.sparse.csr_matrix((data, indices, indptr), shape=chosen.shape)


def _norms(matrix: scipy.sparse.csr_matrix) -> Float64[np.ndarray, " m"]:
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    squares = matrix.data.astype(np.float64) ** 2
    return np.sqrt(np.bincount(rows, squares, minlength=matrix.shape[0]))
