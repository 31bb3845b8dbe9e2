"""How a search in a sparse space shares out the memory that it may use.

Rows have any number of components, so blocks are as many rows as fit, and not so many each.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from embed.devices import num_cores
from retrieval.search.plans import (
    CANDIDATE_BYTES,
    LEAST_GALLERY_ROWS,
    LEAST_QUERY_ROWS,
    QUERY_ROWS,
    refuse_too_little,
)
from retrieval.search.ranking import SLACK
from retrieval.search.sparse_vectors import COMPONENTS_TOGETHER, SCORED_BYTES, UnitSparse

DOUBTFUL_CELLS = 2**22
"""Scores held at once while items with ties at the last place are searched again."""

LEAST_SCORED = 2**12
"""Components of either side of pairs that are scored at once, at the least."""

# Of a component that is held in rows and in columns, or in rows alone; of a row and a thread, in a
# product; of a component of the vocabulary: where its column starts, and its ones.
HELD_TWICE_BYTES, HELD_BYTES, THREAD_BYTES, DIM_BYTES = 16, 8, 8, 8


@dataclass(frozen=True)
class SparsePlan:
    """How much of a search is held at once.

    A half of the memory is for a block of the gallery, a quarter for candidates, an eighth for the
    results of a block of queries, and the rest for vectors of queries and of pairs.

    Attributes:
        queries: those whose strips are looked at, by `strips`.
        gallery_runs: the first and last row of every block of the gallery.
        query_rows: queries of a block, with their results.
        strip_bytes: for the candidates of a strip of queries.
        strip_row_bytes: the candidates of one query.
        scored_at_once: components of either side of pairs that are scored.
    """

    queries: UnitSparse
    gallery_runs: list[tuple[int, int]]
    query_rows: int
    strip_bytes: int
    strip_row_bytes: int
    scored_at_once: int

    @property
    def is_whole(self) -> bool:
        """True where the whole gallery is held."""
        return len(self.gallery_runs) == 1

    @property
    def num_cells(self) -> int:
        """Scores that are held where a search has to look twice."""
        return min(DOUBTFUL_CELLS, self.strip_bytes // CANDIDATE_BYTES)

    def strips(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Queries whose vectors and candidates are held at once."""

        def size_of(counts: Int[np.ndarray, " c"]) -> Int[np.ndarray, " c"]:
            return np.asarray(np.maximum(self.strip_row_bytes, _strip_bytes(counts)))

        return self.queries.runs(start, stop, size_of, self.strip_bytes)


def plan_sparse(queries: UnitSparse, gallery: UnitSparse, k: int, memory_bytes: int) -> SparsePlan:
    """The plan of a search, in which every block has a few rows at the least.

    Raises:
        SettingsError: the memory is too little; the message says the least.
    """
    beside = DIM_BYTES * gallery.dim + SCORED_BYTES * LEAST_SCORED
    beside += max(queries.reading_bytes, gallery.reading_bytes)
    strip_row_bytes = CANDIDATE_BYTES * (k + SLACK)
    least = beside + _least_to_share(queries, gallery, strip_row_bytes)
    refuse_too_little(least, memory_bytes)
    shared = memory_bytes - beside
    runs = list(gallery.runs(0, len(gallery), _gallery_bytes, shared // 2))
    query_rows = shared // (8 * strip_row_bytes)
    return SparsePlan(
        queries,
        runs,
        min(len(queries), query_rows, QUERY_ROWS if len(runs) == 1 else query_rows),
        shared // 4,
        strip_row_bytes,
        min(COMPONENTS_TOGETHER, LEAST_SCORED + shared // (16 * SCORED_BYTES)),
    )


def _least_to_share(queries: UnitSparse, gallery: UnitSparse, strip_row_bytes: int) -> int:
    num_gallery = min(LEAST_GALLERY_ROWS, len(gallery))
    num_queries = min(LEAST_QUERY_ROWS, len(queries))
    of_gallery = _gallery_bytes(np.array([gallery.longest]))[0]
    of_query = _strip_bytes(np.array([queries.longest]))[0]
    of_pair = SCORED_BYTES * max(queries.longest, gallery.longest)
    return max(
        2 * num_gallery * int(of_gallery),
        4 * max(num_queries * strip_row_bytes, int(of_query)),
        8 * num_queries * strip_row_bytes,
        16 * of_pair,
    )


def _gallery_bytes(counts: Int[np.ndarray, " c"]) -> Int[np.ndarray, " c"]:
    """Of rows in a block of the gallery; any of them may be a candidate of a query."""
    held = HELD_TWICE_BYTES * counts + 4 + THREAD_BYTES * num_cores()
    return np.asarray(np.maximum(2 * CANDIDATE_BYTES, held))


def _strip_bytes(counts: Int[np.ndarray, " c"]) -> Int[np.ndarray, " c"]:
    """Four times those of queries, which have a quarter of what candidates have."""
    return 4 * (HELD_BYTES * counts + 4)
