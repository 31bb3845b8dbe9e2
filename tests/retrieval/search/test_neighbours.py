from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float, UInt8

from embed.errors import FingerprintError, SelectionError, SettingsError, StoreError
from embed.store import Store
from retrieval.search.binary import BinarySearch, Codes
from retrieval.search.combined import combined_neighbours
from retrieval.search.neighbours import (
    NO_ROW,
    Neighbours,
    find_neighbours,
    iterate_neighbours,
    neighbours_of_vectors,
    unit_dense,
)
from retrieval.search.ranking import self_first
from retrieval.search.sides import StoreRows, between, self_join
from retrieval.search.sparse import SparseSearch
from retrieval.search.sparse_vectors import UnitSparse
from retrieval.search.unit_rows import unit_vectors
from tests.retrieval.retrieval_stores import (
    binary_info,
    dense_info,
    exact_vectors,
    sparse_info,
    write_store,
)


def plain_neighbours(
    num_rows: int, k: int, score: Callable[[int, int], float], *, only_above: float = -np.inf
) -> list[list[tuple[int, float]]]:
    """Two plain loops and a sort."""
    found = []
    for one in range(num_rows):
        scores = [(-score(one, other), other) for other in range(num_rows) if other != one]
        best = sorted(pair for pair in scores if -pair[0] > only_above)[: k - 1]
        found.append([(one, 1.0)] + [(other, -negative) for negative, other in best])
    return found


def as_lists(neighbours: Neighbours) -> list[list[tuple[int, float]]]:
    """The neighbours as pairs, without what fills up the rest."""
    return [
        [(int(row), float(score)) for row, score in zip(*pair, strict=True) if row != NO_ROW]
        for pair in zip(neighbours.rows, neighbours.scores, strict=True)
    ]


def cosine(vectors: Float[np.ndarray, "n d"]) -> Callable[[int, int], float]:
    def score(one: int, other: int) -> float:
        norms = np.linalg.norm(vectors[one]) * np.linalg.norm(vectors[other])
        return float(vectors[one] @ vectors[other] / norms) if norms else 0.0

    return score


def test_dense_is_the_plain_loop_with_ties_duplicates_and_zeros() -> None:
    vectors = exact_vectors(150, seed=0, zeros=True)
    found = neighbours_of_vectors(vectors, 5, block_rows=64)
    assert as_lists(found) == plain_neighbours(150, 5, cosine(vectors))
    assert (vectors == 0).all(axis=1).sum() > 3
    assert len(np.unique(vectors, axis=0)) < 150


def test_dense_is_the_plain_loop_in_every_digit_that_counts() -> None:
    vectors = np.random.default_rng(0).standard_normal((120, 24)).astype(np.float32)
    expected = plain_neighbours(120, 9, cosine(vectors.astype(np.float64)))
    found = neighbours_of_vectors(vectors, 9)
    assert found.rows.tolist() == [[row for row, _ in line] for line in expected]
    scores = np.array([[score for _, score in line] for line in expected])
    np.testing.assert_allclose(found.scores, scores, atol=5e-7)
    assert found.scores.dtype == np.float32


def test_binary_is_the_plain_loop() -> None:
    codes = np.random.default_rng(0).choice([0, 15, 240, 255], (120, 4)).astype(np.uint8)

    def score(one: int, other: int) -> float:
        return 1 - 2 * int(np.bitwise_count(codes[one] ^ codes[other]).sum()) / 32

    both = Codes(codes, np.arange(120))
    search = BinarySearch(both, both, 32, 7)
    found = self_first(search(0, 120), np.arange(120), 7)
    assert as_lists(found) == plain_neighbours(120, 7, score)


def test_binary_score_is_the_cosine_of_plus_and_minus_ones(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (10, 12)).astype(np.uint8)
    spaces = {"hash": (binary_info(12), np.packbits(bits, axis=1))}  # 4 of 16 bits fill up
    with Store(write_store(tmp_path / "a.h5", spaces)) as store:
        found = find_neighbours(self_join(store, np.arange(10)), "hash", 10)
    signs = 1 - 2.0 * bits
    expected = neighbours_of_vectors(signs, 10)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


def sparse_search(vectors: Float[np.ndarray, "n d"], k: int) -> SparseSearch:
    units = UnitSparse(scipy.sparse.csr_array(vectors), np.arange(len(vectors)))
    return SparseSearch(units, units, k)


def test_sparse_is_the_plain_loop_and_fills_up_with_no_row() -> None:
    vectors = exact_vectors(150, seed=1, signed=False, zeros=True)
    search = sparse_search(vectors, 60)
    found = self_first(search(0, 150), np.arange(150), 60)
    assert as_lists(found) == plain_neighbours(150, 60, cosine(vectors), only_above=0)
    filled = found.rows == NO_ROW
    assert filled.any()
    assert (found.scores[filled] == -np.inf).all()


def test_sparse_finds_the_lowest_rows_among_more_ties_than_candidates() -> None:
    vectors = np.ones((100, 1), np.float32)
    search = sparse_search(vectors, 4)
    found = self_first(search(90, 91), np.array([90]), 4)
    assert found.rows.tolist() == [[90, 0, 1, 2]]


def test_sparse_leaves_out_scores_that_are_not_above_zero() -> None:
    vectors = np.array([[1, 1], [1, -1], [-1, -1], [3, 3]], np.float32)
    search = sparse_search(vectors, 4)
    found = self_first(search(0, 4), np.arange(4), 4)
    assert [row for row, _ in as_lists(found)[0]] == [0, 3]


def test_an_item_is_first_among_more_duplicates_than_k() -> None:
    vectors = np.ones((100, 3), np.float32)
    found = neighbours_of_vectors(vectors, 3)
    assert found.rows[80].tolist() == [80, 0, 1]
    assert found.rows[1].tolist() == [1, 0, 2]
    np.testing.assert_allclose(found.scores, 1, atol=1e-6)


def test_scores_are_the_same_both_ways_round() -> None:
    vectors = np.random.default_rng(0).standard_normal((300, 33)).astype(np.float32)
    found = neighbours_of_vectors(vectors, 300)
    table = np.empty((300, 300), np.float32)
    np.put_along_axis(table, found.rows, found.scores, axis=1)
    np.testing.assert_array_equal(table, table.T)


@settings(max_examples=20)
@given(
    block_rows=st.integers(20, 130),
    memory_bytes=st.integers(700_000, 3_000_000),
    k=st.integers(1, 60),
    seed=st.integers(0, 9),
)
def test_memory_and_blocks_never_change_the_result(
    block_rows: int, memory_bytes: int, k: int, seed: int
) -> None:
    vectors = np.random.default_rng(seed).standard_normal((320, 190)).astype(np.float32)
    vectors[50:90] = vectors[50]
    expected = neighbours_of_vectors(vectors, k)
    found = neighbours_of_vectors(vectors, k, block_rows=block_rows, memory_bytes=memory_bytes)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_block_sizes_never_change_the_result_of_a_real_matrix_product() -> None:
    vectors = np.random.default_rng(0).standard_normal((3000, 67)).astype(np.float32)
    vectors[500:700] = vectors[500]  # far more duplicates than candidates
    expected = neighbours_of_vectors(vectors, 20)
    for block_rows in (97, 1024):
        found = neighbours_of_vectors(vectors, 20, block_rows=block_rows)
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.scores, expected.scores)
    assert expected.rows[650, :4].tolist() == [650, 500, 501, 502]


def test_rows_count_within_the_selection(tmp_path: Path) -> None:
    vectors = exact_vectors(40, seed=2)
    rows = np.array([3, 4, 9, 20, 33, 39])
    spaces = {
        "image": (dense_info(16), vectors.astype(np.float16)),
        "title": (sparse_info(16), np.abs(vectors)),
        "hash": (binary_info(128), np.abs(vectors).astype(np.uint8)),
    }
    with Store(write_store(tmp_path / "a.h5", spaces)) as store:
        image = find_neighbours(self_join(store, rows), "image", 4)
        title = find_neighbours(self_join(store, rows), "title", 4)
        code = find_neighbours(self_join(store, rows), "hash", 4, block_rows=2)
        blocks = list(iterate_neighbours(self_join(store, rows), "image", 4, block_rows=4))
    expected = neighbours_of_vectors(vectors[rows], 4)
    np.testing.assert_array_equal(image.rows, expected.rows)
    np.testing.assert_array_equal(image.scores, expected.scores)
    for found in (image, title, code):
        np.testing.assert_array_equal(found.rows[:, 0], np.arange(6))
        np.testing.assert_array_equal(found.scores[:, 0], 1)
    assert [start for start, _ in blocks] == [0, 4]
    np.testing.assert_array_equal(blocks[1][1].rows, expected.rows[4:])


def test_k_is_clipped_to_the_rows(tmp_path: Path) -> None:
    codes: UInt8[np.ndarray, "n bytes"] = np.arange(3, dtype=np.uint8)[:, None]
    spaces = {"hash": (binary_info(8), codes), "title": (sparse_info(2), np.eye(3, 2))}
    with Store(write_store(tmp_path / "a.h5", spaces)) as store:
        for space in spaces:
            assert find_neighbours(self_join(store, np.arange(3)), space, 50).rows.shape == (3, 3)
    assert neighbours_of_vectors(np.ones((1, 2)), 50).rows.tolist() == [[0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_a_vector_that_is_not_finite_is_named(tmp_path: Path, bad: float, kind: str) -> None:
    vectors = np.ones((5, 3), np.float32)
    vectors[3, 1] = bad
    info = dense_info(3) if kind == "dense" else sparse_info(3)
    with Store(write_store(tmp_path / "a.h5", {"image": (info, vectors)})) as store:
        with pytest.raises(StoreError, match="'r3' in space 'image' should be finite"):
            find_neighbours(self_join(store, np.array([0, 2, 3])), "image", 2)
        assert find_neighbours(self_join(store, np.array([0, 2, 4])), "image", 2).rows.shape == (
            3,
            2,
        )


def test_mistakes_are_told() -> None:
    with pytest.raises(StoreError, match="the vector in row 1 should be finite"):
        neighbours_of_vectors(np.array([[1.0], [np.nan]]), 2)
    with pytest.raises(SettingsError, match="at least 1: found 0"):
        neighbours_of_vectors(np.ones((2, 2)), 0)
    with pytest.raises(SelectionError, match="no vectors"):
        neighbours_of_vectors(np.ones((0, 2)), 2)


def test_a_dense_vector_of_zeros_is_refused_and_a_title_without_words_is_not(
    tmp_path: Path,
) -> None:
    vectors = exact_vectors(12, seed=0)
    vectors[[4, 7]] = 0
    spaces = {"image": (dense_info(16), vectors), "title": (sparse_info(16), np.abs(vectors))}
    rows = np.arange(12)
    with Store(write_store(tmp_path / "a.h5", spaces)) as store:
        sides = between(StoreRows(store, rows[:4]), StoreRows(store, rows[5:]))
        several = (
            r"^the vector of 'r4' in space 'image' .* all zeros \(2 are\), like nothing else: "
            r"encode them again, import vectors for them, or leave them out with --where$"
        )
        with pytest.raises(StoreError, match=several):
            find_neighbours(self_join(store, rows), "image", 3)
        with pytest.raises(StoreError, match=several):
            combined_neighbours(self_join(store, rows), {"title": 1, "image": 1}, 3)
        one = (
            r"^the vector of 'r7' in space 'image' .* all zeros, like nothing else: "
            r"encode the item again, import a vector for it, or leave it out with --where$"
        )
        with pytest.raises(StoreError, match=one):
            find_neighbours(sides, "image", 3)
        with pytest.raises(StoreError, match=one):
            unit_vectors(sides.gallery, "image")
        # What only looks at vectors, as a map does, takes zeros as they are.
        assert not unit_dense(sides.gallery, "image").between(2, 3).any()
        assert find_neighbours(self_join(store, np.delete(rows, [4, 7])), "image", 3)
        found = find_neighbours(self_join(store, rows), "title", 3)
    assert found.rows[4].tolist() == [4, NO_ROW, NO_ROW]


def test_matches_compare_in_float64() -> None:
    low = np.float32(0.5)
    high = np.nextafter(low, np.float32(1))
    neighbours = Neighbours(
        np.array([[0, 1, 2, NO_ROW]]), np.array([[1, high, low, -np.inf]], "f4")
    )
    between = (float(low) + float(high)) / 2
    assert neighbours.matches(between).tolist() == [[True, True, False, False]]
    assert neighbours.matches(float(low)).tolist() == [[True, True, True, False]]
    assert neighbours.matches(np.array([2.0])).tolist() == [[True, False, False, False]]
    assert neighbours.matches(-np.inf).tolist() == [[True, True, True, False]]


def test_queries_look_among_a_gallery_and_never_find_themselves(tmp_path: Path) -> None:
    vectors = exact_vectors(60, seed=4)
    spaces = {"image": (dense_info(16), vectors)}
    with Store(write_store(tmp_path / "a.h5", spaces)) as store:
        sides = between(
            StoreRows(store, np.arange(0, 40, 2)), StoreRows(store, np.arange(10, 60, 5))
        )
        found = find_neighbours(sides, "image", 5)
    score = cosine(vectors)
    for place, row in enumerate(range(0, 40, 2)):
        others = [
            (-score(row, other), at) for at, other in enumerate(range(10, 60, 5)) if other != row
        ]
        own = (row - 10) // 5 if row >= 10 and row % 5 == 0 else NO_ROW
        assert found.rows[place].tolist() == [own, *(at for _, at in sorted(others)[:4])]


def test_items_of_two_stores_are_joined_by_id(tmp_path: Path) -> None:
    vectors = exact_vectors(30, seed=2)
    ids = np.array([f"r{row}" for row in range(29, -1, -1)], object)
    one = write_store(tmp_path / "a.h5", {"image": (dense_info(16), vectors)})
    other = write_store(
        tmp_path / "b.h5", {"image": (dense_info(16), vectors[::-1].copy())}, ids=ids
    )
    strange = write_store(tmp_path / "c.h5", {"image": (dense_info(16, "dense-2"), vectors)})
    with Store(one) as a, Store(other) as b, Store(strange) as c:
        rows = np.arange(30)
        sides = between(StoreRows(a, rows), StoreRows(b, rows))
        found = find_neighbours(sides, "image", 6)
        among = find_neighbours(self_join(a, rows), "image", 6)
        assert sides.own.tolist() == rows[::-1].tolist()
        np.testing.assert_array_equal(found.scores, among.scores)
        with pytest.raises(FingerprintError, match=r"is dense-1 in .* and dense-2 in"):
            find_neighbours(between(StoreRows(a, rows), StoreRows(c, rows)), "image", 6)
