"""Each refinement against a plain loop of its formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float, Float32

from retrieval.refining.blending import blended
from retrieval.refining.expansion import augmented, expanded
from retrieval.refining.reciprocal import Rerank
from retrieval.refining.reranking import reranked
from retrieval.refining.vectors import SideVectors, unit_length
from retrieval.search.ranking import NO_ROW
from tests.retrieval.retrieval_stores import clustered


def join_of(num_groups: int = 8, group_size: int = 5, *, seed: int = 0) -> SideVectors:
    vectors = unit_length(clustered(num_groups, group_size, spread=0.9, seed=seed)[0])
    return SideVectors(vectors, vectors, np.arange(len(vectors)))


def sides_of(seed: int = 0, num_own: int = 5) -> SideVectors:
    """17 queries among 40 items; some of the queries are of the gallery."""
    gallery = join_of(seed=seed).gallery
    others = unit_length(clustered(8, 2, spread=0.9, seed=seed)[0])[: 17 - num_own]
    own = np.concatenate([np.arange(3, 3 + num_own), np.full(len(others), NO_ROW)])
    return SideVectors(np.concatenate([gallery[3 : 3 + num_own], others]), gallery, own)


def moved_sides(seed: int = 0) -> SideVectors:
    """A self-join whose queries were moved, such as by query expansion; but for two of them."""
    join = join_of(seed=seed)
    queries = expanded(join.queries, join.gallery, join.nearest(3))
    queries[4:6] = join.gallery[4:6]
    return SideVectors(queries, join.gallery, join.own)


def order_of(
    query: Float32[np.ndarray, " d"], gallery: Float32[np.ndarray, "g d"], own: int
) -> list[int]:
    """The rows of the gallery, best first, without the query itself."""
    scores = gallery.astype(np.float64) @ query
    return [int(row) for row in np.argsort(-scores, kind="stable") if row != own]


def unit(vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    return np.asarray(vector / np.linalg.norm(vector))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("sides", [join_of(), sides_of()], ids=["self-join", "sides"])
def test_expansion_is_the_plain_loop(sides: SideVectors, alpha: float) -> None:
    found = expanded(sides.queries, sides.gallery, sides.nearest(5), alpha)
    for query, own, result in zip(sides.queries, sides.own, found, strict=True):
        total = query.astype(np.float64)
        for row in order_of(query, sides.gallery, own)[:4]:
            total = (
                total + max(0.0, float(sides.gallery[row] @ query)) ** alpha * sides.gallery[row]
            )
        np.testing.assert_allclose(result, unit(total), atol=1e-6)


def test_average_expansion_by_hand() -> None:
    gallery = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    query = np.array([[0.8, 0.6]], np.float32)
    sides = SideVectors(query, gallery, np.array([NO_ROW]))
    found = expanded(query, gallery, sides.nearest(3))  # (1.8, 1.6): both of the near ones
    np.testing.assert_allclose(found, [[1.8 / 5.8**0.5, 1.6 / 5.8**0.5]], atol=1e-6)


@pytest.mark.parametrize("weights", ["rank", "score"])
def test_augmentation_is_the_plain_loop(weights: str) -> None:
    sides = join_of()
    found = augmented(sides.gallery, sides.nearest(4), weights)  # type: ignore[arg-type]
    for own, vector in enumerate(sides.gallery):
        total = vector.astype(np.float64)
        for place, row in enumerate(order_of(vector, sides.gallery, own)[:3]):
            by_rank = (0.75, 0.5, 0.25)[place]
            score = max(0.0, float(sides.gallery[row] @ vector))
            total = total + (by_rank if weights == "rank" else score) * sides.gallery[row]
        np.testing.assert_allclose(found[own], unit(total), atol=1e-6)


@pytest.mark.parametrize("sides", [join_of(), sides_of()], ids=["self-join", "sides"])
def test_blending_is_the_plain_loop(sides: SideVectors) -> None:
    found = blended(sides, (0.5, 0.6), num_nearest=3)
    queries, gallery = sides.queries.astype(np.float64), sides.gallery.astype(np.float64)
    for threshold in (0.5, 0.6):
        queries, gallery = (
            plain_stage(queries, gallery, sides.own, threshold),
            plain_stage(gallery, gallery, np.arange(len(gallery)), threshold),
        )
    np.testing.assert_allclose(found.gallery, gallery, atol=2e-6)
    np.testing.assert_allclose(found.queries, queries, atol=2e-6)
    assert np.abs(found.gallery - sides.gallery).max() > 0.1


def plain_stage(
    queries: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "g d"],
    owns: Float[np.ndarray, " q"],
    threshold: float,
) -> Float[np.ndarray, "q d"]:
    results = []
    for query, own in zip(queries, owns, strict=True):
        total = query.copy()
        for row in order_of(query, gallery, own)[:3]:
            if gallery[row] @ query >= threshold:
                total += gallery[row] @ query * gallery[row]
        results.append(unit(total))
    return np.array(results)


def test_a_blend_of_nothing_changes_nothing() -> None:
    sides = join_of()
    found = blended(sides, (1.0, 1.0), num_nearest=5)
    np.testing.assert_allclose(found.gallery, sides.gallery, atol=1e-6)
    assert found.is_self_join


class PlainReciprocals:
    """Reciprocal neighbours of the gallery's items, and what they encode, as sets and tables."""

    def __init__(self, gallery: Float32[np.ndarray, "g d"], k1: int) -> None:
        vectors = gallery.astype(np.float64)
        self.scores = vectors @ vectors.T
        np.fill_diagonal(self.scores, 1)
        self.lists = [[row, *order_of(vectors[row], gallery, row)] for row in range(len(gallery))]
        self.k1 = k1
        self.plain = [
            self.encoded(self._reciprocal(row, k1), self.scores[row]) for row in range(len(gallery))
        ]

    def averaged(self, k2: int) -> list[Float[np.ndarray, " g"]]:
        """Each item's encoding, averaged with those of its nearest."""
        return [np.mean([self.plain[row] for row in near[:k2]], axis=0) for near in self.lists]

    def encoded(
        self, members: set[int], scores: Float[np.ndarray, " g"]
    ) -> Float[np.ndarray, " g"]:
        """What the members say, with those that they bring along."""
        values = np.zeros(len(self.lists))
        for member in self._extended(members):
            values[member] = np.exp(-(1 - scores[member]))
        return values

    def would_list(self, row: int, score: float) -> bool:
        """Whether an item would have a query among its own nearest."""
        is_all = self.k1 >= len(self.lists)
        return is_all or bool(score > self.scores[row, self.lists[row][self.k1]])

    def _extended(self, members: set[int]) -> set[int]:
        result = set(members)
        for member in members:
            those = self._reciprocal(member, round(self.k1 / 2))
            if 3 * len(members & those) >= 2 * len(those):
                result |= those
        return result

    def _reciprocal(self, row: int, k: int) -> set[int]:
        near = self.lists[row][: k + 1]
        return {other for other in near if row in self.lists[other][: k + 1]}


def dense_reranking(sides: SideVectors, settings: Rerank) -> Float[np.ndarray, "q g"]:
    """The equations of the paper with sets and tables of all pairs."""
    reciprocals = PlainReciprocals(sides.gallery, settings.k1)
    of_gallery = reciprocals.averaged(settings.k2)
    table = []
    for number, own in enumerate(sides.own):
        scores = sides.gallery.astype(np.float64) @ sides.queries[number]
        if own != NO_ROW:
            scores[own] = 1
        if own != NO_ROW and (sides.queries[number] == sides.gallery[own]).all():
            mine = of_gallery[own]
        else:
            mine = of_query(sides, number, scores, settings, reciprocals)
        jaccard = [np.minimum(mine, its).sum() / np.maximum(mine, its).sum() for its in of_gallery]
        table.append((1 - settings.weight) * np.array(jaccard) + settings.weight * scores)
    return np.array(table)


def of_query(
    sides: SideVectors,
    number: int,
    scores: Float[np.ndarray, " g"],
    settings: Rerank,
    reciprocals: PlainReciprocals,
) -> Float[np.ndarray, " g"]:
    """What a query encodes that is not in the gallery, or has moved away from where it is there."""
    own = int(sides.own[number])
    order = order_of(sides.queries[number], sides.gallery, own)
    members = {row for row in order[: settings.k1] if reciprocals.would_list(row, scores[row])}
    members |= {own} - {NO_ROW}
    others = [reciprocals.plain[row] for row in order[: settings.k2 - 1]]
    return np.asarray(np.mean([reciprocals.encoded(members, scores), *others], axis=0))


RERANKS = [Rerank(), Rerank(5, 3, 0.3), Rerank(7, 1, 0.0), Rerank(4, 9, 1.0), Rerank(60, 2, 0.5)]


@pytest.mark.parametrize("rerank", RERANKS, ids=str)
@pytest.mark.parametrize(
    "sides", [join_of(), sides_of(), sides_of(num_own=0), moved_sides()], ids=list("smqv")
)
@pytest.mark.parametrize("k", [4, 50])
def test_reranking_is_the_dense_loop(sides: SideVectors, rerank: Rerank, k: int) -> None:
    table = dense_reranking(sides, rerank)
    found = reranked(sides, k, rerank)
    for number, own in enumerate(sides.own):
        others = np.delete(table[number], own) if own != NO_ROW else table[number]
        expected = np.sort(others)[::-1][: k - 1]
        rows, scores = found.rows[number, 1:], found.scores[number, 1:]
        there = rows != NO_ROW
        assert (found.rows[number, 0], found.scores[number, 0]) == (own, 1)
        np.testing.assert_allclose(scores[there], expected, atol=1e-6)
        np.testing.assert_allclose(table[number, rows[there]], expected, atol=1e-6)
        assert len(set(rows[there].tolist())) == there.sum()
        assert own not in rows[there]


@settings(max_examples=15)
@given(seed=st.integers(0, 99), k1=st.integers(1, 12), k2=st.integers(1, 8))
def test_reranked_scores_are_in_range_and_the_same_both_ways_round(
    seed: int, k1: int, k2: int
) -> None:
    sides = join_of(5, 4, seed=seed)
    found = reranked(sides, 20, Rerank(k1, k2, 0.4))
    table = np.empty((20, 20), np.float32)
    np.put_along_axis(table, found.rows, found.scores, axis=1)
    np.testing.assert_array_equal(table, table.T)
    assert -0.4 <= table.min() <= table.max() <= 1


def test_blocks_never_change_what_reranking_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = sides_of()
    expected = reranked(sides, 10, Rerank())
    monkeypatch.setattr("retrieval.refining.reranking.MEETINGS_AT_ONCE", 1000)
    found = reranked(sides, 10, Rerank())
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)
