"""Searching settings: trials, going on, and the head that comes out."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from embed.errors import OutputExistsError, SettingsError
from embed.rows import Where, codes, has_value
from embed.store import Store
from heads.features import FeatureStores
from heads.head import load_head
from heads.studies.drawing import Search, defaults, draw, fitted
from heads.studies.search import (
    SEARCH_SPACES,
    Choice,
    Range,
    SearchSpace,
    by_option,
    is_used,
    parse_dimension,
    search_space,
)
from heads.studies.trials import Trial, best_first, plot_trials
from heads.studies.tuning import Budget, Telling, Tuned, tune
from heads.tasks import Task, choose_sides
from heads.training.sampling import make_sampler
from tests.conftest import Invoke, json_of
from tests.heads.conftest import head_file, task, write_store

FIXED: dict[str, Any] = {"epochs": 1, "batch_size": 64, "start": "random"}
SPACE: SearchSpace = {"learning_rate": Range(1e-4, 1e-1, log=True), "dim": Choice((8, 16, 256))}


def run(
    store: Path,
    output: Path,
    trials: int = 3,
    *,
    space: SearchSpace = SPACE,
    fixed: Mapping[str, Any] = FIXED,
    what: Task | None = None,
    force: bool = False,
    telling: Telling | None = None,
    **options: Any,
) -> Tuned:
    with Store(store) as opened:
        stores = FeatureStores(opened)
        search = Search(stores, what or task(), "projection", fixed, space, **options)
        return tune(search, Budget(trials), output, force=force, telling=telling)


def test_the_head_has_the_best_settings(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "h.safetensors"
    tuned = run(store_path, output, 4)
    values = [trial.value or 0 for trial in tuned.trials]
    assert tuned.best.value == max(values)
    head = load_head(output).info
    assert head.metrics["row_f1"] == pytest.approx(max(values), abs=1e-9)
    assert head.settings["dim"] == tuned.best.settings["dim"]
    optimisation = head.training["optimisation"]
    assert optimisation["learning_rate"] == tuned.best.settings["learning_rate"]
    for suffix in (".md", ".png", ".jsonl", ".trials.png", ".study.db"):
        assert output.with_suffix(suffix).exists(), suffix
    table = pl.read_csv(output.with_suffix(".trials.csv"))
    assert table["row_f1"].to_list() == pytest.approx(values)
    assert table["dim"].to_list() == [trial.settings["dim"] for trial in tuned.trials]
    assert set(table["state"]) == {"complete"}


def test_the_first_trial_is_the_settings_without_a_search(store_path: Path, tmp_path: Path) -> None:
    tuned = run(store_path, tmp_path / "h.safetensors", 2)
    assert tuned.trials[0].settings == {"learning_rate": 5e-4, "dim": 256}
    alone = head_file(store_path, tmp_path / "alone.safetensors", **FIXED)
    assert tuned.trials[0].value == load_head(alone).info.metrics["row_f1"]


@pytest.mark.parametrize("kind", list(SEARCH_SPACES))
@pytest.mark.parametrize("given", [{}, {"loss": "cosface"}, {"body": "mlp"}, {"epochs": 12}])
def test_the_usual_search_starts_where_training_does(kind: str, given: dict[str, Any]) -> None:
    if kind == "attributes" and given.keys() & {"loss", "body"}:
        return
    import optuna

    search = searching(kind, search_space(kind, given), given)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.enqueue_trial(defaults(search))
    chosen = draw(search, study.ask())
    assert chosen.keys() >= {"learning_rate", "batch_size"}
    found, expected = by_option(search.settings(chosen)), by_option(search.settings({}))
    if kind == "projection":
        assert found.pop("dim") == (expected.pop("dim") or 256)
        margin = {None: 0.35}.get(expected["margin_cosine"]) if given.get("loss") else None
        assert found.pop("margin_cosine") == margin
        expected.pop("margin_cosine")
    assert found == expected


def searching(kind: str, space: SearchSpace, fixed: Mapping[str, Any]) -> Search:
    """A search without stores, to draw from."""
    search = Search.__new__(Search)
    values = {"kind": kind, "fixed": fixed, "space": space, "keeps_batches_by_class": False}
    for name, value in values.items():
        object.__setattr__(search, name, value)
    return search


def test_the_first_trial_of_attributes_is_their_training(
    store_path: Path, tmp_path: Path, heads_cli: Invoke
) -> None:
    output = tmp_path / "h.safetensors"
    arguments: list[object] = ["tune", store_path, "-o", output, "--kind", "attributes"]
    arguments += ["--space", "raw", "--target", "colour", "--epochs", "3", "--trials", "1"]
    found = json_of(heads_cli(*arguments, "--json"))
    assert (found["settings"]["batch_size"], found["settings"]["input_dropout"]) == (None, 0.5)
    alone = ["train", store_path, "-o", tmp_path / "alone.safetensors", "--kind", "attributes"]
    alone += ["--space", "raw", "--target", "colour", "--epochs", "3", "--json"]
    assert found["metrics"] == json_of(heads_cli(*alone))["metrics"]
    infos = [load_head(path).info for path in (output, tmp_path / "alone.safetensors")]
    assert infos[0] == infos[1]


@pytest.mark.parametrize("option", ["--resume", "--tensorboard"])
def test_options_of_one_training_are_not_of_a_search(option: str, heads_cli: Invoke) -> None:
    result = heads_cli("tune", "s.h5", "-o", "h.safetensors", option, exit_code=2)
    assert "No such option" in result.stderr


def test_a_stopped_study_has_the_trials_of_one_that_was_not(
    store_path: Path, tmp_path: Path
) -> None:
    whole = run(store_path, tmp_path / "whole.safetensors", 4)
    output = tmp_path / "h.safetensors"

    def stop(trial: Trial, best: Trial | None) -> None:
        if trial.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(store_path, output, 4, telling=Telling(on_trial=stop))
    assert not output.exists()
    assert len(pl.read_csv(output.with_suffix(".trials.csv"))) == 2
    tuned = run(store_path, output, 4)
    assert [trial.value for trial in tuned.trials] == [trial.value for trial in whole.trials]
    assert [trial.settings for trial in tuned.trials] == [t.settings for t in whole.trials]


def test_a_finished_study_goes_on_with_more_trials(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "h.safetensors"
    whole = run(store_path, tmp_path / "whole.safetensors", 3)
    run(store_path, output, 2)
    told: list[int] = []
    telling = Telling(told.append, lambda trial, best: told.append(trial.number))
    tuned = run(store_path, output, 3, telling=telling)
    assert told == [2, 3]
    assert [trial.settings for trial in tuned.trials] == [t.settings for t in whole.trials]
    assert load_head(output).info == load_head(tmp_path / "whole.safetensors").info
    assert len(run(store_path, output, 2).trials) == 3  # it has them
    other = head_file(store_path, output, epochs=1, dim=4)
    before = other.read_bytes()
    with pytest.raises(OutputExistsError, match="is not the head of this study"):
        run(store_path, output, 4)
    assert other.read_bytes() == before
    assert len(run(store_path, output, 4, force=True).trials) == 4
    output.with_suffix(".study.db").unlink()
    with pytest.raises(OutputExistsError, match="exists already: give another name"):
        run(store_path, output, 4)


ICONIC = task(where=(Where("kind", "iconic"),))  # a row of each class


@pytest.mark.parametrize(
    ("what", "fixed", "entries", "has_pairs", "has_batches"),
    [
        (task(), {}, [], True, False),  # 24 classes of training can't fill 512 / 4
        (task(), {}, ["batch_size=64,96"], True, True),
        (task(), {"batch_size": 512}, [], False, False),
        (task(), {"batch_size": 96}, [], True, False),
        (ICONIC, {}, [], False, False),
        (ICONIC, {"sampler": "uniform"}, [], True, True),
    ],
)
def test_the_usual_search_keeps_to_what_classes_can_fill(
    store_path: Path,
    what: Task,
    fixed: dict[str, Any],
    entries: list[str],
    has_pairs: bool,
    has_batches: bool,
) -> None:
    import optuna

    space = search_space("projection", fixed, entries=entries)
    with Store(store_path) as store:
        search = fitted(Search(FeatureStores(store), what, "projection", fixed, space))
        values = store.column("label")
        labels = codes(values[choose_sides(store, what, has_value(values)).train])
    of_pairs = []
    for seed in range(30):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
        chosen = draw(search, study.ask())
        make_sampler(torch.from_numpy(labels), search.settings(chosen).training.sampling)
        of_pairs += [chosen] if chosen["loss"] == "supcon" else []
    assert bool(of_pairs) == has_pairs
    assert any("batch_size" in chosen for chosen in of_pairs) == has_batches


def test_a_trial_that_is_stopped_is_tried_again(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import heads.studies.tuning as tuning

    output = tmp_path / "h.safetensors"

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(tuning, "train_head", interrupted)  # Ctrl-C while it trains
        run(store_path, output, 2)
    tuned = run(store_path, output, 2)
    assert [trial.number for trial in tuned.trials] == [1, 2]
    assert [trial.state for trial in tuned.trials] == ["complete", "complete"]
    assert tuned.trials[0].settings == {"learning_rate": 5e-4, "dim": 256}


def test_failed_trials_are_recorded(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "h.safetensors"
    told: list[Trial] = []
    space = {"body": Choice(("linear", "residual")), "dim": Choice((16, 256))}
    fixed = {"epochs": 2, "batch_size": 64, "start": "auto"}
    tuned = run(
        store_path,
        output,
        4,
        space={"learning_rate": Choice((5e-4, 1e36, 1e37, 1e38))},
        fixed=fixed,
        telling=Telling(on_trial=lambda trial, best: told.append(trial)),
    )
    failed = [trial for trial in tuned.trials if trial.state == "failed"]
    assert failed
    assert all("training diverged at epoch 1" in trial.error for trial in failed)
    assert [trial.number for trial in told] == [1, 2, 3, 4]
    table = pl.read_csv(output.with_suffix(".trials.csv"))
    assert table["row_f1"].null_count() == len(failed)
    # Features are 48 wide, and residual has no other size: but then none is drawn.
    assert run(store_path, tmp_path / "b.safetensors", 3, space=space, fixed=fixed).best
    with pytest.raises(SettingsError, match="none of 2 trials gave a head, the first of them"):
        only = {"learning_rate": Choice((1e36, 1e37))}
        run(store_path, tmp_path / "c.safetensors", 2, space=only, fixed=fixed)


def test_a_study_of_something_else_is_refused(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "h.safetensors"
    run(store_path, output, 1)
    other = tmp_path / "other.h5"

    def change(vectors: Any) -> None:
        vectors[0] += 1

    write_store(other, change)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"what": task("bits")}, "name|spaces"),
        ({"what": task(targets=("colour",))}, "targets"),
        ({"fixed": {**FIXED, "epochs": 2}}, "epochs differ"),
        ({"space": {"dim": Choice((8, 16))}}, "search of dim, search of learning_rate differ"),
        ({"seeds": 2}, "seeds differ"),
    ]
    for changed, message in changes:
        with pytest.raises(SettingsError, match=f"study of something else.*({message})"):
            run(store_path, output, 2, force=True, **changed)
    output.with_suffix(".study.db").write_bytes(b"no database" * 1000)
    with pytest.raises(SettingsError, match="is not a study, or it is damaged"):
        run(store_path, output, 2, force=True)


def test_the_mean_over_seeds_and_folds(store_path: Path, tmp_path: Path) -> None:
    seeds = run(store_path, tmp_path / "s.safetensors", 1, seeds=2)
    alone = [
        load_head(head_file(store_path, tmp_path / f"{s}.safetensors", seed=s, **FIXED)).info
        for s in (0, 1)
    ]
    mean = sum(info.metrics["row_f1"] for info in alone) / 2
    assert seeds.trials[0].value == pytest.approx(mean)
    folds = run(store_path, tmp_path / "f.safetensors", 1, folds=3)
    found = folds.trained.info.splits[0]
    assert (found.folds, found.fold, found.val_fold) == (3, 3, 1)
    with pytest.raises(SettingsError, match="over --seeds, at least 1, or over --folds"):
        run(store_path, tmp_path / "x.safetensors", 1, seeds=2, folds=3)


def test_every_drawn_setting_is_one_that_the_head_takes() -> None:
    import optuna

    for kind in SEARCH_SPACES:
        space = search_space(kind, {})
        for seed in range(30):
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
            search = searching(kind, space, {})
            chosen = draw(search, study.ask())
            found = by_option(search.settings(chosen))
            rate = {"dropout": (chosen["dropout"],)} if kind == "projection" else {}
            assert {name: found[name] for name in chosen} == chosen | rate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:8", Range(1, 8)),
        ("1:8:log", Range(1, 8, log=True)),
        ("0.5:1", Range(0.5, 1)),
        ("1e-4:1e-2:log", Range(1e-4, 1e-2, log=True)),
        ("64,128", Choice((64, 128))),
        ("linear,mlp", Choice(("linear", "mlp"))),
        ("true,false,none", Choice((True, False, None))),
        ([1, "1e-3"], Choice((1, 1e-3))),
        ({"low": "1e-4", "high": 0.1, "log": True}, Range(1e-4, 0.1, log=True)),
    ],
)
def test_ranges_and_choices_as_they_are_written(text: object, expected: object) -> None:
    assert parse_dimension("x", text) == expected


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("dim", "takes NAME=LOW:HIGH"),
        ("dim=8:4", "from a lower to a higher number"),
        ("scale=0:4:log", "above 0 for :log"),
        ("dim=a:b", "search of dim takes LOW:HIGH"),
        ("dim=1:2:3", "search of dim takes LOW:HIGH"),
        ("colour=1:2", "'colour' can't be searched for --kind projection: there are activation"),
        ("seed=1:2", "'seed' can't be searched"),
        ("epochs=1:2", "--epochs is given and searched as well"),
    ],
)
def test_what_can_not_be_searched(entry: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        search_space("projection", {"epochs": 3}, entries=[entry])


def test_a_search_space_is_overridden(tmp_path: Path) -> None:
    space = search_space("projection", {"epochs": 3}, entries=["learning-rate=1e-3,1e-2"])
    assert space["learning_rate"] == Choice((1e-3, 1e-2))
    assert "epochs" not in space
    assert "loss" in space
    file = tmp_path / "search.yaml"
    file.write_text("batch-size: [128, 256]\ndropout: 0.0:0.5\n")
    assert search_space("projection", {}, file, ["dropout=0.1,0.2"]) == {
        "batch_size": Choice((128, 256)),
        "dropout": Choice((0.1, 0.2)),
    }
    file.write_text("- a\n")
    with pytest.raises(SettingsError, match="should hold names of options"):
        search_space("projection", {}, file)


def test_what_does_nothing_is_not_drawn() -> None:
    assert is_used("projection", "margin_radians", {})
    assert not is_used("projection", "margin_radians", {"loss": "supcon"})
    assert not is_used("projection", "width", {"body": "linear"})
    assert is_used("attributes", "label_smoothing", {})


def test_pictures_of_any_trials(tmp_path: Path) -> None:
    path = tmp_path / "t.png"
    failed = Trial(0, "failed", None, {}, 0.0, "no")
    for trials in ([], [failed], [failed, Trial(1, "complete", 0.5, {}, 1.0)]):
        plot_trials(trials, "row_f1", path)
        assert path.read_bytes().startswith(b"\x89PNG")
    assert best_first([Trial(n, "complete", 0.5, {}, 1.0) for n in (2, 1)])[0].number == 1


def test_as_typed(store_path: Path, tmp_path: Path, heads_cli: Invoke) -> None:
    head = tmp_path / "h.safetensors"
    arguments: list[object] = ["tune", store_path, "-o", head, "--space", "raw"]
    arguments += ["--target", "label", "--epochs", "1", "--trials", "2", "--split", "60/20/20"]
    result = heads_cli(*arguments)
    assert result.stderr.count("\n") == 2
    assert "trial 1 of 2: 0." in result.stderr
    assert "(best 0." in result.stderr
    assert "the best of 2 trials" in result.stdout
    more = heads_cli(*arguments, "--trials", "3", "--json")
    assert more.stderr.startswith("the study has 2 trials: 1 to go\ntrial 3 of 3: 0.")
    assert json_of(more)["num_trials"] == 3
    found = json_of(heads_cli(*arguments, "--force", "--study", tmp_path / "t.db", "--json"))
    assert (found["num_trials"], found["metric"]) == (2, "row_f1")
    assert json.dumps(found["metrics"]["row_f1"])[:8] == json.dumps(found["best"]["value"])[:8]
    for change, message in [
        (["--search-option", "epochs=1:3"], "--epochs is given and searched as well"),
        (["--trials", "0"], "--trials is at least 1"),
        (["--kind", "baseline:majority"], "has no settings to search"),
    ]:
        assert message in heads_cli(*arguments, "--force", *change, exit_code=2).stderr


def test_without_optuna(
    store_path: Path, tmp_path: Path, heads_cli: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    arguments = ["tune", store_path, "-o", tmp_path / "h.safetensors", "--space", "raw"]
    found = heads_cli(*arguments, "--target", "label", exit_code=2).stderr
    assert "pip install 'product-embedding-workbench[tune]'" in found
    assert found.count("\n") == 1
