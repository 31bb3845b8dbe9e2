"""Folds as a rule for rows: each group in one fold, each fold held out once."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from embed.errors import SettingsError
from embed.rows import Split, dump_splits, load_splits
from embed.store import Store
from tests.heads.conftest import SPLIT


def test_each_group_is_held_out_once(store_path: Path) -> None:
    with Store(store_path) as store:
        sides = np.stack([SPLIT.of_fold(5, fold).sides(store) for fold in range(1, 6)])
        labels = store.column("label")
    assert ((sides == "test").sum(axis=0) == 1).all()
    assert ((sides == "val").sum(axis=0) == 1).all()
    assert (np.roll(sides == "test", -1, axis=0) == (sides == "val")).all()
    for label in np.unique(labels):
        assert len(np.unique(sides[:, labels == label], axis=1).T) == 1


def test_folds_go_by_the_value_and_the_seed_alone(store_path: Path) -> None:
    with Store(store_path) as store:
        numbers = SPLIT.of_fold(4, 1).fold_numbers(store)
        others = Split("label", seed=1).of_fold(4, 1).fold_numbers(store)
        assert (SPLIT.of_fold(4, 3).fold_numbers(store) == numbers).all()
    assert (numbers != others).any()
    # 6 of 40 products at least in each fourth, by this hash; 10 in the mean.
    assert np.bincount(numbers, minlength=5)[1:].min() >= 36


def test_folds_hold_equal_shares_of_each_stratum(store_path: Path) -> None:
    split = Split("id", stratify="category").of_fold(5, 2)
    with Store(store_path) as store:
        numbers = split.fold_numbers(store)
        category = store.column("category")
    for name in ("shoe", "shirt"):
        assert np.bincount(numbers[category == name])[1:].tolist() == [24] * 5


def test_strata_of_one_group_do_not_share_a_fold(store_path: Path) -> None:
    split = Split("label", stratify="label").of_fold(5, 1)
    with Store(store_path) as store:
        counts = np.bincount(split.fold_numbers(store), minlength=6)[1:]
    assert (counts > 0).all()


def test_rows_without_a_group_are_in_no_fold(store_path: Path) -> None:
    with Store(store_path) as store:
        split = Split("size").of_fold(3, 1)
        missing = store.column("size") == ""
        assert (split.fold_numbers(store)[missing] == 0).all()
        assert set(split.sides(store)[missing]) == {""}
        assert (split.fold_numbers(store)[~missing] > 0).all()


def test_folds_are_read_as_they_were_written() -> None:
    split = SPLIT.of_fold(5, 5)
    assert (split.fold, split.val_fold) == (5, 1)
    assert (split.train, split.val, split.test) == (0.6, 0.2, 0.2)
    assert load_splits(dump_splits([split, SPLIT])) == (split, SPLIT)


def test_splits_from_before_there_were_folds_are_read() -> None:
    fields = asdict(SPLIT)
    for name in ("folds", "fold", "val_fold"):
        del fields[name]
    assert load_splits(json.dumps([fields])) == (SPLIT,)


@pytest.mark.parametrize(
    ("folds", "fold", "val_fold", "message"),
    [
        (2, 1, None, "--folds is at least 3, one to report on"),
        (0, 1, None, "found 0"),
        (5, 6, None, "different folds from 1 to 5"),
        (5, 0, None, "different folds from 1 to 5"),
        (5, 2, 2, "found 2 and 2"),
    ],
)
def test_folds_that_there_are_not(
    folds: int, fold: int, val_fold: int | None, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        SPLIT.of_fold(folds, fold, val_fold)


def test_a_split_column_has_no_folds() -> None:
    with pytest.raises(SettingsError, match="'split' has sides of its own: give --folds or"):
        Split("label", column="split").of_fold(5, 1)
