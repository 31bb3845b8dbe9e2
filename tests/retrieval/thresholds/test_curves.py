import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Int

from retrieval.metrics.judgements import judge_join
from retrieval.search.neighbours import NO_ROW, Neighbours, neighbours_of_vectors
from retrieval.thresholds.curves import ScoreCurve, metrics_at, score_curve
from tests.retrieval.retrieval_stores import exact_vectors


def plain_means(
    neighbours: Neighbours, labels: Int[np.ndarray, " n"], threshold: float, rows: list[int]
) -> tuple[float, float, float]:
    """F1, precision and recall from sets, row by row."""
    totals = np.zeros(3)
    for row in rows:
        true = {other for other in range(len(labels)) if labels[other] == labels[row]}
        found = zip(neighbours.rows[row], neighbours.scores[row], strict=True)
        predicted = {int(o) for o, score in found if o != NO_ROW and float(score) >= threshold}
        predicted |= {row}
        common = len(true & predicted)
        totals += (
            2 * common / (len(true) + len(predicted)),
            common / len(predicted),
            common / len(true),
        )
    f1, precision, recall = totals / len(rows)
    return f1, precision, recall


def with_padding(neighbours: Neighbours) -> Neighbours:
    """Without the scores that are not above 0, as in a sparse space."""
    empty = neighbours.scores <= 0
    return Neighbours(
        np.where(empty, NO_ROW, neighbours.rows), np.where(empty, -np.inf, neighbours.scores)
    )


examples = st.tuples(
    st.integers(2, 40), st.integers(2, 12), st.integers(1, 8), st.integers(0, 999), st.booleans()
)


def build(example: tuple[int, int, int, int, bool]) -> tuple[Neighbours, Int[np.ndarray, " n"]]:
    num_rows, k, num_groups, seed, padded = example
    neighbours = neighbours_of_vectors(exact_vectors(num_rows, seed, zeros=True), k)
    labels = np.random.default_rng(seed).integers(0, num_groups, num_rows)
    return with_padding(neighbours) if padded else neighbours, labels


@settings(max_examples=60)
@given(examples)
def test_every_cut_is_what_sets_give(example: tuple[int, int, int, int, bool]) -> None:
    neighbours, labels = build(example)
    curve = score_curve(neighbours, judge_join(neighbours.rows, labels))
    others = neighbours.scores[:, 1:]
    distinct = np.unique(others[np.isfinite(others)])[::-1]
    assert curve.cuts.tolist() == [np.inf, *distinct.tolist()]
    for index, cut in enumerate(curve.cuts.tolist()):
        expected = plain_means(neighbours, labels, cut, list(range(len(labels))))
        found = (curve.f1[index], curve.precision[index], curve.recall[index])
        assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30)
@given(examples)
def test_the_best_threshold_is_that_of_brute_force_and_of_no_grid_below(
    example: tuple[int, int, int, int, bool],
) -> None:
    neighbours, labels = build(example)
    curve = score_curve(neighbours, judge_join(neighbours.rows, labels))
    tuned = metrics_at(
        neighbours, judge_join(neighbours.rows, labels), curve.threshold(curve.best_cut())
    )[0].mean()
    everywhere = [*np.unique(neighbours.scores).tolist(), 2.0]
    brute_force = max(
        metrics_at(neighbours, judge_join(neighbours.rows, labels), cut)[0].mean()
        for cut in everywhere
    )
    assert tuned == pytest.approx(brute_force, abs=1e-12)
    for step in np.linspace(-1.01, 1.01, 42):
        assert (
            metrics_at(neighbours, judge_join(neighbours.rows, labels), float(step))[0].mean()
            <= tuned + 1e-12
        )


@settings(max_examples=40)
@given(examples)
def test_a_threshold_takes_what_its_cut_takes(example: tuple[int, int, int, int, bool]) -> None:
    neighbours, labels = build(example)
    curve = score_curve(neighbours, judge_join(neighbours.rows, labels))
    for index, cut in enumerate(curve.cuts.tolist()):
        at_threshold = neighbours.matches(curve.threshold(index))
        np.testing.assert_array_equal(at_threshold, neighbours.matches(cut))


@settings(max_examples=40)
@given(examples, st.integers(0, 99))
def test_chosen_rows_are_averaged_and_cut_alone(
    example: tuple[int, int, int, int, bool], seed: int
) -> None:
    neighbours, labels = build(example)
    chosen = np.random.default_rng(seed).random(len(labels)) < 0.5
    chosen[0] = True
    curve = score_curve(neighbours, judge_join(neighbours.rows, labels), chosen)
    others = neighbours.scores[chosen, 1:]
    assert set(curve.cuts[1:].tolist()) == set(others[np.isfinite(others)].tolist())
    rows = np.flatnonzero(chosen).tolist()
    last = float(curve.cuts[-1])
    expected = plain_means(neighbours, labels, last, rows)
    assert (curve.f1[-1], curve.precision[-1], curve.recall[-1]) == pytest.approx(expected)


def judged_curve(neighbours: Neighbours, labels: Int[np.ndarray, " n"]) -> ScoreCurve:
    return score_curve(neighbours, judge_join(neighbours.rows, labels))


def four_items() -> tuple[Neighbours, Int[np.ndarray, " n"]]:
    """Two pairs; the first finds itself at .9, the second only after a wrong item at .6."""
    rows = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 3], [3, 1, 2]])
    scores = np.array([[1, 0.9, 0.6], [1, 0.9, 0.6], [1, 0.6, 0.3], [1, 0.6, 0.3]], np.float32)
    return Neighbours(rows, scores), np.array([0, 0, 1, 1])


def test_a_curve_that_a_hand_can_check() -> None:
    curve = judged_curve(*four_items())
    np.testing.assert_allclose(curve.cuts, [np.inf, 0.9, 0.6, 0.3], atol=1e-7)
    # alone: 2·1/(2+1) each; then two rows at 1; then all with one wrong; then the second pair
    np.testing.assert_allclose(curve.f1, [2 / 3, (1 + 2 / 3) / 2, (4 / 5 + 2 / 4) / 2, 4 / 5])
    np.testing.assert_allclose(curve.precision, [1, 1, (2 / 3 + 1 / 2) / 2, 2 / 3])
    np.testing.assert_allclose(curve.recall, [1 / 2, 3 / 4, 3 / 4, 1])
    assert curve.best_cut() == 1
    assert curve.threshold(1) == pytest.approx(0.75)


def test_thresholds_at_the_ends() -> None:
    curve = judged_curve(*four_items())
    assert 0.9 < curve.threshold(0) < 0.90001
    assert curve.threshold(3) == float(np.float32(0.3))
    alone = neighbours_of_vectors(np.ones((1, 2)), 5)
    assert judged_curve(alone, np.array([0])).threshold(0) > 1


def test_true_matches_beyond_k_are_missed() -> None:
    neighbours = neighbours_of_vectors(np.ones((10, 2)), 5)
    curve = judged_curve(neighbours, np.zeros(10, int))
    assert curve.recall[-1] == pytest.approx(5 / 10)
    assert curve.f1[-1] == pytest.approx(2 * 5 / (10 + 5))


def test_equal_f1_takes_the_highest_cut() -> None:
    flat = np.array([0.2, 0.5, 0.5 + 1e-14, 0.5])
    curve = ScoreCurve(np.array([np.inf, 0.9, 0.8, 0.7]), flat, flat, flat)
    assert curve.best_cut() == 1


def test_a_threshold_lies_strictly_between_neighbouring_floats() -> None:
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    cuts = np.array([np.inf, high, low])
    curve = ScoreCurve(cuts, np.zeros(3), np.zeros(3), np.zeros(3))
    assert float(low) < curve.threshold(1) < float(high)
