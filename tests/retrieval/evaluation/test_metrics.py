"""Metrics of what is matched: values by hand, and pairs against a set of pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.evaluation.metrics import (
    PairCounts,
    directed_pair_counts,
    row_f1,
    row_precision,
    row_recall,
    unordered_pair_counts,
)


def test_row_metrics_that_a_hand_can_check() -> None:
    # An item left alone in a group of one, one of two found, and two of four found with one wrong.
    common, predicted, true = np.array([1, 1, 2]), np.array([1, 1, 3]), np.array([1, 2, 4])
    np.testing.assert_allclose(row_f1(common, predicted, true), [1, 2 / 3, 4 / 7])
    np.testing.assert_allclose(row_precision(common, predicted), [1, 1, 2 / 3])
    np.testing.assert_allclose(row_recall(common, true), [1, 1 / 2, 1 / 2])


def test_a_pair_counts_once_from_whichever_side_it_was_found() -> None:
    # 0–1 is found by both, 2–0 by 2 alone and is wrong; 2–3 is true and found by nobody.
    rows = np.array([[0, 1], [1, 0], [2, 0], [3, 1]])
    matched = np.array([[1, 1], [1, 1], [1, 1], [1, 0]], bool)
    relevant = np.array([[1, 1], [1, 1], [1, 0], [1, 0]], bool)
    counts = unordered_pair_counts(rows, matched, relevant, np.full(4, 2))
    assert (counts.precision, counts.recall, counts.f1) == (1 / 2, 1 / 2, 1 / 2)
    np.testing.assert_array_equal(counts.num_matched, [1, 0.5, 0.5, 0])
    np.testing.assert_array_equal(counts.num_common, [0.5, 0.5, 0, 0])
    # The item itself, in the first column, makes no pair.
    assert counts.num_true.sum() == 2


def test_pairs_of_queries_and_a_gallery_have_a_direction() -> None:
    matched = np.array([[1, 1, 1], [1, 0, 0]], bool)
    relevant = np.array([[1, 1, 0], [1, 0, 0]], bool)
    counts = directed_pair_counts(matched, relevant, np.array([3, 2]))
    assert (counts.precision, counts.recall) == (1 / 2, 1 / 3)
    assert counts.f1 == pytest.approx(2 / 5)


def test_what_no_pair_says_is_none() -> None:
    nothing = directed_pair_counts(np.ones((2, 1), bool), np.ones((2, 1), bool), np.array([1, 2]))
    assert (nothing.precision, nothing.recall, nothing.f1) == (None, 0, 0)
    alone = nothing.of(np.array([True, False]))
    assert (alone.precision, alone.recall, alone.f1) == (None, None, None)


@given(st.data())
def test_pairs_are_those_of_a_set(data: st.DataObject) -> None:
    num_items = data.draw(st.integers(2, 6))
    labels = np.array(
        data.draw(st.lists(st.integers(0, 2), min_size=num_items, max_size=num_items))
    )
    orders = [data.draw(st.permutations(range(num_items))) for _ in range(num_items)]
    rows = np.array([[n, *(m for m in order if m != n)] for n, order in enumerate(orders)])
    chosen = data.draw(st.lists(st.booleans(), min_size=rows.size, max_size=rows.size))
    matched = np.array(chosen).reshape(rows.shape)
    relevant = labels[rows] == labels[:, None]
    num_true = np.bincount(labels)[labels]
    counts = unordered_pair_counts(rows, matched, relevant, num_true)
    found, true = matched_pairs(rows, matched), true_pairs(labels)
    assert counts.num_matched.sum() == len(found)
    assert counts.num_common.sum() == len(found & true)
    assert counts.num_true.sum() == len(true)
    assert_parts_add_up(counts, labels)


def assert_parts_add_up(counts: PairCounts, labels: np.ndarray) -> None:
    parts = [counts.of(labels == label) for label in np.unique(labels)]
    for name in ("num_common", "num_matched", "num_true"):
        whole = getattr(counts, name).sum()
        assert sum(getattr(part, name).sum() for part in parts) == whole


def matched_pairs(rows: np.ndarray, matched: np.ndarray) -> set[frozenset[int]]:
    return {
        frozenset((one, int(other)))
        for one in range(len(rows))
        for other, is_match in zip(rows[one, 1:], matched[one, 1:], strict=True)
        if is_match
    }


def true_pairs(labels: np.ndarray) -> set[frozenset[int]]:
    items = range(len(labels))
    return {frozenset((a, b)) for a in items for b in items if a < b and labels[a] == labels[b]}
