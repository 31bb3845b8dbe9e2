"""Thresholds in words, and those that nothing can reach."""

import pytest

from retrieval.thresholds.strategies import NO_MATCH, reaches_none
from retrieval.thresholds.sweeps import ABOVE_HIGHEST
from retrieval.thresholds.wording import cut_text, distance_text, threshold_text


@pytest.mark.parametrize(
    ("thresholds", "score", "distance"),
    [
        ((0.73,), "0.7300", "0.2700"),
        ((1.0,), "1.0000", "0.0000"),
        ((1.0000001,), "1.0000", "0.0000"),  # a score of two equal vectors, as it is rounded
        ((NO_MATCH,), "nothing matches", "–"),
        ((1 + ABOVE_HIGHEST,), "nothing matches", "–"),
        ((0.5, NO_MATCH), "0.5000, none", "0.5000, –"),
    ],
)
def test_a_threshold_that_nothing_reaches_is_told_in_words(
    thresholds: tuple[float, ...], score: str, distance: str
) -> None:
    assert (threshold_text(thresholds), distance_text(thresholds)) == (score, distance)


def test_a_cut_has_a_score_and_a_distance_or_takes_nothing() -> None:
    assert cut_text((0.73,)) == "score ≥ 0.7300, distance ≤ 0.2700"
    assert cut_text((NO_MATCH,)) == "nothing matches"
    assert reaches_none(NO_MATCH)
    assert not reaches_none(1.0)
