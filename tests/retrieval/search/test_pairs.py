"""The scores of pairs, against the searches of each space and against cosines in float64."""

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float

from embed.errors import SettingsError
from embed.store import Store
from retrieval.search.binary import Codes
from retrieval.search.neighbours import find_neighbours
from retrieval.search.pairs import pair_scores, pair_scores_of
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import Sides, StoreRows, between, self_join
from retrieval.search.sparse_vectors import UnitSparse
from retrieval.search.vectors import UnitVectors
from tests.retrieval.retrieval_stores import binary_info, dense_info, sparse_info, write_store

NUM_ROWS = 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((NUM_ROWS, 20)).astype(np.float32)
    sparse = dense[:, :12] * (generator.random((NUM_ROWS, 12)) < 0.4)
    sparse[5] = 0
    codes = generator.integers(0, 256, (NUM_ROWS, 2), dtype=np.uint8)
    codes[:, 1] &= 0b11100000
    spaces = {
        "dense": (dense_info(20), dense),
        "sparse": (sparse_info(12), np.abs(sparse)),
        "binary": (binary_info(11), codes),
    }
    return write_store(tmp_path / "store.h5", spaces)


def vectors_of(store: Store, space: str) -> Float[np.ndarray, "n d"]:
    if space == "sparse":
        return np.asarray(store.sparse(space).toarray(), np.float64)
    if space == "binary":
        return 1.0 - 2 * np.unpackbits(store.array(space), axis=1)[:, :11]
    return store.array(space).astype(np.float64)


def sides_of(store: Store) -> list[Sides]:
    rows = np.arange(NUM_ROWS)
    some = StoreRows(store, rows[::3]), StoreRows(store, rows[rows % 4 > 0])
    return [self_join(store, rows[1:]), between(*some)]


@pytest.mark.parametrize("space", ["dense", "sparse", "binary"])
@pytest.mark.parametrize("together", [3, 2**17])
def test_they_are_the_scores_of_the_search(
    path: Path, space: str, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.search.scoring.MOST_PAIRS", together)
    with Store(path) as store:
        for sides in sides_of(store):
            found = find_neighbours(sides, space, 12)
            scores = pair_scores(sides, space, found.rows)
            is_there = found.rows != NO_ROW
            np.testing.assert_array_equal(scores[is_there], found.scores[is_there])
            assert np.isneginf(scores[~is_there]).all()


@pytest.mark.parametrize("space", ["dense", "sparse", "binary"])
@pytest.mark.parametrize("memory_bytes", [60_000, 2**30])
def test_they_are_cosines_and_the_same_both_ways_round(
    path: Path, space: str, memory_bytes: int
) -> None:
    with Store(path) as store:
        sides = self_join(store, np.arange(NUM_ROWS))
        everything = np.tile(np.arange(NUM_ROWS), (NUM_ROWS, 1))
        scores = pair_scores(sides, space, everything, memory_bytes=memory_bytes)
        vectors = vectors_of(store, space)
    norms = np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)
    expected = vectors @ vectors.T / norms / norms[:, None]
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    np.testing.assert_array_equal(scores, scores.T)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_equal_vectors_score_one_on_every_path(tmp_path: Path, kind: str) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.random((300, 50)).astype(np.float32)
    vectors *= generator.random(vectors.shape) < (1 if kind == "dense" else 0.3)
    vectors = np.concatenate([vectors, vectors])
    info = dense_info(50) if kind == "dense" else sparse_info(50)
    with Store(write_store(tmp_path / "twice.h5", {"space": (info, vectors)})) as store:
        sides = self_join(store, np.arange(600))
        found = find_neighbours(sides, "space", 5)
        scores = pair_scores(sides, "space", found.rows)
    twins = (np.arange(600) + 300) % 600
    np.testing.assert_array_equal(found.rows[:, 1], twins)
    np.testing.assert_array_equal(found.scores[:, 1], 1)
    np.testing.assert_array_equal(scores, found.scores)


@pytest.mark.parametrize("space", ["dense", "sparse", "binary"])
def test_a_self_join_holds_its_vectors_once(path: Path, space: str) -> None:
    with Store(path) as store:
        rows = np.arange(NUM_ROWS)
        num_bytes = {
            "dense": lambda: UnitVectors(store.array(space), rows).num_bytes,
            "sparse": lambda: UnitSparse(store.sparse_parts(space), rows).num_bytes,
            "binary": lambda: Codes(store.array(space), rows).num_bytes,
        }[space]()
        is_held = []
        for sides in (self_join(store, rows), copied(store, rows)):
            scores = pair_scores_of(sides, space)
            scores.working_bytes = 2 * num_bytes
            is_held.append(scores.is_held)
    assert is_held == [True, False]


def copied(store: Store, rows: np.ndarray) -> Sides:
    return between(StoreRows(store, rows), StoreRows(store, rows))


@pytest.mark.parametrize("space", ["dense", "sparse", "binary"])
def test_too_little_memory_is_told(path: Path, space: str) -> None:
    with Store(path) as store:
        sides = self_join(store, np.arange(NUM_ROWS))
        with pytest.raises(SettingsError, match=r"at least [\d,]+ bytes: found 100"):
            pair_scores(sides, space, np.zeros((NUM_ROWS, 1), np.int64), memory_bytes=100)
