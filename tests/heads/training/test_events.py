"""Event files, as TensorBoard reads them."""

import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from embed.store import Store
from heads.features import FeatureStores
from heads.run import train_to_files
from heads.settings import head_settings
from heads.training.loop import Epoch, TrainedHead
from tests.conftest import Invoke
from tests.heads.conftest import task, train


class StoppedError(Exception):
    """What ends a run in the middle."""


def run(
    store_path: Path, folder: Path, stop_after: int = 99, learning_rate: float = 5e-4, **how: Any
) -> TrainedHead:
    def stop(epoch: Epoch) -> None:
        if epoch.epoch == stop_after + 1:
            raise StoppedError

    settings = head_settings("projection", {"epochs": 4, "learning_rate": learning_rate})
    with Store(store_path) as store:
        return train_to_files(
            FeatureStores(store),
            task(),
            settings.kind,
            settings.training,
            folder / "h.safetensors",
            tensorboard=folder / "events",
            on_epoch=stop,
            **how,
        )


def events_of(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "events" / "h")).Reload()


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events_of(folder).Scalars(tag)]


def expected(trained: TrainedHead, metric: str) -> list[Any]:
    return [(e.epoch, pytest.approx(e.metrics[metric], rel=1e-6)) for e in trained.history]


def test_every_epoch_is_there_and_the_settings(store_path: Path, tmp_path: Path) -> None:
    trained = run(store_path, tmp_path)
    assert curve(tmp_path, "row_f1") == expected(trained, "row_f1")
    assert [value for _, value in curve(tmp_path, "loss")] == [
        pytest.approx(epoch.loss, rel=1e-6) for epoch in trained.history
    ]
    assert len(curve(tmp_path, "learning_rate")) == 4
    events = events_of(tmp_path)
    text = events.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| learning_rate | 0.0005 |" in text and "| spaces | raw |" in text
    assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")


def test_a_run_that_goes_on_continues_its_curve(store_path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run(store_path, tmp_path, stop_after=2)
    trained = run(store_path, tmp_path, resume=True)
    assert len(trained.history) == 4
    assert curve(tmp_path, "row_f1") == expected(trained, "row_f1")


def test_a_run_that_starts_anew_replaces_its_curve(store_path: Path, tmp_path: Path) -> None:
    run(store_path, tmp_path)
    trained = run(store_path, tmp_path, learning_rate=1e-2, force=True)
    assert curve(tmp_path, "row_f1") == expected(trained, "row_f1")


def test_without_tensorboard_it_says_so(
    store_path: Path, tmp_path: Path, heads_cli: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    arguments = ["--space", "raw", "--target", "label", "-o", tmp_path / "h.safetensors"]
    result = heads_cli(
        "train", store_path, *arguments, "--tensorboard", tmp_path / "t", exit_code=2
    )
    assert "needs the package tensorboard: pip install tensorboard" in result.stderr
    assert not (tmp_path / "h.safetensors").exists()


def test_nothing_is_written_unasked(store_path: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    train(store_path, task())
    assert sorted(tmp_path.iterdir()) == before
