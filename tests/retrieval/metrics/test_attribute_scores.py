"""Figures of classes against scikit-learn's, and by hand; `heads` tests them by category."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from retrieval.metrics.attribute_scores import LabelCounts, mean_present, ratio


def counts(pairs: list[int], classes: np.ndarray, num_pairs: int) -> LabelCounts:
    groups = np.zeros(len(pairs), np.int64)
    return LabelCounts.of(np.array(pairs), classes, groups, num_pairs, 1)


def test_figures_by_hand() -> None:
    """Two pairs, the second of which is all wrong, and a label that belongs to none."""
    classes = np.array([[1, 1, 2, 2, 1], [1, 2, 2, 0, 1]])
    figures = counts([0, 0, 0, 1, 2], classes, 2).figures()
    np.testing.assert_allclose(figures.micro, [[2 / 3, 0]])
    np.testing.assert_allclose(figures.macro, [[2 / 3, 0]])  # both classes have an F1 of 2/3
    np.testing.assert_allclose(figures.score, [[2 / 3, 0]])
    assert figures.accuracy.tolist() == [3 / 5]


def test_a_pair_without_labels_has_no_figures() -> None:
    figures = counts([1], np.array([[1], [1]]), 2).figures()
    np.testing.assert_array_equal(figures.score, [[np.nan, 1]])
    assert mean_present(figures.score).tolist() == [1]
    assert ratio(np.ones(1), np.zeros(1), 5.0).tolist() == [5]


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 500))
def test_figures_are_those_of_scikit_learn(num_rows: int, num_classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    classes = generator.integers(1, num_classes + 1, (2, num_rows))
    figures = counts([0] * num_rows, classes, 1).figures()
    micro, macro = accuracy_score(*classes), f1_score(*classes, average="macro", zero_division=0)
    assert figures.micro[0, 0] == figures.accuracy[0] == pytest.approx(micro)
    assert figures.macro[0, 0] == pytest.approx(macro)
    expected = 2 * micro * macro / (micro + macro) if micro + macro else 0
    assert figures.score[0, 0] == pytest.approx(expected)
