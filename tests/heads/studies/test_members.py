"""Folds and seeds: their files, their figures, and going on after a stop."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from embed.errors import OutputExistsError, SettingsError, WorkbenchError
from embed.rows import unseen_rows
from embed.store import Store
from heads.applying import apply_head
from heads.features import FeatureReader, FeatureStores
from heads.head import load_head
from heads.projection.bodies import project
from heads.settings import head_settings
from heads.studies.comparison import read_run
from heads.studies.folds import train_folds
from heads.studies.members import MemberResult, Plan, Running, Study
from heads.studies.seeds import train_seeds
from heads.tasks import Task
from heads.training.loop import Epoch
from tests.conftest import Invoke, json_of
from tests.heads.conftest import SPLIT, head_file, task, train, write_store

OPTIONS: dict[str, Any] = {"epochs": 2, "batch_size": 64}
BY_ROW = task(
    targets=("colour", "size"),
    category="category",
    split=SPLIT.parse("id", "80/10/10", stratify="category"),
)


class StoppedError(Exception):
    """What a test stops training by."""


def folds(
    store: Path,
    output: Path,
    what: Task | None = None,
    kind: str = "projection",
    running: Running | None = None,
    **options: object,
) -> Study:
    with Store(store) as opened:
        settings = head_settings(kind, OPTIONS | options)
        plan = Plan(FeatureStores(opened), what or task(), settings, output)
        return train_folds(plan, 3, running)


def seeds(store: Path, output: Path, number: int = 3, running: Running | None = None) -> Study:
    with Store(store) as opened:
        plan = Plan(FeatureStores(opened), task(), head_settings("projection", OPTIONS), output)
        return train_seeds(plan, number, running)


def test_folds_of_a_projection(store_path: Path, tmp_path: Path) -> None:
    study = folds(store_path, tmp_path / "h.safetensors")
    assert study.report == tmp_path / "h.folds.json"
    table = pl.read_parquet(tmp_path / "h.folds.parquet")
    assert table.schema["vector"] == pl.List(pl.Float32)
    with Store(store_path) as store:
        assert table["id"].to_list() == store.ids.tolist()
        fold = table["fold"].to_numpy()
        assert (fold == SPLIT.of_fold(3, 1).fold_numbers(store)).all()
        head = load_head(tmp_path / "h-fold-2.safetensors")
        held_out = np.flatnonzero(fold == 2)
        features = FeatureReader(FeatureStores(store), head.info.spaces)(held_out)
    expected = project(head.network, torch.from_numpy(features)).numpy()
    found = np.array(table["vector"].to_list(), np.float32)[held_out]
    assert np.abs(found - expected).max() < 1e-6
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5
    assert [member.num_rows for member in study.members] == np.bincount(fold)[1:].tolist()


def test_figures_are_those_of_the_report(store_path: Path, tmp_path: Path) -> None:
    study = seeds(store_path, tmp_path / "h.safetensors", 2)
    report = json.loads((tmp_path / "h.seeds.json").read_text())
    values = [member["metrics"]["row_f1"] for member in report["members"]]
    assert len(set(values)) > 1
    assert report["mean"]["row_f1"] == pytest.approx(np.mean(values))
    assert report["sd"]["row_f1"] == pytest.approx(np.std(values, ddof=1))
    assert [member["head"] for member in report["members"]] == [
        f"h-seed-{seed}.safetensors" for seed in range(2)
    ]
    alone = train(store_path, seed=1, **OPTIONS)
    assert study.members[1].metrics["row_f1"] == alone.info.metrics["row_f1"]


def test_a_folds_head_marks_the_rows_that_it_saw(store_path: Path, tmp_path: Path) -> None:
    what = task(split=SPLIT.of_fold(3, 2))
    head = head_file(store_path, tmp_path / "h.safetensors", what, **OPTIONS)
    apply_head(store_path, head, name="ours")
    with Store(store_path) as store:
        numbers = SPLIT.of_fold(3, 1).fold_numbers(store)
        assert (unseen_rows(store, "ours") == (numbers == 2)).all()


def test_folds_of_attributes(store_path: Path, tmp_path: Path) -> None:
    study = folds(store_path, tmp_path / "h.safetensors", BY_ROW, "attributes", learning_rate=1e-2)
    table = pl.read_parquet(tmp_path / "h.folds.parquet")
    assert table.columns == [
        "id",
        "fold",
        "colour",
        "colour_probability",
        "size",
        "size_probability",
    ]
    with Store(store_path) as store:
        assert table["id"].to_list() == store.ids.tolist()
        colour, size = store.column("colour"), store.column("size")
        category = store.column("category")
    # Shirts have no size; every row has a colour.
    assert (table["size"].is_null().to_numpy() == (category == "shirt")).all()
    assert table["size_probability"].null_count() == table["size"].null_count()
    fold = table["fold"].to_numpy()
    right = np.stack([table["colour"].to_numpy() == colour, table["size"].to_numpy() == size])
    labelled = np.stack([colour != "", (size != "") & (size != "dummy")])
    for number, member in enumerate(study.members, 1):
        accuracy = right[labelled & (fold == number)].mean()
        assert member.metrics["accuracy"] == pytest.approx(accuracy)
    shares = table["colour_probability"].to_numpy()
    assert ((shares >= 1 / 5) & (shares <= 1)).all()  # the likeliest of 5


@pytest.mark.parametrize("kind", ["projection", "attributes"])
def test_the_held_out_fold_has_no_say(store_path: Path, tmp_path: Path, kind: str) -> None:
    what = BY_ROW if kind == "attributes" else task()
    what = replace(what, split=what.split.of_fold(3, 1))
    with Store(store_path) as store:
        spoiled = what.split.sides(store) == "test"
    copy = tmp_path / "copy.h5"
    _with_other_vectors(copy, spoiled)
    first, second = (train(path, what, kind, **OPTIONS) for path in (store_path, copy))
    assert first.info == second.info
    for name, weights in first.network.state_dict().items():
        assert torch.equal(second.network.state_dict()[name], weights), name


def _with_other_vectors(path: Path, rows: np.ndarray) -> None:
    def change(vectors: np.ndarray) -> None:
        vectors[rows] = vectors[rows][:, ::-1]

    write_store(path, change)


def test_a_stopped_study_goes_on(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "h.safetensors"
    whole = folds(store_path, tmp_path / "whole.safetensors")

    def stop(member: MemberResult) -> None:
        if member.name == "fold 2":
            raise StoppedError

    with pytest.raises(StoppedError):
        folds(store_path, output, running=Running(on_member=stop))
    kept = (tmp_path / "h-fold-1.safetensors").stat().st_mtime_ns
    with pytest.raises(OutputExistsError):
        folds(store_path, output)
    with pytest.raises(SettingsError, match="trained with another epochs"):
        folds(store_path, output, running=Running(resume=True), epochs=3)
    study = folds(store_path, output, running=Running(resume=True))
    assert (tmp_path / "h-fold-1.safetensors").stat().st_mtime_ns == kept
    assert [m.metrics for m in study.members] == [m.metrics for m in whole.members]
    assert pl.read_parquet(tmp_path / "h.folds.parquet").equals(
        pl.read_parquet(tmp_path / "whole.folds.parquet")
    )


def test_a_stopped_member_is_not_thrown_away_unasked(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "h.safetensors"
    told: list[tuple[str, int]] = []

    def stop(name: str, epoch: Epoch) -> None:
        told.append((name, epoch.epoch))
        raise StoppedError

    with pytest.raises(StoppedError):
        folds(store_path, output, running=Running(on_epoch=stop))
    left = {path: path.read_bytes() for path in tmp_path.glob("h*")}
    assert [path.name for path in left] == ["h-fold-1.checkpoint"]
    with pytest.raises(OutputExistsError, match=r"after 1 epoch: give --resume .*, or --force"):
        folds(store_path, output)
    assert {path: path.read_bytes() for path in tmp_path.glob("h*")} == left
    running = Running(resume=True, on_resume=lambda *done: told.append(done))
    assert len(folds(store_path, output, running=running).members) == 3
    assert told == [("fold 1", 1), ("fold 1", 1)]


@pytest.mark.parametrize("kind", ["projection", "attributes"])
def test_groups_that_cannot_fill_the_folds(
    store_path: Path, tmp_path: Path, heads_cli: Invoke, kind: str
) -> None:
    arguments: list[object] = ["train", store_path, "-o", tmp_path / "h.safetensors", "--kind"]
    arguments += [kind, "--space", "raw", "--target", "label", "--group", "label", "--folds", "100"]
    message = r"error: 40 groups \(values of 'label'\) cannot fill 100 folds: \d+ would have no row"
    found = heads_cli(*arguments, exit_code=1).stderr
    assert re.match(message, found)
    assert "take fewer --folds" in found
    assert list(tmp_path.glob("h*")) == []


def test_old_heads_stay_where_new_ones_can_not_be_trained(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "h.safetensors"
    seeds(store_path, output, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("h*")}
    force = Running(force=True)
    unfit: list[tuple[Task, dict[str, Any]]] = [(task("none"), {}), (task(), {"dim": 0})]
    for what, options in unfit:
        with pytest.raises(WorkbenchError):
            folds(store_path, output, what, running=force, **options)
        with Store(store_path) as store, pytest.raises(WorkbenchError):
            settings = head_settings("projection", OPTIONS | options)
            train_seeds(Plan(FeatureStores(store), what, settings, output), 2, force)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("h*")} == before
    again = seeds(store_path, output, 2, force)
    assert [member.num_rows for member in again.members] == [48, 48]


@pytest.mark.parametrize("kind", ["baseline:majority", "baseline:knn"])
@pytest.mark.parametrize("members", ["--folds", "--seeds"])
def test_baselines(
    store_path: Path, tmp_path: Path, heads_cli: Invoke, kind: str, members: str
) -> None:
    arguments: list[object] = ["train", store_path, "-o", tmp_path / "h.safetensors", "--kind"]
    arguments += [kind, "--space", "raw", "--target", "colour", members, "3"]
    assert heads_cli(*arguments).stdout.count("–") == 3  # for the epoch of each
    report = next(tmp_path.glob("h.*.json"))
    found = json.loads(report.read_text())
    assert [member["epoch"] for member in found["members"]] == [None] * 3
    assert 0 < found["mean"]["accuracy"] < 1
    assert members == "--folds" or found["sd"]["accuracy"] == 0
    assert read_run(report).metrics == found["mean"]
    refused = heads_cli(*arguments, "--resume", exit_code=2).stderr
    assert "--resume is for heads that are trained in epochs" in refused
    again = json_of(heads_cli(*arguments, "--force", "--json"))
    assert again["mean"] == found["mean"]


def test_rows_without_a_group_are_told(store_path: Path, tmp_path: Path) -> None:
    split = SPLIT.parse("size", "80/10/10")
    with pytest.raises(SettingsError, match="at least 2, to tell a spread by: found 1"):
        seeds(store_path, tmp_path / "h.safetensors", 1)
    what = task(targets=("colour",), split=split)
    study = folds(store_path, tmp_path / "h.safetensors", what, "attributes")
    assert "120 rows have no value of 'size', so they are in no fold" in study.notes[-1]
    assert len(pl.read_parquet(tmp_path / "h.folds.parquet")) == 120


def test_as_typed(store_path: Path, tmp_path: Path, heads_cli: Invoke) -> None:
    arguments: list[object] = ["train", store_path, "-o", tmp_path / "h.safetensors"]
    arguments += ["--space", "raw", "--target", "label", "--epochs", "1"]
    found = json_of(heads_cli(*arguments, "--folds", "3", "--json"))
    assert [member["name"] for member in found["members"]] == ["fold 1", "fold 2", "fold 3"]
    assert set(found["mean"]) == set(found["sd"]) == {"row_f1", "precision", "recall"}
    shown = heads_cli(*arguments, "--seeds", "2", "--split", "60/20/20").stdout
    assert "seed 1" in shown
    assert "mean ± sd" in shown
    for change, message in [
        (["--folds", "3", "--seeds", "2"], "give --folds or --seeds, not both"),
        (["--folds", "3", "--split", "60/20/20"], "of equal size: leave --split out"),
        (["--folds", "2"], "--folds is at least 3"),
        (["--folds", "3", "--split-column", "kind"], "give --folds or --split-column"),
    ]:
        assert message in heads_cli(*arguments, *change, exit_code=2).stderr
    assert "exists already" in heads_cli(*arguments, "--folds", "3", exit_code=1).stderr


def test_attributes_as_typed(store_path: Path, tmp_path: Path, heads_cli: Invoke) -> None:
    arguments: list[object] = ["train", store_path, "-o", tmp_path / "h.safetensors"]
    arguments += ["--kind", "attributes", "--space", "raw", "--target", "colour", "--epochs", "1"]
    assert "accuracy" in heads_cli(*arguments, "--dropout", "0.1").stdout
    shown = heads_cli(*arguments, "--dropout", "0.1,0.2", exit_code=2).stderr
    assert "--dropout takes one rate" in shown
