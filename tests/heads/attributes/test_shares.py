"""The share of one classifier beside another, against a look at every share."""

import numpy as np
import pytest
from scipy.special import log_softmax

from heads.attributes.shares import fit_share

NONE = -np.inf


def outputs(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of 200 rows, two attributes of three classes, and the labels that they lean to."""
    truth = np.random.default_rng(0)
    labels = truth.integers(-1, 3, (200, 2))
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=noise, size=(200, 2, 3)) + 2 * np.eye(4)[labels][..., :3]
    logits[:, 1, 2] = NONE
    labels[:, 1] = np.where(labels[:, 1] == 2, -1, labels[:, 1])
    logits[:5] = NONE  # rows of no category
    return logits.astype(np.float32), labels


def loss(logits: np.ndarray, labels: np.ndarray) -> float:
    rows = [
        (logits[row, attribute], label)
        for (row, attribute), label in np.ndenumerate(labels)
        if label >= 0 and np.isfinite(logits[row, attribute]).any()
    ]
    return float(np.mean([-log_softmax(each.astype(np.float64))[label] for each, label in rows]))


@pytest.mark.parametrize(("first", "second"), [(2.0, 1.0), (1.0, 2.0), (1.5, 1.5)])
def test_no_share_has_a_lower_loss(first: float, second: float) -> None:
    learned, labels = outputs(first, 1)
    linear, _ = outputs(second, 2)
    found = fit_share(learned, linear, labels)
    with np.errstate(invalid="ignore"):
        mixed = [(1 - s) * learned + s * linear for s in (found, *np.linspace(0.01, 0.99, 99))]
    losses = [loss(np.where(np.isfinite(learned), each, NONE), labels) for each in mixed]
    assert losses[0] <= min(losses) + 1e-6


def test_what_gains_little_has_no_share() -> None:
    learned, labels = outputs(1.0, 1)
    exists = np.isfinite(learned)
    nearly = np.where(exists, learned + np.roll(learned, 1, axis=0).clip(-1, 1) / 50, learned)
    assert fit_share(learned, nearly.astype(np.float32), labels) == 0


def test_what_says_nothing_has_no_share() -> None:
    learned, labels = outputs(1.0, 1)
    wrong = np.where(np.isfinite(learned), -10 * learned, learned)
    assert fit_share(learned, wrong, labels) < 0.05
    assert fit_share(wrong, learned, labels) > 0.95


def test_without_a_label_the_first_speaks_alone() -> None:
    learned, _ = outputs(1.0, 1)
    assert fit_share(learned, learned, np.full((200, 2), -1)) == 0
