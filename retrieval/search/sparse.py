"""Exact search in a sparse space: only pairs that share a component have a score at all.

As in a dense space, a product of matrices only proposes candidates: their scores are added up again
pair by pair, in the one way that counts wherever a score is asked for.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse
from jaxtyping import Float32, Int
from sparse_dot_topn import sp_matmul_topn

from embed.devices import num_cores
from retrieval.search.exact import rounding
from retrieval.search.plans import MEMORY_BYTES
from retrieval.search.ranking import (
    SLACK,
    Neighbours,
    merged,
    nothing_found,
    padded,
    ranked,
    replace_rows,
)
from retrieval.search.sparse_plans import SparsePlan, plan_sparse
from retrieval.search.sparse_vectors import UnitSparse, sparse_scores_of_pairs


class SparseSearch:
    """Finds the best-scored of a gallery for queries of a sparse space.

    Only scores above 0 count: where fewer than k rows have one, the rest is `NO_ROW`. A gallery
    that does not fit in half of the memory is read again for every block of queries.
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
        self._plan = plan_sparse(queries, gallery, k, memory_bytes)
        self._rounding = rounding(max(queries.longest, gallery.longest))
        self._whole = self._block(0, len(gallery)) if self._plan.is_whole else None

    @property
    def block_rows(self) -> int:
        """How many queries to ask for at a time."""
        return self._plan.query_rows

    def __call__(self, start: int, stop: int) -> Neighbours:
        """The k best of the gallery for queries `start` to `stop`, maybe themselves as well."""
        best = nothing_found(stop - start, self._k)
        for offset, block in self._blocks():
            for first, last in self._plan.strips(start, stop):
                at = np.arange(first - start, last - start)
                so_far = Neighbours(best.rows[at], best.scores[at])
                vectors = self._queries.between(first, last)
                found = self._best(vectors, block, so_far.scores[:, -1]).moved(offset)
                replace_rows(best, at, merged(so_far, found, self._k) if offset else found)
            del block  # before the next one is read: the two would not fit
        return best

    def _blocks(self) -> Iterator[tuple[int, "_Block"]]:
        if self._whole is not None:
            yield 0, self._whole
            return
        for first, last in self._plan.gallery_runs:
            yield first, self._block(first, last)

    def _block(self, first: int, last: int) -> "_Block":
        return _Block(self._gallery.between(first, last), self._plan)

    def _best(
        self,
        vectors: scipy.sparse.csr_matrix,
        block: "_Block",
        floors: Float32[np.ndarray, " b"],
    ) -> Neighbours:
        """The k best of a block, or at least those of them that reach the floor of their query."""
        num_candidates = min(self._k + SLACK, len(block))
        candidates = block.candidates(vectors, num_candidates)
        best = ranked(candidates.rows, candidates.scores, self._k)
        if num_candidates < len(block):
            # Near the last place, better rows may have been left out. Rounding counts twice: for
            # what was left out, and for the lowest of what was not.
            lowest = candidates.scores.min(axis=1)
            to_reach = np.maximum(best.scores[:, -1], floors)
            is_doubtful = (lowest + 2 * self._rounding >= to_reach) & np.isfinite(lowest)
            self._search_again(vectors, block, best, np.flatnonzero(is_doubtful))
        return best

    def _search_again(
        self,
        vectors: scipy.sparse.csr_matrix,
        block: "_Block",
        best: Neighbours,
        doubtful: Int[np.ndarray, " m"],
    ) -> None:
        num_together = max(1, self._plan.num_cells // len(block))
        for first in range(0, len(doubtful), num_together):
            at = doubtful[first : first + num_together]
            candidates = block.candidates(vectors[at], len(block))
            replace_rows(best, at, ranked(candidates.rows, candidates.scores, self._k))


class _Block:
    """Some of the gallery: unit vectors as rows and, for products, as columns."""

    def __init__(self, rows: scipy.sparse.csr_matrix, plan: SparsePlan) -> None:
        self._rows = rows
        self._columns = rows.T.tocsr()
        self._plan = plan

    def __len__(self) -> int:
        return int(self._rows.shape[0])

    def candidates(self, queries: scipy.sparse.csr_matrix, num_candidates: int) -> Neighbours:
        """Those with the highest products, with their scores, where these are above 0."""
        found = sp_matmul_topn(
            queries, self._columns, num_candidates, threshold=0.0, n_threads=num_cores()
        )
        counts = np.diff(found.indptr)
        pairs = np.repeat(np.arange(len(counts)), counts)
        rows = found.indices[: len(pairs)].astype(np.int64)
        scores = sparse_scores_of_pairs(queries, self._rows, pairs, rows, self._plan.scored_at_once)
        is_above = scores > 0
        above = pairs[is_above], rows[is_above], scores[is_above]
        return padded(*above, len(counts), num_candidates)
