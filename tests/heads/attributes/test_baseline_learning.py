"""Baselines as heads: trained on a task's rows, judged on its validation rows, kept in a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from embed.rows import Split
from embed.store import Store
from heads.attributes.predicting import predicted_classes
from heads.attributes.vocabulary import Vocabulary
from heads.features import FeatureReader, FeatureStores
from heads.head import load_head
from heads.run import HeadFiles, write_files
from heads.tasks import Task
from heads.training.loop import TrainedHead
from tests.conftest import Invoke, json_of
from tests.heads.conftest import head_file, task, train

KINDS = ["baseline:majority", "baseline:knn", "baseline:logistic"]
ROWS = Split.parse("id", "60/20/20", stratify="category")


def by_category(**fields: Any) -> Task:
    return task(**{"targets": ("colour", "size"), "category": "category", "split": ROWS} | fields)


def fitted(path: Path, what: Task, kind: str, **options: Any) -> TrainedHead:
    """A baseline; of what the other heads of tests are given it would refuse all."""
    return train(path, what, kind, epochs=None, batch_size=None, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_comes_back_from_its_file(store_path: Path, tmp_path: Path, kind: str) -> None:
    trained = fitted(
        store_path,
        by_category(),
        kind,
    )
    files = HeadFiles(tmp_path / "b.safetensors")
    write_files(trained, files)
    head = load_head(files.head, "attributes")
    assert head.info == trained.info
    assert (head.info.kind, head.info.output, trained.history) == (kind, "attributes", ())
    features = torch.randn(9, 48, generator=torch.Generator().manual_seed(0))
    categories = torch.arange(9) % 3 - 1
    with torch.no_grad():
        expected = trained.network(features, categories)
        assert torch.equal(head.network(features, categories), expected)
    low, high = head.info.intervals["attribute_score"]
    assert low <= head.info.metrics["attribute_score"] <= high
    assert len(head.info.details["pairs"]) == 3
    assert not files.history.exists() and not files.picture.exists()
    assert "fitted at once" in files.card.read_text()


def test_accuracy_is_that_of_another_implementation(store_path: Path) -> None:
    """One attribute without categories: scikit-learn's own neighbours on the reader's features."""
    what = task("raw", "bits", targets=("colour",), split=ROWS)
    trained = fitted(
        store_path,
        what,
        "baseline:knn",
        neighbours=5,
        voting="uniform",
    )
    with Store(store_path) as store:
        sides, colours = ROWS.sides(store), store.column("colour")
        features = FeatureReader(FeatureStores(store), trained.info.spaces)(np.arange(len(store)))
    is_train, is_val = sides == "train", sides == "val"
    model = KNeighborsClassifier(5, metric="cosine", algorithm="brute")
    model.fit(features[is_train], colours[is_train].astype(str))
    # Of equal numbers of votes scikit-learn takes the first class, a head the nearer rows.
    votes = np.sort(model.predict_proba(features[is_val]), axis=1)
    decided = votes[:, -1] > votes[:, -2]
    with torch.no_grad():
        logits = trained.network(
            torch.from_numpy(features[is_val]), torch.zeros(int(is_val.sum()), dtype=torch.int64)
        )
    vocabulary = Vocabulary.from_json(trained.info.vocabulary or {})
    found = predicted_classes(logits.numpy())[:, 0]
    names = np.array(vocabulary.pairs[0].classes)[found]
    assert decided.sum() > 20
    assert (names == model.predict(features[is_val]))[decided].all()
    assert trained.info.metrics["accuracy"] == pytest.approx((names == colours[is_val]).mean())


def test_logistic_regression_says_where_it_has_not_converged(store_path: Path) -> None:
    trained = fitted(
        store_path,
        by_category(),
        "baseline:logistic",
        regularization=1e6,
        max_iterations=2,
    )
    assert any("had not converged after 2 iterations" in note for note in trained.notes)


def test_baselines_from_the_command_line(
    store_path: Path, tmp_path: Path, heads_cli: Invoke
) -> None:
    head = tmp_path / "b.safetensors"
    arguments: list[object] = [store_path, "-o", head, "--space", "raw", "--target", "colour"]
    kind = ["--kind", "baseline:knn", "--neighbours", "3"]
    result = json_of(heads_cli("train", *arguments, *kind, "--json"))
    assert result["kind"] == "baseline:knn"
    assert 0 < result["metrics"]["accuracy"] <= 1
    assert load_head(head).info.settings == {"neighbours": 3, "voting": "weighted"}
    logistic = ["--kind", "baseline:logistic", "--regularization", "2.5", "--force"]
    printed = heads_cli("train", *arguments, *logistic)
    assert "attribute score" in printed.stdout
    assert "curve:" not in printed.stdout
    assert load_head(head).info.settings["regularization"] == 2.5


def test_a_baseline_leaves_no_curve_of_the_head_that_it_replaces(
    store_path: Path, tmp_path: Path
) -> None:
    path = head_file(store_path, tmp_path / "h.safetensors", by_category(), "attributes")
    assert path.with_suffix(".png").exists()
    trained = fitted(
        store_path,
        by_category(),
        "baseline:majority",
    )
    write_files(trained, HeadFiles(path))
    assert not path.with_suffix(".png").exists() and not path.with_suffix(".jsonl").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--learning-rate", "0.1"], "--learning-rate is not for --kind baseline:knn"),
        (["--epochs", "3"], "--epochs is not for --kind baseline:knn"),
        (["--regularization", "3"], "--regularization is not for --kind baseline:knn"),
        (["--neighbours", "0"], "--neighbours takes at least 1 neighbour: found 0"),
        (["--resume"], "--resume is for heads that are trained in epochs"),
        (["--memory", "1KiB"], "needs the features of all 191 training rows at once"),
    ],
)
def test_a_users_mistakes_are_one_line(
    store_path: Path, tmp_path: Path, heads_cli: Invoke, change: list[str], message: str
) -> None:
    arguments = ["--kind", "baseline:knn", "--space", "raw", "--target", "colour"]
    head = tmp_path / "b.safetensors"
    result = heads_cli("train", store_path, "-o", head, *arguments, *change, exit_code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.glob("b.*")) == []


def test_majority_needs_no_memory(store_path: Path) -> None:
    trained = fitted(store_path, by_category(), "baseline:majority", memory_bytes=1)
    assert trained.info.metrics["accuracy"] > 0
