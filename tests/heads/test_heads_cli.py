"""`python -m heads train` and `apply`, as they are typed."""

import json
import re
from pathlib import Path

import click
import pytest

from heads.cli.reports import Progress
from heads.cli.train import train
from heads.training.loop import Epoch
from tests.conftest import Invoke, json_of
from tests.heads.conftest import NUM_CLASSES, PER_CLASS


def test_command_lines(
    store_path: Path, tmp_path: Path, heads_cli: Invoke, retrieval_cli: Invoke
) -> None:
    head = tmp_path / "head.safetensors"
    arguments: list[object] = ["--space", "raw", "--space", "bits", "--target", "label"]
    arguments += ["--split", "60/20/20", "--epochs", "5", "-o", head]
    result = json_of(heads_cli("train", store_path, *arguments, "--json"))
    keys = {"head", "kind", "spaces", "num_train", "num_validation", "metrics", "seconds"}
    assert set(result) >= keys
    assert (result["kind"], result["spaces"]) == ("projection", ["raw", "bits"])
    assert 0 < result["metrics"]["row_f1"] <= 1
    lines = (tmp_path / "head.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert (tmp_path / "head.png").read_bytes().startswith(b"\x89PNG")
    again = heads_cli("train", store_path, *arguments, exit_code=1)
    assert "exists already: give another name, or --force" in again.stderr
    assert "row F1" in heads_cli("train", store_path, *arguments, "--force").stdout
    applied = json_of(heads_cli("apply", store_path, head, "--json"))
    assert (applied["space"], applied["dim"]) == ("head", 256)
    tune = ["--label", "label", "--protocol", "same-rows", "--unseen-by", "head", "--json"]
    ours = json_of(retrieval_cli("tune-threshold", store_path, "--space", "head", *tune))
    raw = json_of(retrieval_cli("tune-threshold", store_path, "--space", "raw", *tune))
    assert ours["num_rows"] == raw["num_rows"] < NUM_CLASSES * PER_CLASS


def test_resume_says_where_it_goes_on(
    store_path: Path, tmp_path: Path, heads_cli: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = tmp_path / "head.safetensors"
    arguments: list[object] = ["train", store_path, "--space", "raw", "--target", "label"]
    arguments += ["--split", "60/20/20", "--epochs", "3", "-o", head]

    def interrupted(progress: Progress, epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "__call__", interrupted)  # Ctrl-C after an epoch
        assert heads_cli(*arguments, exit_code=130).stderr.endswith("interrupted\n")
    assert "after 1 epoch: give --resume" in heads_cli(*arguments, exit_code=1).stderr
    assert "goes on at epoch 2 of 3\n" in heads_cli(*arguments, "--resume").stderr
    finished = heads_cli(*arguments, "--resume")
    assert "was finished already" in finished.stderr
    assert "of 3, " in finished.stdout
    other = heads_cli(*arguments, "--resume", "--epochs", "4", exit_code=1).stderr
    assert f"{head} exists already, trained with another epochs" in other


def test_lines_of_several_trainings_name_each(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(8)
    progress._next_line = 0.0
    progress.of_member("fold 2", Epoch(3, 1.5, {"row_f1": 0.5}, 1e-3, 0.1))
    progress.member_resumed("seed 0", 3)
    progress.resumed(8)
    assert capsys.readouterr().err.splitlines() == [
        "fold 2, epoch 3 of 8: loss 1.5000, row F1 0.5000",
        "seed 0, goes on at epoch 4 of 8",
        "nothing is left of 8 epochs",
    ]


@pytest.mark.parametrize(
    ("change", "message", "exit_code"),
    [
        (["--split", "80/20"], "train/val/test in per cent", 2),
        (["--split", "100/0/0"], "is on the val side: look at", 1),
        (["--target", "same"], "has one class only, 'x', in 240 rows: a head needs at least 2", 1),
        (["--where", "kind"], "--where takes COLUMN=VALUE", 2),
        (["--where", "kind=drawing"], "its values are iconic, photo", 1),
        (["--split-column", "kind"], "should hold train, val and test: found iconic, photo", 1),
        (["-o", "head.bin"], "a head is a .safetensors file", 2),
        (["--learning-rate", "1e36"], "training diverged at epoch", 2),
        (["--learning-rate", "nan"], "--learning-rate is a finite number above 0: found nan", 2),
        (["--kind", "magic"], "Invalid value for '--kind'", 2),
        (["--epochs", "0"], "--epochs and --patience are at least 1", 2),
        (["--device", "warp"], "--device", 2),
        (["--weight", "raw"], "--weight takes NAME=FACTOR", 2),
        (["--dropout", "a,b"], "--dropout takes numbers with commas between them", 2),
        (["--memory", "lots"], "expected a size such as 2GiB", 2),
        (["--hidden", "8"], "--hidden is not for --kind projection", 2),
        (["--join", "nowhere.h5"], "nowhere.h5", 1),
    ],
)
def test_a_users_mistakes_are_one_line(
    store_path: Path,
    tmp_path: Path,
    heads_cli: Invoke,
    change: list[str],
    message: str,
    exit_code: int,
) -> None:
    head = tmp_path / "head.safetensors"
    target = [] if "--target" in change else ["--target", "label"]
    arguments = ["--space", "raw", *target, "-o", head, *change]
    result = heads_cli("train", store_path, *arguments, exit_code=exit_code)
    assert message in result.stderr
    assert exit_code == 2 or result.stderr.count("\n") == 1
    assert not head.exists()


WITHOUT_DEFAULT = {"split_column", "where", "tensorboard", "folds", "seeds", "join"}


def test_help_has_headings_and_defaults(heads_cli: Invoke) -> None:
    shown = heads_cli("train", "--help").stdout
    headings = re.findall(r"^([A-Z].*):$", shown, re.MULTILINE)
    assert headings[:3] == ["Options", "Features", "Targets and rows"]
    assert len(headings) == len(set(headings)) > 8
    options = [p for p in train.params if isinstance(p, click.Option) and p.expose_value]
    for option in options:
        assert len(option.help or "") > 8, option.name
        is_told = "default:" in (option.help or "") or "to be given" in (option.help or "")
        has_one = option.required or option.is_flag or option.default is not None
        assert is_told or has_one or option.name in WITHOUT_DEFAULT, option.name
    (metric_learning,) = re.findall(r"^Loss:\n(.*?)^\n?[A-Z]", shown, re.MULTILINE | re.DOTALL)
    assert "--loss" in metric_learning and "--epochs" not in metric_learning


def test_a_key_that_is_misspelt_gets_a_suggestion(
    store_path: Path, tmp_path: Path, heads_cli: Invoke
) -> None:
    config = tmp_path / "train.yaml"
    config.write_text("epohcs: 3\n")
    found = heads_cli("train", store_path, "--config", config, exit_code=2).stderr
    assert f"{config}: no option is named 'epohcs': did you mean epochs?" in found
    config.write_text("zzz: 3\n")
    found = heads_cli("train", store_path, "--config", config, exit_code=2).stderr
    assert "no option is named 'zzz': they are activation, batch-size" in found
