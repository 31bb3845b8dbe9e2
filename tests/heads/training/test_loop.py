"""Training: which epoch is kept, when it ends, and that a killed run ends with the same weights."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embed.errors import HeadError, OutputExistsError, SettingsError
from embed.store import Store
from heads.features import FeatureStores
from heads.projection import validation as validation_module
from heads.run import FINISHED, TRAINED_ANEW, train_to_files
from heads.settings import head_settings
from heads.training import checkpoints
from heads.training.loop import Epoch, TrainedHead
from tests.heads.conftest import task, train


def script(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Have the validation of each epoch give these."""
    scripted = iter(values)

    def validate(vectors: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        value = next(scripted, 0.0)
        return value, np.full(len(labels), value)

    monkeypatch.setattr(validation_module, "validation_row_f1", validate)


def weights_after(store_path: Path, num_epochs: int, **options: Any) -> torch.Tensor:
    trained = train(store_path, epochs=num_epochs, keep="last", schedule="constant", **options)
    return next(trained.network.parameters()).detach()


def test_the_earliest_of_equally_good_epochs_is_kept(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = weights_after(store_path, 2)
    script(monkeypatch, [0.25, 0.5, 0.5, 0.125])
    trained = train(store_path, epochs=4, schedule="constant")
    assert trained.info.metrics["epoch"] == 2
    assert torch.equal(next(trained.network.parameters()), second)
    assert not torch.equal(second, weights_after(store_path, 4))


def test_the_last_epoch_is_kept_where_that_is_wanted(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, [0.5, 0.25])
    assert train(store_path, epochs=2, keep="last").info.metrics["epoch"] == 2


def test_training_stops_when_it_gets_no_better(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, [0.25, 0.5, 0.5, 0.4, 0.9])
    trained = train(store_path, epochs=9, patience=2)
    assert len(trained.history) == 4
    assert trained.info.metrics["epoch"] == 2


@pytest.mark.parametrize("batch_size", [16, 1024])  # the loss diverges, or only the last step
def test_training_that_diverges_stops(store_path: Path, batch_size: int) -> None:
    with pytest.raises(SettingsError, match=r"diverged at epoch 1: .* lower --learning-rate"):
        train(store_path, batch_size=batch_size, learning_rate=1e38, weight_decay=10.0)


def test_the_same_seed_gives_the_same_weights(store_path: Path) -> None:
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    first, second, other = (
        next(train(store_path, epochs=2, seed=seed).network.parameters()) for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)  # the caller's own is left alone


class KilledError(Exception):
    """What ends a run in the middle."""


def run_to_files(
    store_path: Path, output: Path, kind: str, stop_after: int | None = None, **options: Any
) -> TrainedHead:
    def on_epoch(epoch: Epoch) -> None:
        if epoch.epoch == stop_after:
            raise KilledError

    resume, force = options.pop("resume", False), options.pop("force", False)
    settings = head_settings(kind, {"epochs": 6, "batch_size": 64, **options})
    what = task() if kind == "projection" else task(targets=("colour", "size"), category="category")
    with Store(store_path) as store:
        return train_to_files(
            FeatureStores(store),
            what,
            settings.kind,
            settings.training,
            output,
            force=force,
            resume=resume,
            on_epoch=on_epoch,
        )


RECIPES: list[tuple[str, dict[str, Any]]] = [
    ("projection", {}),
    ("projection", {"ema_decay": 0.9, "schedule": "one-cycle", "patience": 4, "noise": 0.1}),
    ("projection", {"optimizer": "sgd", "loss": "triplet", "body": "mlp", "mixup": 0.2}),
    ("attributes", {"ema_decay": 0.9, "mixup": 0.2, "schedule": "step", "step_epochs": 2.0}),
]


@pytest.mark.parametrize(("kind", "options"), RECIPES)
def test_a_stopped_run_goes_on_and_ends_with_the_same_file(
    store_path: Path, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    run_to_files(store_path, whole, kind, **options)
    for last in (2, 3):
        with pytest.raises(KilledError):
            run_to_files(store_path, stopped, kind, last, resume=True, **options)
    assert not stopped.exists()
    run_to_files(store_path, stopped, kind, resume=True, **options)
    assert stopped.read_bytes() == whole.read_bytes()
    assert not stopped.with_suffix(".checkpoint").exists()


def test_checkpoints_that_take_long_are_left_out(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "FREE_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "MOST_SHARE", 0.0)
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    run_to_files(store_path, whole, "projection")
    with pytest.raises(KilledError):
        run_to_files(store_path, stopped, "projection", 3)
    assert checkpoints.epochs_of(stopped.with_suffix(".checkpoint")) == 1
    run_to_files(store_path, stopped, "projection", resume=True)
    assert stopped.read_bytes() == whole.read_bytes()


def test_saving_takes_two_seconds_and_a_tenth_of_the_time(tmp_path: Path) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.5  # between two looks, so that each save takes half a second
        return now

    checkpoint = checkpoints.Checkpoint(tmp_path / "h.checkpoint", {}, clock)
    state = checkpoints.State({}, {})
    due = []
    for _ in range(40):
        now += 1  # an epoch
        due.append(checkpoint.is_due)
        if due[-1]:
            checkpoint.save(state)
    assert all(due[:4])
    assert not all(due[4:8])
    assert 0.5 * sum(due) <= 2 + 0.1 * now
    assert 0.5 * (sum(due) + 2) > 2 + 0.1 * now  # and no less than there is time for


def test_a_checkpoint_of_another_run_is_refused(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "h.safetensors"
    with pytest.raises(KilledError):
        run_to_files(store_path, output, "projection", 2)
    with pytest.raises(SettingsError, match=r"other settings: scale was 16.0 and is 8.0"):
        run_to_files(store_path, output, "projection", resume=True, scale=8.0)
    checkpoint = output.with_suffix(".checkpoint")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    with pytest.raises(HeadError, match="is not a checkpoint, or it is damaged"):
        run_to_files(store_path, output, "projection", resume=True)
    with pytest.raises(OutputExistsError, match="stopped at an unknown epoch"):
        run_to_files(store_path, output, "projection")
    run_to_files(store_path, output, "projection", force=True)  # anew
    assert output.exists()


def test_a_checkpoint_is_not_thrown_away_unasked(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "h.safetensors"
    with pytest.raises(KilledError):
        run_to_files(store_path, output, "projection", 2)
    left = output.with_suffix(".checkpoint").read_bytes()
    with pytest.raises(OutputExistsError, match=r"after 2 epochs: give --resume .* or --force"):
        run_to_files(store_path, output, "projection")
    assert output.with_suffix(".checkpoint").read_bytes() == left


def test_resume_without_a_checkpoint_says_that_it_starts_anew(
    store_path: Path, tmp_path: Path
) -> None:
    output = tmp_path / "h.safetensors"
    with pytest.raises(KilledError):
        run_to_files(store_path, output, "projection", 2, resume=True)
    assert TRAINED_ANEW not in run_to_files(store_path, output, "projection", resume=True).notes
    other = tmp_path / "other.safetensors"
    assert TRAINED_ANEW in run_to_files(store_path, other, "projection", resume=True).notes


def test_resume_of_a_finished_head_changes_nothing(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "h.safetensors"
    trained = run_to_files(store_path, output, "projection")
    before = {path: path.read_bytes() for path in tmp_path.glob("h.*")}
    again = run_to_files(store_path, output, "projection", resume=True)
    assert FINISHED in again.notes[-1]
    assert (again.info, again.history) == (trained.info, trained.history)
    with pytest.raises(OutputExistsError, match="exists already, trained with another scale"):
        run_to_files(store_path, output, "projection", resume=True, scale=8.0)
    assert {path: path.read_bytes() for path in tmp_path.glob("h.*")} == before


def test_resume_after_a_kill_between_the_files(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "h.safetensors"
    with pytest.raises(KilledError):
        run_to_files(store_path, output, "projection", 2)
    output.with_suffix(".jsonl").write_text("")  # the head comes last
    run_to_files(store_path, output, "projection", resume=True)
    assert output.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seed", -1),
        ("seed", 2**63),
        ("noise", math.nan),
        ("mixup", math.inf),
        ("focal_gamma", math.nan),
        ("device", "meta"),
        ("device", "cuda:x"),
    ],
)
def test_settings_out_of_their_range(store_path: Path, option: str, value: float | str) -> None:
    kind, what = "attributes", task(targets=("colour",))
    with pytest.raises(SettingsError, match=f"--{option.replace('_', '-')}.*found .*{value}"):
        train(store_path, what, kind, **{option: value})
