"""Predictions of every item: rows, layouts, what is told of them, and what is refused."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from embed.errors import FingerprintError, HeadError, OutputExistsError, SettingsError, StoreError
from embed.rows import Split, Where
from embed.store import Store, StoreWriter
from heads.attributes.predicting import probabilities
from heads.attributes.vocabulary import Vocabulary
from heads.features import FeatureReader, FeatureStores
from heads.head import load_head, save_head
from heads.predicting import predict_to_file
from tests.conftest import Invoke, json_of
from tests.heads.conftest import FINGERPRINT, head_file, space, task, write_store

ROWS = Split.parse("id", "60/20/20", stratify="category")
BY_CATEGORY = task(targets=("colour", "size"), category="category", split=ROWS)
PLAIN = task(targets=("colour",), split=ROWS)
Columns = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and heads of it, to be read only."""
    folder = tmp_path_factory.mktemp("predicted")
    store = folder / "s.h5"
    write_store(store)
    head_file(store, folder / "a.safetensors", BY_CATEGORY, "attributes")
    head_file(store, folder / "p.safetensors", PLAIN, "attributes")
    head_file(store, folder / "v.safetensors")
    return folder


def copy_store(path: Path, source: Path, change: Callable[[Columns, np.ndarray], None]) -> Path:
    """A store with other columns or vectors, or fewer of the columns."""
    with Store(source) as store, StoreWriter(path, "", {}) as writer:
        columns = {name: store.column(name) for name in store.columns if name != "id"}
        vectors = np.array(store.array("raw"))
        change(columns, vectors)
        hashes = {"image": np.zeros((len(store), 16), np.uint8)}
        writer.write_items(store.ids, columns, hashes)
        writer.write_array("raw", space("dense", 48), vectors)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def expected_shares(folder: Path, store_path: Path, name: str) -> list[dict[str, float]]:
    """Of each item the probability of each class of an attribute, by a loop over pairs."""
    head = load_head(folder / "a.safetensors")
    vocabulary = Vocabulary.from_json(head.info.vocabulary or {})
    with Store(store_path) as store:
        stores = FeatureStores(store)
        features = torch.from_numpy(FeatureReader(stores, head.info.spaces)(np.arange(len(store))))
        categories = store.column("category").tolist()
    number = vocabulary.attributes.index(name)
    found: list[dict[str, float]] = [{} for _ in categories]
    for pair in vocabulary.pairs:
        rows = [row for row, category in enumerate(categories) if category == pair.category]
        codes = torch.full((len(rows),), vocabulary.categories.index(pair.category))
        with torch.no_grad():
            logits = head.network(features[rows], codes)[:, number, : len(pair.classes)]
        if pair.attribute == name:
            for row, shares in zip(rows, torch.softmax(logits, dim=1).tolist(), strict=True):
                found[row] = dict(zip(pair.classes, shares, strict=True))
    return found


def test_each_item_has_a_class_and_its_probability(trained: Path, tmp_path: Path) -> None:
    store_path, output = trained / "s.h5", tmp_path / "p.csv"
    predicted = predict_to_file(store_path, trained / "a.safetensors", output)
    rows = read(output)
    names = ["colour", "colour_probability", "size", "size_probability"]
    assert list(rows[0]) == ["id", "category", *names]
    with Store(store_path) as store:
        assert [row["id"] for row in rows] == store.ids.tolist()
        assert [row["category"] for row in rows] == store.column("category").tolist()
    assert predicted.num_rows == len(rows) == 240
    for name in ("colour", "size"):
        for row, shares in zip(rows, expected_shares(trained, store_path, name), strict=True):
            if not shares:
                assert row[name] == row[f"{name}_probability"] == ""
                continue
            best = max(shares, key=shares.__getitem__)
            assert row[name] == best
            assert float(row[f"{name}_probability"]) == pytest.approx(shares[best], abs=1e-5)
    size = predicted.attributes[1]
    assert sum(size.classes.values()) == 120  # shirts have none
    told = [float(row["size_probability"]) for row in rows if row["size"]]
    assert size.mean_probability == pytest.approx(np.mean(told), abs=1e-5)


def test_accuracy_is_of_rows_that_the_head_has_not_seen(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "p.csv"
    predicted = predict_to_file(trained / "s.h5", trained / "a.safetensors", output)
    with Store(trained / "s.h5") as store:
        colours, is_test = store.column("colour"), ROWS.sides(store) == "test"
    right = np.array([row["colour"] for row in read(output)]) == colours
    colour = predicted.attributes[0]
    assert colour.num_judged == is_test.sum() > 20
    assert colour.accuracy == pytest.approx(right[is_test].mean())


def test_nothing_is_judged_where_neither_split_nor_ids_tell(trained: Path, tmp_path: Path) -> None:
    by_label = task(targets=("colour",), split=Split.parse("label", "60/20/20"))
    head = head_file(trained / "s.h5", tmp_path / "h.safetensors", by_label, "attributes")

    def without_labels(columns: Columns, _: np.ndarray) -> None:
        del columns["label"]

    other = copy_store(tmp_path / "o.h5", trained / "s.h5", without_labels)
    (by_split,) = predict_to_file(trained / "s.h5", head, tmp_path / "p.csv").attributes
    by_ids = predict_to_file(other, head, tmp_path / "q.csv")
    assert by_ids.attributes == (by_split,)
    assert by_split.num_judged > 0
    assert "no column 'label' that tells what the head has seen: ids alone tell" in by_ids.notes[0]
    read_head = load_head(head)
    save_head(tmp_path / "old.safetensors", read_head.info, read_head.network)
    by_nothing = predict_to_file(other, tmp_path / "old.safetensors", tmp_path / "r.csv")
    (colour,) = by_nothing.attributes
    assert (colour.num_judged, colour.accuracy) == (0, None)
    assert "train it again, so that it keeps their ids" in by_nothing.notes[0]


def test_a_store_of_training_rows_has_nothing_to_judge_on(trained: Path, tmp_path: Path) -> None:
    """Ranks within strata would be others there, and call some of its rows unseen."""
    with Store(trained / "s.h5") as store:
        rows = np.flatnonzero(ROWS.sides(store) == "train")
        with StoreWriter(tmp_path / "t.h5", "", {}) as writer:
            names = [name for name in store.columns if name != "id"]
            columns = {name: store.column(name)[rows] for name in names}
            writer.write_items(
                store.ids[rows], columns, {"image": np.zeros((len(rows), 16), np.uint8)}
            )
            writer.write_array("raw", space("dense", 48), store.array("raw")[rows])
    head = trained / "a.safetensors"
    predicted = predict_to_file(tmp_path / "t.h5", head, tmp_path / "p.csv")
    assert [found.num_judged for found in predicted.attributes] == [0, 0]
    assert predicted.notes == ()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_blocks_make_the_same_file(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    outputs = []
    for rows_per_read in (8192, 7):
        monkeypatch.setattr("heads.tables.ROWS_PER_READ", rows_per_read)
        outputs.append(tmp_path / f"p{rows_per_read}{suffix}")
        predict_to_file(
            trained / "s.h5", trained / "a.safetensors", outputs[-1], where=[Where("kind", "photo")]
        )
    read_table = pl.read_csv if suffix == ".csv" else pl.read_parquet
    whole, blocks = (read_table(path) for path in outputs)
    probability = pl.selectors.ends_with("_probability")
    assert whole.select(~probability).equals(blocks.select(~probability))
    expected, found = (frame["colour_probability"].to_numpy() for frame in (whole, blocks))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert whole["size"].null_count() == 100
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(o.name for o in outputs)


def test_the_layout_of_the_contest(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "p.csv"
    predict_to_file(trained / "s.h5", trained / "a.safetensors", output, layout="meesho")
    plain = tmp_path / "q.csv"
    predict_to_file(trained / "s.h5", trained / "a.safetensors", plain)
    for row, other in zip(read(output), read(plain), strict=True):
        is_shoe = other["category"] == "shoe"
        assert list(row.values()) == [
            other["id"],
            other["category"],
            "2" if is_shoe else "1",
            other["colour"],
            other["size"] if is_shoe else "dummy",
        ]


def test_strange_categories_are_told_and_left_blank(
    trained: Path, tmp_path: Path, heads_cli: Invoke
) -> None:
    def strange(columns: Columns, _: np.ndarray) -> None:
        columns["category"][:3] = ["hat", "hat", ""]

    other = copy_store(tmp_path / "o.h5", trained / "s.h5", strange)
    output = tmp_path / "p.csv"
    result = heads_cli("predict", other, trained / "a.safetensors", "-o", output)
    assert "3 rows are of categories that the head never saw" in result.stderr
    assert "'hat' (2), '' (1)" in result.stderr
    rows = read(output)
    assert [row["category"] for row in rows[:3]] == ["hat", "hat", ""]
    assert all(row["colour"] == row["colour_probability"] == "" for row in rows[:3])
    heads_cli(
        "predict", other, trained / "a.safetensors", "-o", output, "--layout", "meesho", "--force"
    )
    assert list(read(output)[0].values()) == ["i0", "hat", "0", "dummy", "dummy"]


def test_a_store_needs_no_labels_and_may_lie_beside(trained: Path, tmp_path: Path) -> None:
    def bare_columns(columns: Columns, _: np.ndarray) -> None:
        for name in ("colour", "size", "label"):
            del columns[name]

    other = copy_store(tmp_path / "o.h5", trained / "s.h5", bare_columns)
    bare = tmp_path / "bare.h5"
    with Store(other) as store, StoreWriter(bare, "", {}) as writer:
        writer.copy_items(store)
    predict_to_file(bare, trained / "a.safetensors", tmp_path / "p.csv", joined=[trained / "s.h5"])
    predict_to_file(trained / "s.h5", trained / "a.safetensors", tmp_path / "q.csv")
    assert (tmp_path / "p.csv").read_text() == (tmp_path / "q.csv").read_text()


def test_the_command_line(trained: Path, tmp_path: Path, heads_cli: Invoke) -> None:
    arguments: list[Any] = [trained / "s.h5", trained / "a.safetensors"]
    output = tmp_path / "p.parquet"
    where = ["--where", "category=shoe"]
    result = json_of(heads_cli("predict", *arguments, "-o", output, *where, "--json"))
    assert result["num_rows"] == pl.read_parquet(output).height == 120
    assert result["attributes"][1]["attribute"] == "size"
    assert sum(result["attributes"][1]["classes"].values()) == 120
    printed = heads_cli("predict", *arguments, "-o", output, "--force").stdout
    assert "240 rows" in printed and "unseen" in printed


def test_a_baseline_predicts_too(trained: Path, tmp_path: Path) -> None:
    head = head_file(
        trained / "s.h5",
        tmp_path / "b.safetensors",
        PLAIN,
        "baseline:majority",
        epochs=None,
        batch_size=None,
    )
    (colour,) = predict_to_file(trained / "s.h5", head, tmp_path / "p.csv").attributes
    assert list(colour.classes.values()) == [240]
    logits = load_head(head).network(torch.zeros(1, 48), torch.zeros(1, dtype=torch.int64))
    assert colour.mean_probability == pytest.approx(probabilities(logits.numpy()).max())


def other_fingerprint(path: Path) -> None:
    with StoreWriter(path, "", {}) as writer:
        writer.write_items(np.array(["a"], object), {}, {"image": np.zeros((1, 16), np.uint8)})
        writer.write_array("raw", space("dense", 48, "0" * 32), np.ones((1, 48), np.float32))


def test_what_does_not_fit_is_refused(trained: Path, tmp_path: Path) -> None:
    def damaged(columns: Columns, vectors: np.ndarray) -> None:
        vectors[200] = np.nan

    def without_category(columns: Columns, vectors: np.ndarray) -> None:
        del columns["category"]

    store, head, output = trained / "s.h5", trained / "a.safetensors", tmp_path / "p.csv"
    other_fingerprint(tmp_path / "f.h5")
    with pytest.raises(
        FingerprintError, match=f"{'0' * 32}, but the head was trained on {FINGERPRINT}"
    ):
        predict_to_file(tmp_path / "f.h5", head, output)
    with pytest.raises(StoreError, match="'i200' among them, hold NaN"):
        predict_to_file(copy_store(tmp_path / "n.h5", store, damaged), head, output)
    with pytest.raises(StoreError, match="category"):
        predict_to_file(copy_store(tmp_path / "c.h5", store, without_category), head, output)
    with pytest.raises(HeadError, match=r"makes vectors and predicts nothing.*heads apply"):
        predict_to_file(store, trained / "v.safetensors", output)
    with pytest.raises(SettingsError, match=r"a \.csv or \.parquet file: found .*p\.txt"):
        predict_to_file(store, head, tmp_path / "p.txt")
    with pytest.raises(SettingsError, match="--layout meesho is by category"):
        predict_to_file(store, trained / "p.safetensors", output, layout="meesho")
    output.write_text("mine")
    with pytest.raises(OutputExistsError, match="exists already"):
        predict_to_file(store, head, output)
    assert output.read_text() == "mine"
    assert sorted(p.name for p in tmp_path.glob("*p.*")) == ["p.csv"]
