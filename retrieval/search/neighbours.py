"""The k nearest neighbours of each query in a gallery, or of items among one another, exactly.

No N×N matrix is ever made: queries go in blocks, and a block's result is k columns wide.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Float64, Int

from embed.errors import FingerprintError, SelectionError, SettingsError, StoreError
from retrieval.search.binary import BinarySearch, Codes
from retrieval.search.dense import DenseSearch, UnitVectors
from retrieval.search.plans import MEMORY_BYTES, Join, plan_search
from retrieval.search.ranking import NO_ROW, Neighbours, joined, self_first
from retrieval.search.sides import Sides, StoreRows
from retrieval.search.sparse import SparseSearch
from retrieval.search.sparse_vectors import UnitSparse

__all__ = [
    "NO_ROW",
    "Neighbours",
    "find_neighbours",
    "iterate_neighbours",
    "neighbours_of_vectors",
]

Blocks = Iterator[tuple[int, Neighbours]]
"""Blocks of queries, first to last, each with the position of its first query."""


Search = BinarySearch | DenseSearch | SparseSearch
"""Finds the k best of a gallery for queries `start` to `stop`, maybe themselves as well."""


def find_neighbours(
    sides: Sides,
    space: str,
    k: int,
    *,
    memory_bytes: int = MEMORY_BYTES,
    device: str = "auto",
    block_rows: int | None = None,
) -> Neighbours:
    """The k nearest for each query: itself first, with score 1, then items of the gallery.

    These are the k − 1 best-scored others, by score descending, ties by row ascending. Scores are
    cosine similarities (float32): of the vectors of a dense or sparse space, of ±1 vectors in a
    binary one. In a sparse space only rows with a score above 0 are neighbours, and `NO_ROW` with
    score −inf fills up the rest; so it does in the first column where a query is not in the
    gallery, but with score 1.

    The result is the same to the bit whatever the memory, the device and the blocks.

    Args:
        sides: the queries and the gallery; results count positions in the gallery.
        space: the name of the space, in both stores where there are two.
        k: how many, the item itself included; more than there are means all of them.
        memory_bytes: vectors, scores and candidates that are held at once. Not counted are the
            interpreter with its libraries (300 to 700 MiB), the result, and what lies on a GPU.
        device: where large products are made: auto, cpu, cuda or cuda:N.
        block_rows: queries at a time; None: as many as the memory allows.

    Raises:
        StoreError: there is no such space, or a vector holds NaN or infinity, or, in a dense space,
            nothing but zeros.
        FingerprintError: the spaces of two stores hold vectors of different encoders.
        SelectionError: one side is empty.
        SettingsError: k is below 1, the memory is too little, or there is no such device.
    """
    blocks = iterate_neighbours(
        sides, space, k, memory_bytes=memory_bytes, device=device, block_rows=block_rows
    )
    return joined([neighbours for _, neighbours in blocks])


def iterate_neighbours(
    sides: Sides,
    space: str,
    k: int,
    *,
    memory_bytes: int = MEMORY_BYTES,
    device: str = "auto",
    block_rows: int | None = None,
) -> Blocks:
    """Blocks of `find_neighbours`, first to last, each with the position of its first query."""
    refuse_empty(sides)
    k = _columns(sides.own, len(sides.gallery), k)
    search = _search_of(sides, space, min(k, len(sides.gallery)), memory_bytes, device)
    return _blocks(search, sides.own, k, block_rows or search.block_rows)


def neighbours_of_vectors(
    vectors: Float[np.ndarray, "n d"],
    k: int,
    *,
    memory_bytes: int = MEMORY_BYTES,
    device: str = "auto",
    block_rows: int | None = None,
) -> Neighbours:
    """`find_neighbours` for vectors that are in no store, one for each item.

    A vector of zeros has score 0 to anything but itself.

    Raises:
        StoreError: a vector holds NaN or infinity.
        SelectionError: there are no vectors.
        SettingsError: k is below 1, the memory is too little, or there is no such device.
    """
    if len(vectors) == 0:
        raise SelectionError("no vectors were given: there is nothing to search")
    own = np.arange(len(vectors))
    units = UnitVectors(vectors, own)
    _refuse_non_finite(units.norms, lambda row: f"the vector in row {row}")
    k = _columns(own, len(own), k)
    search = _dense_search(units, units, k, memory_bytes, device)
    blocks = _blocks(search, own, k, block_rows or search.block_rows)
    return joined([neighbours for _, neighbours in blocks])


def _columns(own: Int[np.ndarray, " q"], num_gallery: int, k: int) -> int:
    """How many columns there are to fill: each query and, at most, all others."""
    if k < 1:
        raise SettingsError(f"k counts the item itself and should be at least 1: found {k}")
    return min(k, 1 + num_gallery - int((own != NO_ROW).all()))


def _blocks(search: Search, own: Int[np.ndarray, " q"], k: int, block_rows: int) -> Blocks:
    for start in range(0, len(own), block_rows):
        stop = min(start + block_rows, len(own))
        yield start, self_first(search(start, stop), own[start:stop], k)


def _search_of(sides: Sides, space: str, k: int, memory_bytes: int, device: str) -> Search:
    info = sides.gallery.store.space(space)
    refuse_other_vectors(sides, space)
    queries, gallery = sides.queries, sides.gallery
    if info.kind == "binary":
        codes = [Codes(side.store.array(space), side.rows) for side in (queries, gallery)]
        return BinarySearch(codes[0], codes[1], info.dim, k, memory_bytes)
    make = unit_sparse if info.kind == "sparse" else directed_dense
    of_gallery = make(gallery, space)
    of_queries = of_gallery if sides.is_self_join else make(queries, space)
    if isinstance(of_gallery, UnitSparse):
        assert isinstance(of_queries, UnitSparse)
        return SparseSearch(of_queries, of_gallery, k, memory_bytes)
    assert isinstance(of_queries, UnitVectors)
    return _dense_search(of_queries, of_gallery, k, memory_bytes, device)


def _dense_search(
    queries: UnitVectors, gallery: UnitVectors, k: int, memory_bytes: int, device: str
) -> DenseSearch:
    join = Join(len(queries), len(gallery), gallery.dim, k)
    return DenseSearch(queries, gallery, k, plan_search(join, memory_bytes, device))


def refuse_empty(sides: Sides) -> None:
    """Raise SelectionError where there is no query, or nothing to look among."""
    for side in (sides.queries, sides.gallery):
        if len(side) == 0:
            raise SelectionError(
                f"no row of {side.store.path} is selected: there is nothing to search"
            )


def unit_dense(side: StoreRows, space: str) -> UnitVectors:
    """The vectors of one side in a dense space; StoreError where one is not finite."""
    vectors = UnitVectors(side.store.array(space), side.rows)
    _refuse_non_finite(vectors.norms, lambda row: _of_item(side, space, row))
    return vectors


def directed_dense(side: StoreRows, space: str) -> UnitVectors:
    """`unit_dense` to search among: StoreError where a vector is all zeros as well."""
    vectors = unit_dense(side, space)
    _refuse_zeros(vectors.norms, lambda row: _of_item(side, space, row))
    return vectors


def unit_sparse(side: StoreRows, space: str) -> UnitSparse:
    """The vectors of one side in a sparse space; StoreError where one is not finite.

    One may be empty: a title need not have a word that is known.
    """
    vectors = UnitSparse(side.store.sparse_parts(space), side.rows)
    _refuse_non_finite(vectors.norms(), lambda row: _of_item(side, space, row))
    return vectors


def _of_item(side: StoreRows, space: str, row: int) -> str:
    return f"the vector of '{side.store.ids[side.rows[row]]}' in space '{space}'"


def refuse_other_vectors(sides: Sides, space: str) -> None:
    """Raise FingerprintError where two stores hold vectors of different encoders."""
    stores = sides.queries.store, sides.gallery.store
    found = [store.space(space).fingerprint for store in stores]
    if found[0] != found[1]:
        raise FingerprintError(
            f"space '{space}' should be of the same encoder in both stores: its fingerprint is "
            f"{found[0]} in {stores[0].path} and {found[1]} in {stores[1].path}: run the same "
            f"encoder on both"
        )


def _refuse_non_finite(norms: Float64[np.ndarray, " n"], name: Callable[[int], str]) -> None:
    bad = np.flatnonzero(~np.isfinite(norms))
    if len(bad):
        raise StoreError(
            f"{name(int(bad[0]))} should be finite and holds NaN or infinity ({len(bad)} do): "
            f"encode that item again"
        )


def _refuse_zeros(norms: Float64[np.ndarray, " n"], name: Callable[[int], str]) -> None:
    bad = np.flatnonzero(norms == 0)
    if len(bad):
        count, what = "", "the item again, import a vector for it, or leave it"
        if len(bad) > 1:
            count, what = f" ({len(bad)} are)", "them again, import vectors for them, or leave them"
        raise StoreError(
            f"{name(int(bad[0]))} should have a direction and is all zeros{count}, like nothing "
            f"else: encode {what} out with --where"
        )
