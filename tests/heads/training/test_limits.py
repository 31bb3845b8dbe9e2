"""Limits on the rows of a class."""

import numpy as np
import pytest

from embed.errors import SelectionError, SettingsError
from heads.training.limits import RowLimits, limit_rows

# Classes 0, 1, 2 and 3 of 5, 1, 3 and 20 rows.
LABELS = np.repeat(np.arange(4), [5, 1, 3, 20])
IDS = np.array([f"item {row}" for row in range(len(LABELS))], object)


def test_nothing_is_left_out_without_limits() -> None:
    limited = limit_rows(LABELS, IDS, RowLimits(), seed=0)
    assert limited.rows.tolist() == list(range(len(LABELS)))
    assert (limited.num_small_rows, limited.num_cut_rows) == (0, 0)
    assert (limited.num_small_classes, limited.num_cut_classes) == (0, 0)


def test_small_classes_go_and_large_ones_are_cut() -> None:
    limited = limit_rows(LABELS, IDS, RowLimits(3, 4), seed=0)
    assert np.bincount(LABELS[limited.rows]).tolist() == [4, 0, 3, 4]
    assert (np.diff(limited.rows) > 0).all()
    assert (limited.num_small_classes, limited.num_small_rows) == (1, 1)
    assert (limited.num_cut_classes, limited.num_cut_rows) == (2, 1 + 16)
    assert len(limited.rows) + limited.num_small_rows + limited.num_cut_rows == len(LABELS)


def test_the_choice_does_not_depend_on_the_order_of_rows() -> None:
    order = np.random.default_rng(0).permutation(len(LABELS))
    chosen = set(IDS[limit_rows(LABELS, IDS, RowLimits(1, 4), seed=0).rows])
    moved = limit_rows(LABELS[order], IDS[order], RowLimits(1, 4), seed=0)
    assert set(IDS[order][moved.rows]) == chosen


def test_the_choice_depends_on_the_seed_and_grows_with_the_maximum() -> None:
    def chosen(maximum: int, seed: int) -> set[int]:
        return set(limit_rows(LABELS, IDS, RowLimits(1, maximum), seed).rows.tolist())

    assert chosen(4, 0) != chosen(4, 1)
    assert chosen(4, 0) < chosen(6, 0) < chosen(15, 0)
    # Every row has its turn: none of twenty is chosen by no seed of forty.
    assert set.union(*(chosen(4, seed) for seed in range(40))) == set(range(len(LABELS)))


@pytest.mark.parametrize(
    ("minimum", "maximum", "message"),
    [
        (0, None, "--min-per-class is at least 1: found 0"),
        (3, 2, "--max-per-class is at least --min-per-class, which is 3: found 2"),
    ],
)
def test_limits_that_do_not_fit(minimum: int, maximum: int | None, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        RowLimits(minimum, maximum)


def test_a_minimum_that_no_class_has() -> None:
    message = r"--min-per-class 21 leaves nothing .* the largest of 4 classes has 20 rows"
    with pytest.raises(SelectionError, match=message):
        limit_rows(LABELS, IDS, RowLimits(21), seed=0)
