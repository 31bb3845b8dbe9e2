"""Exact search in a dense space, of any size, within a budget of memory.

Products of matrices propose candidates: in bf16 where hardware multiplies it (`shortlist`), else
FAISS in float32 (`exact`). Either way their scores are added up in the one way that counts, and
nothing that could be better is left out, so the result is the same to the bit for every path,
device, budget and block size.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from retrieval.search.exact import best_in_gallery
from retrieval.search.plans import Plan
from retrieval.search.ranking import Neighbours, merged, none_found
from retrieval.search.vectors import UnitVectors

if TYPE_CHECKING:
    from retrieval.search.shortlist import RoundedGallery

__all__ = ["DenseSearch", "UnitVectors"]

WHOLE_BLOCK_ROWS = 2**13


class DenseSearch:
    """Finds the k best-scored of a gallery for queries of a dense space.

    A gallery that the plan does not hold whole is read again for every block of queries.
    """

    def __init__(self, queries: UnitVectors, gallery: UnitVectors, k: int, plan: Plan) -> None:
        self._queries = queries
        self._gallery = gallery
        self._k = k
        self._plan = plan

    @property
    def block_rows(self) -> int:
        """How many queries to ask for at a time.

        Fewer than fit where the gallery is held whole, and asking again costs nothing: what was
        found is handed on sooner.
        """
        is_whole = self._plan.gallery_rows == len(self._gallery)
        return min(self._plan.query_rows, WHOLE_BLOCK_ROWS) if is_whole else self._plan.query_rows

    def __call__(self, start: int, stop: int) -> Neighbours:
        """The k best of the gallery for queries `start` to `stop`, maybe themselves as well."""
        best = none_found(stop - start)
        queries = self._queries.between(start, stop)
        for offset, block in self._blocks():
            best = merged(best, block.best(queries, best, self._k).moved(offset), self._k)
            del block  # before the next one is read: the two would not fit
        return best

    def _blocks(self) -> Iterator[tuple[int, "_Block"]]:
        if self._plan.gallery_rows == len(self._gallery):
            yield 0, self._whole
            return
        for start in range(0, len(self._gallery), self._plan.gallery_rows):
            yield start, self._block(start, start + self._plan.gallery_rows)

    def _block(self, start: int, stop: int) -> "_Block":
        return _Block(self._gallery.between(start, stop), self._plan)

    @cached_property
    def _whole(self) -> "_Block":
        return self._block(0, len(self._gallery))


class _Block:
    """Some rows of the gallery at unit length, ready to be searched."""

    def __init__(self, vectors: Float32[np.ndarray, "g d"], plan: Plan) -> None:
        self._vectors = vectors
        self._plan = plan
        self._rounded = _rounded(vectors, plan)

    def best(self, queries: Float32[np.ndarray, "q d"], so_far: Neighbours, k: int) -> Neighbours:
        """The k best, or at least those of them that are better than the k best so far."""
        vectors, plan = self._vectors, self._plan
        if self._rounded is None:
            return best_in_gallery(queries, vectors, min(k, len(vectors)), num_cells=plan.num_cells)
        from retrieval.search.strips import best_by_shortlist

        return best_by_shortlist(queries, vectors, self._rounded, k, so_far.kth_scores(k), plan)


def _rounded(vectors: Float32[np.ndarray, "g d"], plan: Plan) -> "RoundedGallery | None":
    if plan.shortlists is None:
        return None
    from retrieval.search.shortlist import RoundedGallery

    return RoundedGallery(vectors, plan.shortlists.device)
