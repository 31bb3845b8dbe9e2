"""Which items a head has seen: by ids, by the sides of groups, and where nothing tells."""

from pathlib import Path

import numpy as np
import pytest

from embed.rows import Split
from embed.store import Store, StoreWriter
from heads.applying import apply_head
from heads.features import FeatureStores
from heads.head import Head, load_head, save_head
from heads.seen import hashed_ids, seen_note, seen_rows, tells_seen
from heads.tasks import Task
from heads.training.limits import RowLimits
from tests.heads.conftest import SPLIT, head_file, space, task, train, write_store

STRATIFIED = Split.parse("id", "60/20/20", stratify="category")
BY_COLUMN = Split.parse("label", "60/20/20", column="side")


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a split column of its own, to be read only."""
    folder = tmp_path_factory.mktemp("seen")
    write_store(folder / "plain.h5")
    sides = np.array(["train", "train", "val", "test", ""], object)
    return changed(folder / "s.h5", folder / "plain.h5", side=np.resize(sides, 240))


def changed(
    path: Path, source: Path, rows: np.ndarray | None = None, **columns: np.ndarray | None
) -> Path:
    """A store with some of the rows and other columns; None leaves one out."""
    with Store(source) as store, StoreWriter(path, "", {}) as writer:
        rows = np.arange(len(store)) if rows is None else rows
        own = {name: store.column(name) for name in store.columns if name != "id"}
        kept = {name: v[rows] for name, v in {**own, **columns}.items() if v is not None}
        writer.write_items(store.ids[rows], kept, {"image": np.zeros((len(rows), 16), np.uint8)})
        writer.write_array("raw", space("dense", 48), store.array("raw")[rows])
    return path


def trained_head(store_path: Path, folder: Path, split: Split, **fields: object) -> Head:
    what = task(targets=("colour",), split=split, **fields)
    options = {"epochs": None, "batch_size": None}
    return load_head(
        head_file(store_path, folder / "h.safetensors", what, "baseline:majority", **options)
    )


def seen_in(path: Path, head: Head) -> np.ndarray:
    with Store(path) as store:
        return seen_rows(FeatureStores(store), head)


def note_in(path: Path, head: Head) -> str:
    with Store(path) as store:
        return seen_note(FeatureStores(store), head)


def without_ids(head: Head) -> Head:
    return Head(head.info, head.network, head.fingerprint)


def test_ids_tell_in_any_store(store_path: Path, tmp_path: Path) -> None:
    """Of a stratified split, whose sides are others among other rows and with other labels."""
    head = trained_head(store_path, tmp_path, STRATIFIED)
    with Store(store_path) as store:
        expected = STRATIFIED.sides(store) != "test"
    np.testing.assert_array_equal(seen_in(store_path, head), expected)
    part = changed(tmp_path / "part.h5", store_path, np.flatnonzero(expected)[::-1].copy())
    assert seen_in(part, head).all()
    assert not seen_in(part, without_ids(head)).all()
    edited = changed(tmp_path / "edited.h5", store_path, category=np.resize(["a", "b", "c"], 240))
    np.testing.assert_array_equal(seen_in(edited, head), expected)
    bare = changed(tmp_path / "bare.h5", store_path, category=None)
    np.testing.assert_array_equal(seen_in(bare, head), expected)
    assert note_in(bare, head) == ""  # each id is its own group: there is nothing else to know


@pytest.mark.parametrize("split", [SPLIT, SPLIT.of_fold(4, 2)])
def test_a_new_photo_of_a_product_is_seen(store_path: Path, tmp_path: Path, split: Split) -> None:
    first = np.arange(0, 240, 2)
    half = changed(tmp_path / "half.h5", store_path, first)
    head = trained_head(half, tmp_path, split)
    assert head.seen_ids is not None and len(head.seen_ids) <= len(first)
    with Store(store_path) as store:
        expected = split.sides(store) != "test"
    np.testing.assert_array_equal(seen_in(store_path, head), expected)


def test_rows_that_limits_cut_away_are_seen(store_path: Path, tmp_path: Path) -> None:
    plain = trained_head(store_path, tmp_path, STRATIFIED)
    cut = trained_head(store_path, tmp_path, STRATIFIED, limits=RowLimits(1, 4))
    assert cut.info.num_train < plain.info.num_train
    np.testing.assert_array_equal(cut.seen_ids, plain.seen_ids)


def test_ids_are_no_part_of_the_network(store_path: Path, tmp_path: Path) -> None:
    trained = train(store_path, Task(("raw",), ("label",), SPLIT), epochs=1, dim=4)
    for name in ("a", "b"):
        save_head(tmp_path / name, trained.info, trained.network, trained.seen_ids)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    head = load_head(tmp_path / "a")
    assert set(head.network.state_dict()) == set(trained.network.state_dict())
    np.testing.assert_array_equal(head.seen_ids, trained.seen_ids)
    assert head.seen_ids is not None and (np.diff(head.seen_ids) > 0).all()
    # The hash is part of the format: heads made elsewhere must mark the same rows.
    assert hashed_ids(["i0", "ü"]).tolist() == [-5544944901390535814, 3976460501203677525]


def test_a_split_column_of_other_words_tells_nothing(store_path: Path, tmp_path: Path) -> None:
    head = trained_head(store_path, tmp_path, BY_COLUMN)
    with Store(store_path) as store:
        expected = np.isin(store.column("side"), ("train", "val"))
    np.testing.assert_array_equal(seen_in(store_path, head), expected)
    assert note_in(store_path, head) == ""
    for number, side in enumerate((None, np.resize(["query", "gallery"], 240))):
        other = changed(tmp_path / f"{number}.h5", store_path, side=side)
        np.testing.assert_array_equal(seen_in(other, head), expected)
        assert "no column 'side' that tells what the head has seen: ids alone" in note_in(
            other, head
        )
        assert not seen_in(other, without_ids(head)).any()
        assert "train it again" in note_in(other, without_ids(head))
        with Store(other) as store:
            assert tells_seen(FeatureStores(store), head)
            assert not tells_seen(FeatureStores(store), without_ids(head))


def test_applying_says_where_ids_alone_tell(store_path: Path, tmp_path: Path) -> None:
    head = head_file(store_path, tmp_path / "h.safetensors", task(split=BY_COLUMN), dim=4)
    other = changed(
        tmp_path / "o.h5", store_path, side=np.resize(np.array(["query", "gallery"], object), 240)
    )
    applied = apply_head(other, head)
    assert "'side' that tells what the head has seen: ids alone tell" in applied.notes[0]
    with Store(other) as store, Store(store_path) as former:
        expected = np.isin(former.column("side"), ("train", "val"))
        np.testing.assert_array_equal(store.seen("h"), expected)
    copy = apply_head(store_path, head, output=tmp_path / "copy.h5")
    assert copy.notes == ()
