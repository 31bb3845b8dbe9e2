"""Training on a GPU: repeatable but for the order of sums, streamed, and taken up again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embed.errors import SettingsError
from embed.store import Store
from heads.features import FeatureReader, FeatureStores, refer_to
from heads.head import load_head
from heads.run import train_to_files
from heads.settings import head_settings
from heads.tables import ResidentTable, StreamedTable, open_table
from heads.tasks import Task
from heads.training.checkpoints import random_state, restore_random_state
from heads.training.loop import Epoch
from tests.heads.conftest import task, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

CUDA = torch.device("cuda")
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("projection", {"noise": 0.1}),
    ("attributes", {"epochs": 4}),
]


def what(kind: str) -> Task:
    if kind == "projection":
        return task()
    return task(targets=("colour", "size"), category="category")


def on_gpu(store_path: Path, kind: str, **options: Any) -> dict[str, torch.Tensor]:
    """The weights after a training in float32, on the CPU."""
    chosen = {"device": "cuda", "precision": "fp32", "keep": "last", **options}
    return on_cpu(train(store_path, what(kind), kind, **chosen).network.state_dict())


def on_cpu(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu() for name, tensor in weights.items()}


def assert_near(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Equal but for the order of a GPU's sums, which steps of training make larger."""
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_the_same_seed_gives_nearly_the_same_weights(
    store_path: Path, kind: str, options: dict[str, Any]
) -> None:
    first, second = (on_gpu(store_path, kind, **options) for _ in range(2))
    assert_near(first, second)


@pytest.mark.parametrize("kind", ["projection", "attributes"])
def test_streamed_features_train_the_same(store_path: Path, kind: str) -> None:
    resident = on_gpu(store_path, kind, epochs=3)
    assert_near(on_gpu(store_path, kind, epochs=3, memory_bytes=100), resident)


def test_tables_on_the_gpu_hold_what_is_read(store_path: Path) -> None:
    with Store(store_path) as store:
        stores = FeatureStores(store)
        reader = FeatureReader(stores, refer_to(stores, ["raw"]))
        rows = np.array([9, 4, 200, 17])
        resident, streamed = (open_table(reader, rows, CUDA, limit) for limit in (768, 767))
        assert isinstance(resident, ResidentTable) and isinstance(streamed, StreamedTable)
        for table in (resident, streamed):
            features = table.rows(torch.tensor([2, 0]))
            assert features.is_cuda
            np.testing.assert_array_equal(features.cpu().numpy(), reader(rows[[2, 0]]))


class KilledError(Exception):
    """What ends a run in the middle."""


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_stopped_run_goes_on(
    store_path: Path, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    def run(output: Path, stop_after: int | None = None) -> None:
        def on_epoch(epoch: Epoch) -> None:
            if epoch.epoch == stop_after:
                raise KilledError

        with Store(store_path) as store:
            stores, kind_settings, training = FeatureStores(store), settings.kind, settings.training
            train_to_files(
                stores, what(kind), kind_settings, training, output, resume=True, on_epoch=on_epoch
            )

    given = {"epochs": 4, "batch_size": 64, "device": "cuda", "precision": "fp32", "keep": "last"}
    settings = head_settings(kind, given | options)
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    run(whole)
    with pytest.raises(KilledError):
        run(stopped, 2)
    run(stopped)
    first, second = (load_head(path) for path in (stopped, whole))
    assert_near(on_cpu(first.network.state_dict()), on_cpu(second.network.state_dict()))


def test_the_generator_of_the_gpu_is_put_back() -> None:
    rows = torch.Generator()
    states = random_state(CUDA, rows)
    first = torch.rand(5, device=CUDA)
    restore_random_state(states, CUDA, rows)
    assert torch.equal(torch.rand(5, device=CUDA), first)


def test_a_gpu_that_is_not_there_is_refused(store_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--device cuda:99: torch sees \d+ GPUs here"):
        train(store_path, device="cuda:99")
