"""Stratified splits: shares of small classes, and rows that stay where they are."""

from pathlib import Path

import numpy as np
import pytest

from embed.rows import SIDES, Split
from embed.store import Store, StoreWriter

NUM_CLASSES = 1000
SPLIT = Split.parse("id", "80/10/10", stratify="label")


def store_of(path: Path, ids: np.ndarray, labels: np.ndarray) -> Path:
    with StoreWriter(path, "", {}) as writer:
        columns = {"label": labels.astype(object)}
        writer.write_items(ids, columns, {"image": np.zeros((len(ids), 16), np.uint8)})
    return path


def classes_of(per_class: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat([f"class {number}" for number in range(NUM_CLASSES)], per_class)
    return np.array([f"item {row}" for row in range(len(labels))], object), labels


def sides_by_id(path: Path, split: Split = SPLIT) -> dict[str, str]:
    with Store(path) as store:
        return dict(zip(store.ids.tolist(), split.sides(store).tolist(), strict=True))


@pytest.mark.parametrize("per_class", [2, 3, 5])
def test_shares_hold_over_small_classes(tmp_path: Path, per_class: int) -> None:
    found = list(sides_by_id(store_of(tmp_path / "s.h5", *classes_of(per_class))).values())
    shares = [found.count(side) / len(found) for side in SIDES]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.02)


def test_rows_stay_on_their_side(tmp_path: Path) -> None:
    """In another order, and where other classes are gone."""
    ids, labels = classes_of(3)
    sides = sides_by_id(store_of(tmp_path / "s.h5", ids, labels))
    order = np.random.default_rng(0).permutation(len(ids))
    assert sides_by_id(store_of(tmp_path / "o.h5", ids[order], labels[order])) == sides
    few = labels < "class 5"
    found = sides_by_id(store_of(tmp_path / "f.h5", ids[few], labels[few]))
    assert found.items() <= sides.items()
    other = sides_by_id(tmp_path / "s.h5", Split.parse("id", "80/10/10", 1, stratify="label"))
    assert other != sides


def test_large_classes_have_their_shares_to_the_row(tmp_path: Path) -> None:
    labels = np.repeat(["few", "many"], [10, 400])
    ids = np.array([f"item {row}" for row in range(len(labels))], object)
    found = np.array(list(sides_by_id(store_of(tmp_path / "s.h5", ids, labels)).values()))
    for label, size in (("few", 10), ("many", 400)):
        counts = [int((found[labels == label] == side).sum()) for side in SIDES]
        assert counts == [0.8 * size, 0.1 * size, 0.1 * size]
