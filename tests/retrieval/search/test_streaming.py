"""Sparse and binary spaces in blocks: the same bits for every budget, and no more held than it."""

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from jaxtyping import Float32

from embed.errors import SettingsError
from embed.store import SpaceInfo, Store
from retrieval.search.combined import combined_neighbours
from retrieval.search.neighbours import Neighbours, find_neighbours, iterate_neighbours
from retrieval.search.pairs import pair_scores
from retrieval.search.plans import plan_binary
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import Sides, StoreRows, between, self_join
from retrieval.search.sparse_plans import plan_sparse
from retrieval.search.sparse_vectors import UnitSparse
from tests.retrieval.retrieval_stores import (
    binary_info,
    dense_info,
    exact_vectors,
    sparse_info,
    write_store,
)

NUM_ROWS = 2500
K = 6
BUDGETS = (1_700_000, 2**21, 2**31)


def spaces_of(num_rows: int, seed: int) -> dict[str, tuple[SpaceInfo, Any]]:
    """Crowds of equal rows, which lie far apart, rows of zeros, and ties everywhere."""
    generator = np.random.default_rng(seed)
    exact = exact_vectors(num_rows, seed=seed, signed=False)
    exact[:: 1 + num_rows // 60] = exact[0]
    words = scipy.sparse.random(num_rows, 400, 0.02, "csr", rng=generator, dtype=np.float32)
    drawn = words.toarray()
    drawn[5::40] = drawn[5]
    drawn[7::50] = 0
    codes = generator.integers(0, 256, (num_rows, 2), dtype=np.uint8)
    codes[:, 1] &= 0b11110000
    return {
        "exact": (sparse_info(16), exact),
        "words": (sparse_info(400), drawn),
        "code": (binary_info(12), codes),
        "image": (dense_info(8), generator.standard_normal((num_rows, 8)).astype(np.float32)),
    }


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    folder = tmp_path_factory.mktemp("streaming")
    ids = np.array([f"r{row}" for row in range(400, 1300)], object)
    paths = (
        write_store(folder / "gallery.h5", spaces_of(NUM_ROWS, seed=1)),
        write_store(folder / "queries.h5", spaces_of(900, seed=2), ids=ids),
    )
    with Store(paths[0]) as gallery, Store(paths[1]) as queries:
        yield gallery, queries


def sides_of(stores: tuple[Store, Store]) -> dict[str, Sides]:
    gallery, queries = stores
    rows = np.arange(NUM_ROWS)
    most = StoreRows(gallery, rows[rows % 7 > 0])
    return {
        "self-join": self_join(gallery, rows),
        "one store": between(StoreRows(gallery, rows[::40]), most),
        "two stores": between(StoreRows(queries, np.arange(0, 900, 20)), most),
    }


def assert_same(found: Neighbours, expected: Neighbours) -> None:
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)


def all_scores(sides: Sides, space: str) -> Float32[np.ndarray, "q g"]:
    """Every score, which float32 holds exactly; −inf where a pair is never found."""
    both = (sides.queries, sides.gallery)
    if space == "exact":
        vectors = [side.store.sparse(space)[side.rows].toarray() for side in both]
        units = [each / np.maximum(np.linalg.norm(each, axis=1), 1e-9)[:, None] for each in vectors]
        scores = units[0].astype(np.float64) @ units[1].T.astype(np.float64)
        scores[scores <= 0] = -np.inf
    else:
        codes = [side.store.array(space)[side.rows] for side in both]
        differ = np.bitwise_count(codes[0][:, None] ^ codes[1]).sum(axis=2, dtype=np.int64)
        scores = 1 - 2 * differ / 12
    is_own = np.arange(len(sides.gallery)) == sides.own[:, None]
    return np.where(is_own, -np.inf, scores).astype(np.float32)


def every_pair_ranked(sides: Sides, space: str, k: int) -> Neighbours:
    scores = all_scores(sides, space)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, : k - 1]
    best = np.take_along_axis(scores, rows, axis=1)
    rows[np.isneginf(best)] = NO_ROW
    ones = np.ones((len(rows), 1), np.float32)
    return Neighbours(np.hstack([sides.own[:, None], rows]), np.hstack([ones, best]))


CASES = [
    (space, join)
    for space in ("exact", "words", "code")
    for join in ("self-join", "one store", "two stores")
    if (space, join) != ("exact", "self-join")  # all scores tie: pairs by the million
]


@pytest.mark.parametrize(("space", "join"), [case for case in CASES if case[0] != "words"])
def test_every_budget_finds_what_ranking_every_pair_does(
    stores: tuple[Store, Store], space: str, join: str
) -> None:
    sides = sides_of(stores)[join]
    expected = every_pair_ranked(sides, space, K)
    for memory_bytes in BUDGETS:
        assert_same(find_neighbours(sides, space, K, memory_bytes=memory_bytes), expected)


@pytest.mark.parametrize(("space", "join"), CASES)
def test_memory_and_blocks_never_change_a_bit(
    stores: tuple[Store, Store], space: str, join: str
) -> None:
    sides = sides_of(stores)[join]
    expected = find_neighbours(sides, space, 3)
    least = least_memory(lambda memory: find_neighbours(sides, space, 3, memory_bytes=memory))
    # The least memory is for 16 queries at a time, which takes long where all are asked.
    for times, block_rows in ((1, None), (1.3, 37)) if join != "self-join" else ((1.5, None),):
        found = find_neighbours(
            sides, space, 3, memory_bytes=int(least * times), block_rows=block_rows
        )
        assert_same(found, expected)


def test_rows_without_components_have_no_neighbours(stores: tuple[Store, Store]) -> None:
    empty = np.flatnonzero(np.diff(stores[0].sparse("words").indptr) == 0)
    assert len(empty) > 20
    everything = StoreRows(stores[0], np.arange(NUM_ROWS))
    sides = between(StoreRows(stores[0], empty), everything)
    found = find_neighbours(sides, "words", K, memory_bytes=BUDGETS[0])
    np.testing.assert_array_equal(found.rows[:, 0], empty)
    assert (found.rows[:, 1:] == NO_ROW).all()
    assert np.isneginf(found.scores[:, 1:]).all()


def test_budgets_of_these_tests_need_several_blocks(stores: tuple[Store, Store]) -> None:
    for space in ("exact", "words"):
        units = UnitSparse(stores[0].sparse_parts(space), np.arange(NUM_ROWS))
        assert len(plan_sparse(units, units, K, BUDGETS[0]).gallery_runs) > 1
        assert plan_sparse(units, units, K, BUDGETS[-1]).is_whole
    least = least_memory(lambda memory: plan_binary(NUM_ROWS, NUM_ROWS, 2, K, memory))
    assert plan_binary(NUM_ROWS, NUM_ROWS, 2, K, least).query_rows < NUM_ROWS


def test_a_gallery_of_codes_goes_in_blocks_with_ties_across_them(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).choice([0, 1, 3, 255], (4000, 256)).astype(np.uint8)
    codes[50::3] = codes[50]
    with Store(write_store(tmp_path / "a.h5", {"code": (binary_info(2048), codes)})) as store:
        sides = between(StoreRows(store, np.arange(60)), StoreRows(store, np.arange(4000)))
        expected = find_neighbours(sides, "code", 5)
        for memory_bytes in (600_000, 900_000):  # of codes alone there are 1,024,000 bytes
            assert plan_binary(60, 4000, 256, 5, memory_bytes).gallery_rows < 2000
            assert_same(find_neighbours(sides, "code", 5, memory_bytes=memory_bytes), expected)
    assert expected.rows[53, :4].tolist() == [53, 50, 56, 59]


@pytest.mark.parametrize("space", ["words", "code"])
def test_pairs_and_combined_scores_are_the_same_where_nothing_is_held(
    stores: tuple[Store, Store], space: str
) -> None:
    for sides in sides_of(stores).values():
        found = find_neighbours(sides, space, K)
        expected = pair_scores(sides, space, found.rows)
        least = least_memory(
            lambda memory: pair_scores(sides, space, found.rows, memory_bytes=memory)  # noqa: B023
        )
        scores = pair_scores(sides, space, found.rows, memory_bytes=least)
        np.testing.assert_array_equal(scores, expected)


def test_a_combined_search_is_the_same_where_nothing_is_held(stores: tuple[Store, Store]) -> None:
    sides = sides_of(stores)["two stores"]
    weights = {"words": 1.0, "code": 2.0}
    expected = combined_neighbours(sides, weights, K)
    least = least_memory(lambda m: combined_neighbours(sides, weights, K, memory_bytes=m))
    for memory_bytes in (10 * least, 40 * least):
        assert_same(combined_neighbours(sides, weights, K, memory_bytes=memory_bytes), expected)


def least_memory(search: Callable[[int], object]) -> int:
    """What the message says where there is none; a byte less is refused as well."""
    with pytest.raises(SettingsError, match="give a larger --memory") as told:
        search(0)
    least = int(str(told.value).split("at least ")[1].split()[0].replace(",", ""))
    with pytest.raises(SettingsError, match=f"at least {least:,} bytes: found {least - 1:,}"):
        search(least - 1)
    return least


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A sparse space of 6 MB, and codes of 6.4 MB."""
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 20, 80_000)
    ends = np.concatenate([[0], np.cumsum(counts)])
    places = generator.integers(0, 3000, ends[-1])
    values = generator.random(ends[-1]).astype(np.float32)
    words = scipy.sparse.csr_array((values, places, ends), shape=(80_000, 3000))
    codes = generator.integers(0, 256, (80_000, 80), dtype=np.uint8)
    spaces = {"words": (sparse_info(3000), words), "code": (binary_info(640), codes)}
    with Store(write_store(tmp_path_factory.mktemp("large") / "a.h5", spaces)) as store:
        yield store


@pytest.mark.parametrize("space", ["words", "code"])
def test_a_search_holds_no_more_than_the_memory(large: Store, space: str) -> None:
    memory_bytes = 3 * 2**20
    gallery = StoreRows(large, np.arange(80_000))
    sides = between(StoreRows(large, np.arange(0, 80_000, 1600)), gallery)
    blocks = iterate_neighbours(sides, space, 5, memory_bytes=memory_bytes)
    assert peak_of(lambda: list(blocks)) < memory_bytes
    expected = peak_of(lambda: find_neighbours(sides, space, 5))
    assert expected > 2 * memory_bytes  # where there is room, the whole gallery is held


@pytest.mark.parametrize("space", ["words", "code"])
def test_scores_of_pairs_hold_no_more_than_the_memory(large: Store, space: str) -> None:
    memory_bytes = 3 * 2**20
    rows = np.random.default_rng(0).integers(0, 80_000, (8_000, 1))
    gallery = StoreRows(large, np.arange(80_000))
    sides = between(StoreRows(large, np.arange(0, 80_000, 10)), gallery)
    result_bytes = rows.nbytes * 4  # where each pair stands, and its score

    def search(memory_bytes: int) -> Float32[np.ndarray, "q 1"]:
        return pair_scores(sides, space, rows, memory_bytes=memory_bytes)

    assert peak_of(lambda: search(memory_bytes)) < memory_bytes + result_bytes
    np.testing.assert_array_equal(search(memory_bytes), search(2**31))


def peak_of(function: Callable[[], object]) -> int:
    """The most that numpy held meanwhile; what libraries in C++ hold is not seen."""
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak
