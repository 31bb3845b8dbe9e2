"""The rows of attribute heads: what limits leave out, and which rows stand or fall together."""

from pathlib import Path

import numpy as np
import pytest

from embed.rows import Split
from embed.store import Store, StoreWriter
from heads.attributes.rows import AttributeRows, attribute_rows, row_groups
from heads.tasks import Task
from heads.training.limits import RowLimits
from tests.heads.conftest import task, train

BY_SIDE = Split(group="product", column="side")


@pytest.fixture
def labelled_store(tmp_path: Path) -> Path:
    """40 red rows, 12 blue, 1 green, and 30 without a colour, of which 3 have a category."""
    colours = np.repeat(["red", "blue", "green", "dummy", ""], [40, 12, 1, 20, 10]).astype(object)
    rows = np.arange(len(colours))
    category = np.full(len(rows), "shoe", object)
    category[-7:] = ""
    sides = np.where(rows % 4 == 3, "val", "train")
    sides[52] = "train"
    columns = {
        "colour": colours,
        "size": np.array([f"size {row % 3}" for row in rows], object),
        "category": category,
        "side": sides,
        "product": np.array([f"p{row // 8}" if row % 16 < 8 else "" for row in rows], object),
    }
    with StoreWriter(tmp_path / "l.h5", "", {}) as writer:
        ids = np.array([f"i{row}" for row in rows], object)
        writer.write_items(ids, columns, {"image": np.zeros((len(rows), 16), np.uint8)})
    return tmp_path / "l.h5"


def rows_of(path: Path, limits: RowLimits, category: str | None = None) -> AttributeRows:
    what = Task((), ("colour", "size"), BY_SIDE, category=category, limits=limits)
    with Store(path) as store:
        return attribute_rows(store, what)


@pytest.mark.parametrize("category", [None, "category"])
def test_limits_are_on_labelled_rows(labelled_store: Path, category: str | None) -> None:
    """Rows without a colour are of no class: neither cut down to 5, nor too few for 3."""
    plain = rows_of(labelled_store, RowLimits(), category).sides.train
    found = rows_of(labelled_store, RowLimits(3, 5), category)
    train = found.sides.train
    with Store(labelled_store) as store:
        colours = store.column("colour")
    counts = {name: int((colours[train] == name).sum()) for name in np.unique(colours)}
    before = {name: int((colours[plain] == name).sum()) for name in np.unique(colours)}
    unlabelled = {name: before[name] for name in ("dummy", "")}
    assert counts == {"red": 5, "blue": 5, "green": 0, **unlabelled}
    assert sorted([*train, *found.sides.left_out]) == plain.tolist()
    assert (np.diff(train) > 0).all()
    left_out = before["red"] + before["blue"] - 10
    assert found.notes[:2] == (
        "1 class with fewer than 3 training rows is left out, 1 row in all",
        f"2 classes with more than 5 training rows are cut down to that many, which leaves "
        f"{left_out} rows out",
    )


def test_a_projection_tells_what_is_cut(store_path: Path) -> None:
    trained = train(store_path, task(limits=RowLimits(1, 4)), epochs=1, dim=4)
    assert any("classes with more than 4 training rows are cut" in note for note in trained.notes)


def test_a_split_column_keeps_the_groups_of_intervals(labelled_store: Path) -> None:
    """Rows of a product stand or fall together, those without one alone."""
    what = Task((), ("colour",), BY_SIDE)
    with Store(labelled_store) as store:
        rows = np.arange(3, len(store), 4)
        numbers = row_groups(store, what, rows)
        products = store.column("product")[rows]
        by_id = row_groups(store, Task((), ("colour",), Split("id", column="side")), rows)
    for one, product in enumerate(products):
        expected = products == product if product else np.arange(len(rows)) == one
        np.testing.assert_array_equal(numbers == numbers[one], expected)
    assert len(np.unique(by_id)) == len(rows)
