import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.thresholds.bins import best_of_bins

EQUAL = 1e-9


def by_sorting(scores: list[float], gains: list[float], start: float) -> tuple[float, float]:
    """The best running sum, and the lowest score of the first cut that reaches it."""
    best, total = (start, np.inf), start
    for score in sorted(set(scores), reverse=True):
        total += sum(gain for other, gain in zip(scores, gains, strict=True) if other == score)
        if total > best[0] + EQUAL:
            best = (total, score)
    return best


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(-8, 8), st.integers(-4, 4)), min_size=1, max_size=60),
    st.integers(-3, 3),
    st.sampled_from([1.0, 1e-6, 1e-30]),
)
def test_it_is_the_best_of_all_cuts(pairs: list[tuple[int, int]], start: int, step: float) -> None:
    scores = np.array([step * score for score, _ in pairs], np.float32)
    gains = np.array([gain for _, gain in pairs], float)
    found = best_of_bins(scores, gains, float(start), EQUAL)
    value, lowest = by_sorting(scores.tolist(), gains.tolist(), start)
    assert (found.value, found.lowest) == pytest.approx((value, lowest))
    lower = [score for score in scores.tolist() if score < found.lowest]
    assert found.following == (max(lower) if lower else None)


def test_it_is_that_of_sorting_many_scores() -> None:
    generator = np.random.default_rng(0)
    scores = generator.beta(8, 4, 300_000).astype(np.float32).round(5)  # with ties
    gains = generator.normal(2 * (scores - 0.6), 1)
    found = best_of_bins(scores, gains, 5.0, EQUAL)
    order = np.argsort(-scores, kind="stable")
    is_last = np.append(np.diff(scores[order]) != 0, True)
    sums = 5 + np.cumsum(gains[order])[is_last]
    best = int(sums.argmax())
    assert found.value == pytest.approx(sums[best])
    assert found.lowest == scores[order][is_last][best]
    assert found.following == scores[order][is_last][best + 1]


def test_without_scores_nothing_is_taken() -> None:
    found = best_of_bins(np.empty(0, np.float32), np.empty(0), 2.0, EQUAL)
    assert (found.value, found.lowest, found.following) == (2.0, np.inf, None)
