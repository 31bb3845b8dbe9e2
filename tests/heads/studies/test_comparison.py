"""Heads side by side."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.errors import HeadError, SelectionError
from embed.store import Store
from heads.ensembles.blend import blend_to_files
from heads.features import FeatureStores
from heads.head import load_head, save_head
from heads.settings import head_settings
from heads.studies.comparison import compare_runs, read_run, table
from heads.studies.members import Plan
from heads.studies.pairing import heads_difference
from heads.studies.seeds import train_seeds
from tests.conftest import Invoke, json_of
from tests.heads.conftest import SPLIT, head_file, task


@pytest.fixture
def heads(store_path: Path, tmp_path: Path) -> list[Path]:
    """A good one and a poor one, on the same rows."""
    good = head_file(store_path, tmp_path / "good.safetensors", epochs=8, batch_size=64)
    poor: dict[str, Any] = {"epochs": 1, "batch_size": 64, "dim": 2, "start": "random"}
    return [good, head_file(store_path, tmp_path / "poor.safetensors", **poor)]


def test_what_differs_is_shown(heads: list[Path]) -> None:
    comparison = compare_runs(heads)
    assert set(comparison.settings) == {"epochs", "dim", "start"}
    assert comparison.metrics == ("row_f1",)
    assert comparison.warnings == ()
    good = load_head(heads[0]).info
    assert comparison.best("row_f1") == good.metrics["row_f1"]
    assert comparison.runs[0].intervals["row_f1"] == good.intervals["row_f1"]


def test_other_rows_do_not_compare(store_path: Path, tmp_path: Path, heads: list[Path]) -> None:
    what = task(split=SPLIT.parse("label", "50/30/20"))
    other = head_file(store_path, tmp_path / "other.safetensors", what)
    comparison = compare_runs([*heads, other])
    warning = comparison.warnings[0]
    assert not any("*" in cell for row in table(comparison)[1] for cell in row)
    assert any("*" in cell for row in table(compare_runs(heads))[1] for cell in row)
    assert warning.endswith(f"do not compare: {heads[0].stem}, {heads[1].stem}; {other.stem}")


def test_seeds_are_one_run(store_path: Path, tmp_path: Path, heads: list[Path]) -> None:
    settings = head_settings("projection", {"epochs": 1, "batch_size": 64})
    with Store(store_path) as store:
        plan = Plan(FeatureStores(store), task(), settings, tmp_path / "s.safetensors")
        study = train_seeds(plan, 2)
    run = read_run(study.report)
    assert run.metrics == study.mean
    assert run.sd == study.sd
    assert compare_runs([heads[0], study.report]).warnings == ()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match="no head at"):
        compare_runs([tmp_path / "h.safetensors"])
    with pytest.raises(HeadError, match="no report of folds or seeds at"):
        compare_runs([tmp_path / "h.json"])
    for text in ("[1]", "{}", "not JSON", '{"format": "embedding-head-study"}'):
        (tmp_path / "h.json").write_text(text)
        with pytest.raises(HeadError, match="is not a report of folds or seeds"):
            compare_runs([tmp_path / "h.json"])


def test_a_difference_is_drawn_on_the_same_rows(store_path: Path, heads: list[Path]) -> None:
    good, poor = map(load_head, heads)
    with Store(store_path) as store:
        stores = FeatureStores(store)
        found = heads_difference(stores, poor, good)
        same = heads_difference(stores, good, good)
    expected = good.info.metrics["row_f1"] - poor.info.metrics["row_f1"]
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert found.interval[0] < found.value < found.interval[1]
    assert found.is_clear == (found.interval[0] > 0)
    assert found.is_clear
    assert (same.value, same.interval, same.is_clear) == (0.0, (0.0, 0.0), False)


def test_soups_and_blends_compare_with_heads(
    store_path: Path, tmp_path: Path, heads_cli: Invoke
) -> None:
    paths = [
        head_file(store_path, tmp_path / f"{n}.safetensors", dim=8, seed=n, epochs=1 + 2 * n)
        for n in range(2)
    ]
    soup, blend = tmp_path / "soup.safetensors", tmp_path / "blend.safetensors"
    heads_cli("soup", *paths, "-o", soup, "--store", store_path)
    heads_cli("blend", *paths, "-o", blend, "--store", store_path)
    arguments = ["compare", paths[0], soup, blend, "--store", store_path, "--json"]
    found = json_of(heads_cli(*arguments))
    assert found["warnings"] == []
    first, *others = [run["metrics"]["row_f1"] for run in found["runs"]]
    for difference, value in zip(found["differences"], others, strict=True):
        assert difference["difference"] == pytest.approx(value - first, abs=1e-6)
    without = tmp_path / "without.safetensors"
    heads_cli("soup", *paths, "-o", without)
    arguments = ["compare", paths[0], without, "--store", store_path]
    assert "give soups and blends their --store" in heads_cli(*arguments, exit_code=1).stderr


def test_a_blend_of_attributes_compares(store_path: Path, tmp_path: Path) -> None:
    what = task(
        targets=("colour", "size"), category="category", split=SPLIT.parse("id", "60/20/20")
    )
    paths = [
        head_file(store_path, tmp_path / f"{n}.safetensors", what, "attributes", seed=n)
        for n in range(2)
    ]
    with Store(store_path) as store:
        stores = FeatureStores(store)
        blend_to_files(paths, tmp_path / "blend.safetensors", stores=stores)
        first, blend = load_head(paths[0]), load_head(tmp_path / "blend.safetensors")
        found = heads_difference(stores, first, blend)
    expected = blend.info.metrics["accuracy"] - first.info.metrics["accuracy"]
    assert found.value == pytest.approx(expected)


def test_a_difference_of_attributes_is_of_accuracy(store_path: Path, tmp_path: Path) -> None:
    what = task(
        targets=("colour", "size"), category="category", split=SPLIT.parse("id", "60/20/20")
    )
    paths = [
        head_file(store_path, tmp_path / f"{n}.safetensors", what, "attributes", epochs=n)
        for n in (1, 5)
    ]
    first, second = map(load_head, paths)
    with Store(store_path) as store:
        found = heads_difference(FeatureStores(store), first, second)
    expected = second.info.metrics["accuracy"] - first.info.metrics["accuracy"]
    assert found.metric == "accuracy"
    assert found.value == pytest.approx(expected)


def test_heads_of_other_rows_have_no_difference(
    store_path: Path, tmp_path: Path, heads: list[Path]
) -> None:
    what = task(split=SPLIT.parse("label", "50/30/20"))
    other = load_head(head_file(store_path, tmp_path / "other.safetensors", what))
    with (
        Store(store_path) as store,
        pytest.raises(SelectionError, match=r"a\.x and b\.x were validated on different rows"),
    ):
        heads_difference(FeatureStores(store), load_head(heads[0]), other, ("a.x", "b.x"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"validation_rows": "0"}, "was validated on other rows or labels than"),
        ({}, "does not say which rows it was validated on"),
    ],
)
def test_a_head_that_does_not_fit_the_store_is_named(
    store_path: Path, heads: list[Path], heads_cli: Invoke, rows: dict[str, str], message: str
) -> None:
    head = load_head(heads[1])
    save_head(heads[1], replace(head.info, details=rows), head.network)
    found = heads_cli("compare", *heads, "--store", store_path, exit_code=1).stderr
    assert f"error: {heads[1]} {message}" in found


def test_as_typed(store_path: Path, tmp_path: Path, heads: list[Path], heads_cli: Invoke) -> None:
    shown = heads_cli("compare", *heads).stdout
    assert "row F1" in shown
    assert "setting" in shown
    found = json_of(heads_cli("compare", *heads, "--store", store_path, "--json"))
    values = [run["metrics"]["row_f1"] for run in found["runs"]]
    assert found["runs"][1]["settings"]["dim"] == 2
    assert found["differences"][0]["difference"] == pytest.approx(np.diff(values)[0], abs=1e-6)
    assert "95 % interval over groups" in heads_cli("compare", *heads, "--store", store_path).stdout
    markdown = heads_cli("compare", *heads, "--format", "markdown").stdout.splitlines()
    assert len(markdown) == 4
    assert "*" in markdown[2]
    output = tmp_path / "c.csv"
    heads_cli("compare", *heads, "--format", "csv", "-o", output)
    with output.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["row_f1"]) for row in rows] == values
    again = heads_cli("compare", *heads, "--format", "csv", "-o", output, exit_code=1)
    assert "exists already" in again.stderr
