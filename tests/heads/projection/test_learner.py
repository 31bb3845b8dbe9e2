"""Projection heads: what they learn, and tasks that can't be learnt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embed.errors import SelectionError, SettingsError, StoreError
from embed.rows import Where
from embed.store import Store
from heads.features import FeatureReader, FeatureStores, refer_to
from heads.projection.bodies import project
from heads.tasks import Task
from heads.training.limits import RowLimits
from retrieval.metrics.judgements import judge_join
from retrieval.search.neighbours import neighbours_of_vectors
from retrieval.thresholds.curves import score_curve
from tests.heads.conftest import SPLIT, task, train, write_store


def row_f1(vectors: np.ndarray, labels: np.ndarray) -> float:
    neighbours = neighbours_of_vectors(vectors, 50)
    return float(score_curve(neighbours, judge_join(neighbours.rows, labels)).f1.max())


@pytest.mark.parametrize("options", [{}, {"loss": "supcon"}])
def test_training_helps_on_products_it_never_saw(store_path: Path, options: dict[str, Any]) -> None:
    trained = train(store_path, **options)
    with Store(store_path) as store:
        rows = np.flatnonzero(SPLIT.sides(store) == "test")
        stores = FeatureStores(store)
        features = FeatureReader(stores, refer_to(stores, ["raw"]))(rows)
        labels = np.unique(store.column("label")[rows], return_inverse=True)[1]
    vectors = project(trained.network, torch.from_numpy(features)).numpy()
    assert row_f1(vectors, labels) > row_f1(features, labels) + 0.05


def test_sides_share_no_product_and_the_best_epoch_is_kept(store_path: Path) -> None:
    trained = train(store_path)
    with Store(store_path) as store:
        sides, labels = SPLIT.sides(store), store.column("label")
    assert trained.info.num_train == (sides == "train").sum()
    assert trained.info.num_validation == (sides == "val").sum()
    assert set(trained.info.classes) == set(labels[sides == "train"])
    assert not set(trained.info.classes) & set(labels[sides != "train"])
    best = max(trained.history, key=lambda epoch: epoch.metrics["row_f1"])
    assert trained.info.metrics["row_f1"] == pytest.approx(best.metrics["row_f1"])
    low, high = trained.info.intervals["row_f1"]
    assert low < trained.info.metrics["row_f1"] < high


def test_classes_are_limited(store_path: Path) -> None:
    limits = RowLimits(min_per_class=2, max_per_class=3)
    iconic = train(store_path, task(limits=limits), epochs=1)
    assert iconic.info.num_train == 3 * len(iconic.info.classes)
    with pytest.raises(SelectionError, match="--min-per-class 7 leaves nothing"):
        train(store_path, task(limits=RowLimits(7)))


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        (task("nothing"), StoreError, "no space 'nothing': it has raw, bits, terms"),
        (task(targets=("nothing",)), StoreError, "no column 'nothing'"),
        (task("raw", "raw"), SettingsError, "found raw, raw"),
        (task(spaces=()), SettingsError, "found none"),
        (task(targets=("label", "same")), SettingsError, "one --target.*found label, same"),
        (task(category="kind"), SettingsError, "no --category"),
        (task(targets=("same",)), SelectionError, "one class only, 'x'"),
        (task(where=(Where("kind", "iconic"),)), SelectionError, "no two of the"),
    ],
)
def test_tasks_that_cannot_be_learnt(
    store_path: Path, what: Task, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(store_path, what)


def test_one_row_of_a_class_makes_no_pair(store_path: Path) -> None:
    single = task(where=(Where("kind", "iconic"),))
    with pytest.raises((SettingsError, SelectionError)):
        train(store_path, single, sampler="m-per-class")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin_radians": 28.6}, "is it in degrees"),
        ({"dropout": (1.0,)}, "--dropout"),
        ({"dim": 0}, "--dim"),
        ({"hidden": 3}, "--hidden is not for --kind projection"),
        ({"start": "discriminants", "body": "mlp"}, "--start discriminants is a linear map"),
        ({"ema_decay": 1.0}, "--ema-decay lies from 0"),
        ({"noise": -1.0}, "--noise and --mixup are 0 or more"),
    ],
)
def test_settings_out_of_range(store_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        train(store_path, **options)


def test_vectors_of_zeros_leave_a_random_start(tmp_path: Path) -> None:
    write_store(tmp_path / "s.h5", lambda vectors: vectors.fill(0))
    trained = train(tmp_path / "s.h5", epochs=1)
    assert any("starts at random weights: linear discriminants" in note for note in trained.notes)
    with pytest.raises(SettingsError, match="equal vectors in each class, or zero ones"):
        train(tmp_path / "s.h5", epochs=1, start="discriminants")
