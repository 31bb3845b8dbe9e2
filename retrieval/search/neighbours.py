"""The k nearest neighbours of each selected item among the selected items, exactly.

No N×N matrix is ever made: queries go in blocks, and a block's result is k columns wide.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int

from embed.errors import SelectionError, SettingsError, StoreError
from embed.store import Store
from retrieval.search.binary import BinarySearch
from retrieval.search.dense import DenseSearch
from retrieval.search.ranking import NO_ROW, Neighbours, self_first
from retrieval.search.sparse import SparseSearch

__all__ = [
    "NO_ROW",
    "Neighbours",
    "find_neighbours",
    "iterate_neighbours",
    "neighbours_of_vectors",
]

QUERY_BLOCK_ROWS = 4096

Search = Callable[[int, int, int], Neighbours]
"""From the first and last query, and k, to the k best for each, themselves among them."""


def find_neighbours(
    store: Store,
    space: str,
    rows: Int[np.ndarray, " m"],
    k: int,
    *,
    block_rows: int = QUERY_BLOCK_ROWS,
) -> Neighbours:
    """The k nearest of the selected rows for each of them: itself first, with score 1.

    Then come the k − 1 best-scored others, by score descending, ties by row ascending. Scores are
    cosine similarities (float32): of the vectors of a dense or sparse space, of ±1 vectors in a
    binary one. A vector of zeros has score 0 to anything but itself. In a sparse space only rows
    with a score above 0 are neighbours, and `NO_ROW` with score −inf fills up the rest.

    Args:
        store: where the space is.
        space: its name.
        rows: the selected rows of the store, ascending; results count positions within them.
        k: how many, the item itself included; more than there are rows means all of them.
        block_rows: queries at a time; it changes the memory that is needed, never the result.

    Raises:
        StoreError: there is no such space, or a vector holds NaN or infinity.
        SelectionError: no row is selected.
        SettingsError: k is below 1.
    """
    return _joined(iterate_neighbours(store, space, rows, k, block_rows=block_rows))


def iterate_neighbours(
    store: Store,
    space: str,
    rows: Int[np.ndarray, " m"],
    k: int,
    *,
    block_rows: int = QUERY_BLOCK_ROWS,
) -> Iterator[tuple[int, Neighbours]]:
    """Blocks of `find_neighbours`, first to last, each with the position of its first row."""
    if len(rows) == 0:
        raise SelectionError(f"no row of {store.path} is selected: there is nothing to search")
    return _blocks(_search_of(store, space, rows), len(rows), k, block_rows)


def neighbours_of_vectors(
    vectors: Float[np.ndarray, "n d"], k: int, *, block_rows: int = QUERY_BLOCK_ROWS
) -> Neighbours:
    """`find_neighbours` for vectors that are in no store, one for each item.

    Raises:
        StoreError: a vector holds NaN or infinity.
        SelectionError: there are no vectors.
        SettingsError: k is below 1.
    """
    if len(vectors) == 0:
        raise SelectionError("no vectors were given: there is nothing to search")
    search = DenseSearch(vectors, np.arange(len(vectors)))
    _refuse_non_finite(search, lambda row: f"the vector in row {row}")
    return _joined(_blocks(search, len(vectors), k, block_rows))


def _blocks(
    search: Search, num_rows: int, k: int, block_rows: int
) -> Iterator[tuple[int, Neighbours]]:
    if k < 1:
        raise SettingsError(f"k counts the item itself and should be at least 1: found {k}")
    for start in range(0, num_rows, block_rows):
        stop = min(start + block_rows, num_rows)
        yield start, self_first(search(start, stop, min(k, num_rows)), np.arange(start, stop))


def _joined(blocks: Iterator[tuple[int, Neighbours]]) -> Neighbours:
    parts = [neighbours for _, neighbours in blocks]
    rows = np.concatenate([part.rows for part in parts])
    return Neighbours(rows, np.concatenate([part.scores for part in parts]))


def _search_of(store: Store, space: str, rows: Int[np.ndarray, " m"]) -> Search:
    info = store.space(space)
    if info.kind == "binary":
        return BinarySearch(store.array(space), rows, info.dim)
    search = (
        SparseSearch(store.sparse(space), rows)
        if info.kind == "sparse"
        else DenseSearch(store.array(space), rows)
    )
    _refuse_non_finite(
        search, lambda row: f"the vector of '{store.ids[rows[row]]}' in space '{space}'"
    )
    return search


def _refuse_non_finite(search: DenseSearch | SparseSearch, name: Callable[[int], str]) -> None:
    bad = np.flatnonzero(~np.isfinite(search.norms))
    if len(bad):
        raise StoreError(
            f"{name(int(bad[0]))} should be finite and holds NaN or infinity ({len(bad)} do): "
            f"encode that item again"
        )
