from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embed.errors import SelectionError, StoreError
from embed.rows import Where
from embed.store import Store
from retrieval.selection import Selection, evaluation_rows
from tests.retrieval.retrieval_stores import dense_info, write_store

LABELS = ["b", "a", "", "b", "a", "c", "b", "a"]
KINDS = ["photo"] * 6 + ["drawing"] * 2
SPLITS = ["test", "train", "test", "test", "val", "test", "val", "val"]


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    columns = {
        "label": np.array(LABELS, object),
        "kind": np.array(KINDS, object),
        "split": np.array(SPLITS, object),
        "no_test": np.array(["val", "train"] * 4, object),
        "product": np.array([1.0, 1.0, 2.0, np.nan, 2.0, 3.0, 4.0, 5.0]),
        "number": np.arange(8),
    }
    vectors = np.ones((8, 2), np.float32)
    spaces = {name: (dense_info(2), vectors) for name in ("by_label", "by_number")}
    seen = {"by_label": [label == "b" for label in LABELS]}
    return write_store(tmp_path / "a.h5", spaces, columns, seen=seen)


def test_rows_without_a_label_are_left_out_and_counted(store_path: Path) -> None:
    with Store(store_path) as store:
        found = evaluation_rows(store, Selection(("by_number",), "label"))
        numbered = evaluation_rows(store, Selection(("by_number",), "product"))
    assert found.sides.queries.rows.tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert found.query_labels.tolist() == [1, 0, 1, 0, 2, 1, 0]
    assert found.groups.tolist() == ["a", "b", "c"]
    assert found.warnings == ("1 row is left out: they have no 'label'",)
    assert numbered.sides.queries.rows.tolist() == [0, 1, 2, 4, 5, 6, 7]


def test_restrictions_are_not_worth_a_warning(store_path: Path) -> None:
    with Store(store_path) as store:
        selection = Selection(("by_number",), "label", where=(Where("kind", "drawing"),))
        with pytest.raises(SelectionError, match="no two of the 2 selected rows share a 'label'"):
            evaluation_rows(store, selection)
        selection = Selection(("by_number",), "label", where=(Where("kind", "photo"),))
        found = evaluation_rows(store, selection)
    assert found.sides.queries.rows.tolist() == [0, 1, 3, 4, 5]


def test_rows_that_a_head_has_seen_are_left_out(store_path: Path) -> None:
    unseen = [row for row, label in enumerate(LABELS) if label and label != "b"]
    with Store(store_path) as store:
        own = evaluation_rows(store, Selection(("by_label",), "label"))
        other = evaluation_rows(store, Selection(("by_number",), "label", unseen_by=("by_label",)))
    assert own.sides.queries.rows.tolist() == other.sides.queries.rows.tolist() == unseen
    assert f"{7 - len(unseen)} rows are left out: the head of space 'by_label'" in own.warnings[1]


def test_the_catalogues_own_split_gives_test_rows_else_val(store_path: Path) -> None:
    with Store(store_path) as store:
        test = evaluation_rows(store, Selection(("by_number",), "label", split_column="split"))
        val = evaluation_rows(store, Selection(("by_number",), "label", split_column="no_test"))
    assert test.sides.queries.rows.tolist() == [0, 3, 5]
    assert test.warnings[1] == "4 rows are left out: their 'split' is not 'test'"
    assert val.sides.queries.rows.tolist() == [0, 4, 6]
    assert "their 'no_test' is not 'val' (it holds no 'test')" in val.warnings[1]


def test_queries_and_gallery_are_restricted_apart(store_path: Path) -> None:
    with Store(store_path) as store:
        selection = Selection(
            ("by_number",),
            "label",
            query_where=(Where("kind", "photo"),),
            gallery_where=(Where("kind", "drawing"),),
        )
        found = evaluation_rows(store, selection)
        alone = replace(selection, query_where=(Where("label", "c"),))
        with pytest.raises(SelectionError, match="none of the 1 queries shares its 'label'"):
            evaluation_rows(store, alone)
    assert found.sides.queries.rows.tolist() == [0, 1, 3, 4, 5]
    assert found.sides.gallery.rows.tolist() == [6, 7]
    assert (found.query_labels.tolist(), found.gallery_labels.tolist()) == ([1, 0, 1, 0, 2], [1, 0])
    assert found.num_groups == 3
    assert found.warnings == ("1 row is left out: they have no 'label'",)


def test_an_item_of_two_stores_has_one_label(store_path: Path, tmp_path: Path) -> None:
    labels = np.array([*LABELS[:6], "c", "b"], object)
    spaces = {"by_number": (dense_info(2), np.ones((8, 2), np.float32))}
    other = write_store(tmp_path / "b.h5", spaces, {"label": labels})
    with Store(store_path) as store, Store(other) as gallery:
        with pytest.raises(SelectionError, match=r"'r6' has 'b' in .*a.h5 and 'c' in .*\(2 items"):
            evaluation_rows(store, Selection(("by_number",), "label"), gallery)
        photos = Selection(("by_number",), "label", query_where=(Where("kind", "photo"),))
        assert len(evaluation_rows(store, photos, gallery).sides.gallery) == 7


def test_training_rows_are_kept_with_a_warning_where_they_are_asked_for(store_path: Path) -> None:
    with Store(store_path) as store:
        kept = evaluation_rows(store, Selection(("by_label",), "label", include_training_rows=True))
    assert kept.sides.queries.rows.tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert "3 of 7 rows are ones that the head of space 'by_label' was trained" in kept.warnings[1]


@pytest.mark.parametrize(
    ("selection", "error", "message"),
    [
        (Selection(("nope",), "label"), StoreError, "no space 'nope': it has by_label, by_number"),
        (Selection(("by_number",), "nope"), StoreError, "no column 'nope'"),
        (
            Selection(("by_number",), "number"),
            SelectionError,
            "no two of the 8 selected rows share a 'number'.*give a --label whose values repeat",
        ),
        (
            Selection(("by_number",), "label", where=(Where("label", ""),)),
            SelectionError,
            "no row of .* is left to evaluate on; 1 row is left out: they have no 'label'",
        ),
        (
            Selection(("by_number",), "label", split_column="kind"),
            SelectionError,
            "column 'kind' of .* should hold train, val and test",
        ),
    ],
)
def test_mistakes_are_told(
    store_path: Path, selection: Selection, error: type[Exception], message: str
) -> None:
    with Store(store_path) as store, pytest.raises(error, match=message):
        evaluation_rows(store, selection)
