"""The scores of pairs, against the searches of each space and against cosines in float64."""

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float

from embed.store import Store
from retrieval.search.neighbours import find_neighbours
from retrieval.search.pairs import pair_scores
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import Sides, StoreRows, between, self_join
from tests.retrieval.retrieval_stores import binary_info, dense_info, sparse_info, write_store

NUM_ROWS = 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((NUM_ROWS, 20)).astype(np.float32)
    dense[5] = 0
    sparse = dense[:, :12] * (generator.random((NUM_ROWS, 12)) < 0.4)
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
