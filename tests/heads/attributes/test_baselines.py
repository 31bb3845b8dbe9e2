"""Baselines against plain loops and scikit-learn's own predictions."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression

from embed.errors import SettingsError
from heads.attributes import baselines
from heads.attributes.baselines import Majority, NearestNeighbours, NeighbourSettings
from heads.attributes.logistic import LogisticSettings, fit_logistic
from heads.attributes.network import AttributeNetwork, AttributeSettings
from heads.attributes.vocabulary import Codes, Vocabulary

NUM_ROWS, NUM_FEATURES = 90, 8


def training_rows() -> tuple[Vocabulary, Codes, np.ndarray]:
    """Two categories; the second has two colours, one cut, and no third attribute."""
    generator = np.random.default_rng(0)
    kind = generator.choice(np.array(["shirt", "shoe", ""], object), NUM_ROWS, p=[0.5, 0.4, 0.1])
    number = generator.integers(0, 3, NUM_ROWS)
    colour = np.array(["a", "b", "c"], object)[np.where(kind == "shoe", number % 2, number)]
    cut = np.where(kind == "shoe", "x", np.array(["x", "y", ""], object)[number])
    sole = np.where(kind == "shirt", np.array(["p", "q", "p"], object)[number], "dummy")
    columns = {"kind": kind, "colour": colour, "cut": cut, "sole": sole}
    columns["colour"][generator.random(NUM_ROWS) < 0.3] = ""
    centres = generator.normal(size=(3, NUM_FEATURES))
    features = centres[number] + generator.normal(size=(NUM_ROWS, NUM_FEATURES)) * 1.5
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    made = Vocabulary.of(columns, ("colour", "cut", "sole"), "kind")
    return made, made.encode(columns), features.astype(np.float32)


def queries() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    features = torch.nn.functional.normalize(torch.randn(20, NUM_FEATURES, generator=generator))
    return features, torch.arange(20) % 3 - 1


def neighbours(settings: NeighbourSettings) -> NearestNeighbours:
    made, codes, features = training_rows()
    module = NearestNeighbours(NUM_ROWS, NUM_FEATURES, made.num_classes(), settings)
    module.fit(
        torch.from_numpy(features),
        torch.from_numpy(codes.categories),
        torch.from_numpy(codes.labels),
    )
    return module


def test_majority_predicts_shares_of_the_training_rows() -> None:
    made, codes, _ = training_rows()
    module = Majority(made.num_classes())
    module.fit(made.class_counts())
    features, categories = queries()
    logits = module(features, categories)
    for row, c in enumerate(categories.tolist()):
        for a in range(3):
            present = codes.labels[(codes.categories == c) & (codes.labels[:, a] >= 0), a]
            if c < 0 or len(present) == 0:
                assert (logits[row, a] == -math.inf).all()
                continue
            shares = logits[row, a].exp().numpy()
            expected = np.bincount(present, minlength=3) / len(present)
            np.testing.assert_allclose(shares, expected, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 4, 1000])
@pytest.mark.parametrize("voting", ["weighted", "uniform"])
def test_neighbours_equal_a_plain_loop(voting: baselines.Voting, k: int) -> None:
    _, codes, rows = training_rows()
    features, categories = queries()
    logits = neighbours(NeighbourSettings(k, voting))(features, categories)
    for query, c in enumerate(categories.tolist()):
        cosines = rows @ features[query].numpy()
        for a in range(3):
            voters = np.flatnonzero((codes.categories == c) & (codes.labels[:, a] >= 0))
            if c < 0 or len(voters) == 0:
                assert (logits[query, a] == -math.inf).all()
                continue
            nearest = voters[np.argsort(-cosines[voters])][:k]
            votes = dict.fromkeys(range(3), 0.0)
            for row in nearest:
                votes[codes.labels[row, a]] += (
                    math.exp(cosines[row] / 0.07) if voting == "weighted" else 1
                )
            shares = np.array([votes[number] for number in range(3)]) / sum(votes.values())
            found = logits[query, a].exp().numpy()
            np.testing.assert_allclose(found, shares, atol=1e-3 if voting == "uniform" else 1e-5)


def test_nearer_neighbours_win_ties_of_uniform_votes() -> None:
    module = NearestNeighbours(4, 2, np.array([[2]]), NeighbourSettings(4, "uniform"))
    angles = torch.tensor([0.1, 0.9, 1.0, 0.2])
    module.fit(
        torch.stack([angles.cos(), angles.sin()], dim=1),
        torch.zeros(4, dtype=torch.int64),
        torch.tensor([[1], [0], [0], [1]]),
    )
    logits = module(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.zeros(2, dtype=torch.int64))
    assert logits[:, 0].argmax(dim=1).tolist() == [1, 0]


def test_chunks_give_the_same_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    module = neighbours(NeighbourSettings())
    whole = module(*queries())
    monkeypatch.setattr(baselines, "CHUNK_CELLS", 100)  # two or three rows at once
    torch.testing.assert_close(module(*queries()), whole)


@pytest.mark.parametrize("regularization", [0.5, 10.0])
def test_logistic_regression_is_scikit_learns(regularization: float) -> None:
    made, codes, rows = training_rows()
    settings = LogisticSettings(regularization)
    network, warned = fit_logistic(made, rows, codes, settings)
    assert not warned
    features, categories = queries()
    with torch.no_grad():
        logits = network(features, categories)
    for pair in made.pairs:
        c, a = made.position(pair)
        of_category = categories == c
        found = torch.softmax(logits[of_category, a, : len(pair.classes)], dim=1).numpy()
        if len(pair.classes) == 1:
            assert (found == 1).all()
            continue
        chosen = (codes.categories == c) & (codes.labels[:, a] >= 0)
        model = LogisticRegression(C=regularization, max_iter=1000)
        model.fit(rows[chosen] * 10, codes.labels[chosen, a])
        expected = model.predict_proba(features[of_category].numpy() * 10)
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (logits[categories == -1] == -math.inf).all()


def test_a_fit_that_does_not_converge_is_told() -> None:
    made, codes, rows = training_rows()
    _, warned = fit_logistic(made, rows, codes, LogisticSettings(1e6, max_iterations=2))
    assert "logistic regression of 'colour' in 'shirt' had not converged after 2" in warned[0]
    assert len(warned) == 4  # every pair of two classes or more


def test_each_comes_back_from_a_file(tmp_path: Path) -> None:
    made, codes, rows = training_rows()
    numbers, settings = made.num_classes(), NeighbourSettings()
    majority = Majority(numbers)
    majority.fit(made.class_counts())
    logistic, _ = fit_logistic(made, rows, codes)
    linear = AttributeNetwork(NUM_FEATURES, numbers, AttributeSettings(hidden=0)).eval()
    empty = NearestNeighbours(NUM_ROWS, NUM_FEATURES, numbers, settings)
    modules = [majority, neighbours(settings), logistic]
    for fitted, fresh in zip(modules, (Majority(numbers), empty, linear), strict=True):
        save_file(fitted.state_dict(), tmp_path / "b.safetensors")
        fresh.load_state_dict(load_file(tmp_path / "b.safetensors"))
        assert torch.equal(fresh(*queries()), fitted(*queries()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NeighbourSettings(0), "at least 1 neighbour: found 0"),
        (lambda: LogisticSettings(0.0), "finite and above 0"),
        (lambda: LogisticSettings(max_iterations=0), "at least 1 iteration"),
    ],
)
def test_settings_out_of_range_are_refused(make: object, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make()  # type: ignore[operator]
