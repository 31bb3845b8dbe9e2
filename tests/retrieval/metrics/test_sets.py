"""Metrics of what is matched: values by hand."""

import numpy as np

from retrieval.metrics.sets import PairCounts, row_f1, row_precision, row_recall


def test_row_metrics_that_a_hand_can_check() -> None:
    # An item left alone in a group of one, one of two found, and two of four found with one wrong.
    common, predicted, true = np.array([1, 1, 2]), np.array([1, 1, 3]), np.array([1, 2, 4])
    np.testing.assert_allclose(row_f1(common, predicted, true), [1, 2 / 3, 4 / 7])
    np.testing.assert_allclose(row_precision(common, predicted), [1, 1, 2 / 3])
    np.testing.assert_allclose(row_recall(common, true), [1, 1 / 2, 1 / 2])


def test_pairs_that_a_hand_can_check() -> None:
    # 3 of 4 matched pairs are right, of 6 true ones; the last query has none of either.
    counts = PairCounts(np.array([2.0, 1, 0]), np.array([2.5, 1.5, 0]), np.array([5.0, 1, 0]))
    assert (counts.precision, counts.recall, counts.f1) == (3 / 4, 3 / 6, 2 * 3 / 10)
    first = counts.of(np.array([True, False, False]))
    assert (first.precision, first.recall) == (2 / 2.5, 2 / 5)
    nothing = counts.of(np.array([False, False, True]))
    assert (nothing.precision, nothing.recall, nothing.f1) == (None, None, None)
