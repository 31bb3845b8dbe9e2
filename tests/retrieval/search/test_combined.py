"""Search by the weighted mean of scores, against every pair of items and against concatenation."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32

from embed.errors import SelectionError, SettingsError, StoreError
from embed.store import Store
from retrieval.search.combined import combined_neighbours, shares_of
from retrieval.search.neighbours import find_neighbours, neighbours_of_vectors
from retrieval.search.pairs import pair_scores
from retrieval.search.ranking import NO_ROW, Neighbours
from retrieval.search.sides import Sides, StoreRows, between, self_join
from tests.retrieval.retrieval_stores import (
    binary_info,
    dense_info,
    exact_vectors,
    sparse_info,
    write_store,
)

NUM_ROWS = 90
PAIRS = [("a", "b"), ("a", "words"), ("words", "code"), ("words", "a", "code")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Many duplicates, words of zeros, and scores with ties in every space."""
    generator = np.random.default_rng(0)
    exact = exact_vectors(NUM_ROWS, seed=1)
    exact[:40] = exact[0]
    rounded = generator.standard_normal((NUM_ROWS, 24)).astype(np.float32)
    rounded[10:45] = rounded[10]
    words = exact_vectors(NUM_ROWS, seed=2, signed=False, zeros=True)
    words[20:60] = words[20]
    codes = generator.integers(0, 256, (NUM_ROWS, 2), dtype=np.uint8) & np.array([255, 240], "u1")
    spaces = {
        "a": (dense_info(16), exact),
        "b": (dense_info(24), rounded),
        "words": (sparse_info(16), words),
        "code": (binary_info(12), codes),
        "bad": (dense_info(16), np.where(np.arange(NUM_ROWS)[:, None] == 7, np.nan, exact)),
    }
    path = tmp_path_factory.mktemp("combined") / "store.h5"
    with Store(write_store(path, spaces)) as opened:
        yield opened


def sides_of(store: Store) -> list[Sides]:
    rows = np.arange(NUM_ROWS)
    queries, gallery = StoreRows(store, rows[::3]), StoreRows(store, rows[rows % 5 > 0])
    return [self_join(store, rows[rows % 7 > 0]), between(queries, gallery)]


def mean_of_all(sides: Sides, weights: dict[str, float]) -> Float32[np.ndarray, "q g"]:
    """The score of every query with every item, added up in float64."""
    everything = np.tile(np.arange(len(sides.gallery)), (len(sides.queries), 1))
    total = sum(weights.values())
    mean = np.zeros(everything.shape)
    for space, weight in weights.items():
        mean += weight / total * pair_scores(sides, space, everything).astype(np.float64)
    return mean.astype(np.float32)


def brute_force(sides: Sides, weights: dict[str, float], k: int) -> Neighbours:
    mean = mean_of_all(sides, weights)
    width = min(k, 1 + len(sides.gallery) - int((sides.own != NO_ROW).all()))
    rows = np.full((len(mean), width), NO_ROW)
    scores = np.full((len(mean), width), -np.inf, np.float32)
    for query, own in enumerate(sides.own.tolist()):
        others = [row for row in range(mean.shape[1]) if row != own]
        others.sort(key=lambda row: (-mean[query, row], row))
        kept = others[: width - 1]
        rows[query, : 1 + len(kept)] = [own, *kept]
        scores[query, : 1 + len(kept)] = [1, *mean[query, kept]]
    return Neighbours(rows, scores)


def least_memory(sides: Sides, weights: dict[str, float], k: int) -> int:
    """What the message says where there is none."""
    with pytest.raises(SettingsError, match="give a larger --memory") as caught:
        combined_neighbours(sides, weights, k, memory_bytes=0)
    found = re.search(r"at least ([\d,]+) bytes: found 0", str(caught.value))
    assert found is not None
    return int(found[1].replace(",", ""))


@pytest.mark.parametrize("spaces", PAIRS, ids="+".join)
@pytest.mark.parametrize("k", [1, 6, 500])
@pytest.mark.parametrize("factors", [(1.0, 2.5, 0.3), (1.0, -0.4, 0.3)], ids=str)
def test_it_is_every_pair_ranked(
    store: Store, spaces: tuple[str, ...], k: int, factors: tuple[float, ...]
) -> None:
    weights = dict(zip(spaces, factors, strict=False))
    for sides in sides_of(store):
        expected = brute_force(sides, weights, k)
        for memory_bytes in (least_memory(sides, weights, k), 2**21, 2**31):
            found = combined_neighbours(sides, weights, k, memory_bytes=memory_bytes)
            np.testing.assert_array_equal(found.rows, expected.rows)
            np.testing.assert_array_equal(found.scores, expected.scores)


def test_it_is_the_search_among_concatenated_vectors(store: Store) -> None:
    rows = np.flatnonzero(
        np.abs(store.array("b")).sum(axis=1) * np.abs(store.array("a")).sum(axis=1)
    )
    weights = {"a": 1.0, "b": 3.0}
    units = [
        np.sqrt(share) * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for space, share in shares_of(weights).items()
        for vectors in [store.array(space)[rows].astype(np.float64)]
    ]
    expected = neighbours_of_vectors(np.concatenate(units, axis=1), 8)
    found = combined_neighbours(self_join(store, rows), weights, 8)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


def test_one_space_alone_is_its_own_search(store: Store) -> None:
    for sides in sides_of(store):
        for space in ("a", "b", "code"):
            found, own = (
                combined_neighbours(sides, {space: 3.0}, 9),
                find_neighbours(sides, space, 9),
            )
            np.testing.assert_array_equal(found.rows, own.rows)
            np.testing.assert_array_equal(found.scores, own.scores)


def test_shares_add_up_to_one() -> None:
    assert shares_of({"a": 1.0, "b": 3.0}) == {"a": 0.25, "b": 0.75}
    for weight in (0.0, float("nan"), float("inf")):
        with pytest.raises(
            SettingsError, match=f"weight of a space is a number other than 0: found b={weight:g}"
        ):
            shares_of({"a": 1.0, "b": weight})
    assert shares_of({"a": 1.0, "b": -0.5}) == {"a": 2.0, "b": -1.0}
    with pytest.raises(SettingsError, match="add up to more than 0: found a=1, b=-1"):
        shares_of({"a": 1.0, "b": -1.0})


def test_mistakes_are_told(store: Store, tmp_path: Path) -> None:
    everything = self_join(store, np.arange(NUM_ROWS))
    with pytest.raises(StoreError, match="'r7' in space 'bad' should be finite"):
        combined_neighbours(everything, {"a": 1.0, "bad": 1.0}, 5)
    with pytest.raises(StoreError, match="no space 'nope'"):
        combined_neighbours(everything, {"a": 1.0, "nope": 1.0}, 5)
    with pytest.raises(SettingsError, match="at least 1: found 0"):
        combined_neighbours(everything, {"a": 1.0, "b": 1.0}, 0)
    with pytest.raises(SelectionError, match="nothing to search"):
        combined_neighbours(self_join(store, np.arange(0)), {"a": 1.0, "b": 1.0}, 5)
