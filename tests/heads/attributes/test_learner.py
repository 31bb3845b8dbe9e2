"""Attribute heads in training: what they learn, and tasks that can't be learnt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embed.errors import SelectionError, SettingsError
from embed.rows import Split, Where
from embed.store import Store
from heads.attributes.inputs import InputStatistics
from heads.attributes.learner import AttributeLearner
from heads.attributes.logistic import LogisticSettings
from heads.attributes.network import AttributeNetwork, AttributeSettings
from heads.attributes.settings import AttributeHeadSettings
from heads.features import FeatureStores
from heads.run import train_head
from heads.settings import head_settings
from heads.tasks import Task
from heads.training.settings import Runtime
from tests.heads.conftest import task, train, write_store

ROWS = Split.parse("id", "60/20/20", stratify="category")


def by_category(**fields: Any) -> Task:
    return task(**{"targets": ("colour", "size"), "category": "category", "split": ROWS} | fields)


def test_attributes_are_learnt_by_category(store_path: Path) -> None:
    options = {"epochs": 30, "learning_rate": 5e-3, "dropout": 0.1, "input_dropout": 0.0}
    trained = train(store_path, by_category(), "attributes", **options)
    assert trained.info.metrics["attribute_score"] > 0.45  # chance is below .4
    assert 0 < trained.info.metrics["accuracy"] <= 1
    pairs = {(pair["category"], pair["attribute"]) for pair in trained.info.details["pairs"]}
    assert pairs == {("shoe", "colour"), ("shoe", "size"), ("shirt", "colour")}
    low, high = trained.info.intervals["attribute_score"]
    assert low < trained.info.metrics["attribute_score"] < high


def test_a_linear_probe(store_path: Path) -> None:
    what = task(targets=("category",), split=Split.parse("label", "60/20/20"))
    trained = train(store_path, what, "attributes", epochs=20, hidden=0)
    assert trained.info.output == "attributes"
    assert trained.info.num_classes == 2


def test_spaces_have_the_weight_that_rows_suggest_times_the_given_one(store_path: Path) -> None:
    what = task("raw", "bits", targets=("label",), weights={"bits": 0.5}, split=ROWS)
    settings = head_settings("attributes", {})
    assert isinstance(settings.kind, AttributeHeadSettings)
    with Store(store_path) as store:
        runtime = Runtime.choose(settings.training, len(store))
        learner = AttributeLearner(
            FeatureStores(store), what, settings.kind, settings.training, runtime
        )
        learner.start()
        rows = learner.table.batches([torch.arange(learner.table.num_rows)])
        no_category = torch.zeros_like(learner.labels)
        statistics = InputStatistics(rows, no_category, learner.labels[:, None])
    plain = AttributeNetwork(48 + 16, np.array([[2]]), AttributeSettings())
    plain.fit_inputs(statistics)
    measured = statistics.space_weights((48, 16))
    assert measured[0] != measured[1]
    weights = torch.cat([measured[0].expand(48), 0.5 * measured[1].expand(16)])
    torch.testing.assert_close(learner.network.input_scale, plain.input_scale * weights)


def test_the_linear_classifier_beside_is_the_logistic_baseline(store_path: Path) -> None:
    head = train(store_path, by_category(), "attributes", epochs=2, linear_share=None)
    with Store(store_path) as store:
        baseline = train_head(FeatureStores(store), by_category(), LogisticSettings())
    assert 0 <= head.info.details["linear_share"] <= 1
    own = {
        name.removeprefix("beside."): tensor
        for name, tensor in head.network.state_dict().items()
        if name.startswith("beside.")
    }
    expected = baseline.network.state_dict()
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], expected[name]) for name in own)
    alone = train(store_path, by_category(), "attributes", epochs=2, linear_share=0.0)
    assert not any(name.startswith("beside.") for name in alone.network.state_dict())
    assert alone.history[-1].loss == head.history[-1].loss  # training itself is the same


def test_calibration_keeps_predictions_and_a_temperature(store_path: Path) -> None:
    plain = train(store_path, by_category(), "attributes")
    calibrated = train(store_path, by_category(), "attributes", calibrate=True)
    assert calibrated.info.metrics["accuracy"] == plain.info.metrics["accuracy"]
    temperature = calibrated.info.details["calibration"]["temperature"]
    assert calibrated.network.state_dict()["temperature"].item() == pytest.approx(temperature)


@pytest.mark.parametrize(
    "options",
    [{"class_weights": True}, {"focal_gamma": 2.0, "label_smoothing": 0.1}, {"mixup": 0.4}],
)
def test_options_change_what_is_learnt(store_path: Path, options: dict[str, Any]) -> None:
    plain, other = (
        train(store_path, by_category(), "attributes", epochs=2, **chosen)
        for chosen in ({}, options)
    )
    assert plain.history[-1].loss != other.history[-1].loss


def test_categories_that_training_never_saw_are_counted(store_path: Path) -> None:
    what = by_category(split=Split(group="", column="kind"))
    with pytest.raises(SelectionError, match="should hold train, val and test"):
        train(store_path, what, "attributes")


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        (by_category(targets=("same",)), SelectionError, "'same' has only 'x' in"),
        (by_category(targets=("colour", "category")), SettingsError, "found colour, category"),
        (
            by_category(where=(Where("category", "shirt"),), targets=("size",)),
            SelectionError,
            "no row of .* with a value of size is on the train side",
        ),
    ],
)
def test_tasks_that_cannot_be_learnt(
    store_path: Path, what: Task, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(store_path, what, "attributes")


def test_options_of_the_other_kind_are_refused(store_path: Path) -> None:
    with pytest.raises(SettingsError, match="--scale is not for --kind attributes"):
        train(store_path, by_category(), "attributes", scale=3.0)


def test_damaged_features_are_refused(tmp_path: Path) -> None:
    write_store(tmp_path / "n.h5", lambda vectors: vectors[8].fill(np.nan))
    with pytest.raises(Exception, match="'i8' among them"):
        train(tmp_path / "n.h5", by_category(), "attributes")


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_batches_with_nothing_to_learn_are_passed_over(store_path: Path, optimizer: str) -> None:
    """Half of the rows are of no category: many a batch of two holds no label that counts."""
    options = {"batch_size": 2, "epochs": 2, "optimizer": optimizer, "clip_norm": 1.0}
    trained = train(
        store_path, by_category(targets=("colour",), category="size"), "attributes", **options
    )
    assert len(trained.history) == 2
    assert all(0 < epoch.loss < 10 for epoch in trained.history)


def test_classes_that_follow_from_the_category_are_refused(store_path: Path) -> None:
    what = by_category(targets=("colour",), category="label")
    with pytest.raises(SelectionError, match="one class in each category of the training rows"):
        train(store_path, what, "attributes")
