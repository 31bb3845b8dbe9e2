"""Temperatures and calibration errors against other implementations."""

import ast
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from embed.errors import SelectionError
from heads.attributes import calibration, predicting
from heads.attributes.calibration import (
    calibrate,
    expected_calibration_error,
    fit_temperature,
)
from heads.attributes.vocabulary import Codes


def sampled(num_rows: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right about their labels' probabilities, multiplied by `sharpness`."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(num_rows, 5)) * 2
    logits[:, 4] = -np.inf
    draws = generator.random((num_rows, 1))
    labels = (np.cumsum(softmax(logits, axis=1), axis=1) < draws).sum(axis=1)
    return logits * sharpness, labels


def codes_of(labels: np.ndarray, strangers: np.ndarray | None = None) -> Codes:
    strangers = np.full(labels.shape, -1) if strangers is None else strangers
    return Codes(np.zeros(len(labels), np.int64), labels, strangers, {})


@pytest.mark.parametrize("sharpness", [0.2, 1.0, 4.0])
def test_a_temperature_undoes_what_made_logits_too_sharp(sharpness: float) -> None:
    logits, labels = sampled(20_000, sharpness)
    assert fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.05)


def test_a_temperature_is_that_of_torchs_optimiser() -> None:
    logits, labels = sampled(300, 3.0)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100)

    def closure() -> float:
        optimizer.zero_grad()
        scaled = torch.from_numpy(logits[:, :4]) / log_temperature.exp()
        loss = torch.nn.functional.cross_entropy(scaled, torch.from_numpy(labels))
        torch.autograd.backward(loss)
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert fit_temperature(logits, labels) == pytest.approx(log_temperature.exp().item(), rel=1e-4)


def test_missing_labels_do_not_count() -> None:
    logits, labels = sampled(200, 3.0)
    padded = np.concatenate([labels, np.full(200, -1)])
    doubled = np.concatenate([logits, logits])
    assert fit_temperature(doubled, padded) == pytest.approx(fit_temperature(logits, labels))
    assert fit_temperature(logits, np.full(200, -1)) == 1.0


def test_the_calibration_error_is_that_of_torchmetrics() -> None:
    from torchmetrics.classification import MulticlassCalibrationError

    logits, labels = sampled(500, 2.0)
    shares = softmax(logits[:, :4], axis=1)
    metric = MulticlassCalibrationError(num_classes=4, n_bins=15, norm="l1")
    expected = metric(torch.from_numpy(shares), torch.from_numpy(labels)).item()
    is_correct = shares.argmax(axis=1) == labels
    found = expected_calibration_error(shares.max(axis=1), is_correct)
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_calibration_error_by_hand() -> None:
    """Sure and right once of twice: |1 − 2| / 3; 0.5 and wrong: 0.5 / 3."""
    error = expected_calibration_error(np.array([1.0, 1.0, 0.5]), np.array([True, False, False]))
    assert error == pytest.approx(1.5 / 3)


def test_calibration_helps_logits_that_are_too_sure() -> None:
    logits, labels = sampled(2000, 4.0)
    found = calibrate(logits[:, None], codes_of(labels[:, None]))
    assert found.temperature == pytest.approx(4.0, rel=0.1)
    assert found.ece_after < 0.03 < 0.1 < found.ece_before
    assert found.log_loss_after < found.log_loss_before
    expected = -log_softmax(logits, axis=1)[np.arange(2000), labels].mean()
    assert found.log_loss_before == pytest.approx(expected)
    assert found.num_labels == 2000


def test_unknown_labels_count_as_wrong_and_absent_pairs_do_not_count() -> None:
    logits, labels = sampled(100, 1.0)
    blank = np.full_like(logits, -np.inf)
    both = np.stack([np.concatenate([logits, logits]), np.concatenate([blank, blank])], axis=1)
    known = np.concatenate([labels, np.full(100, -1)])
    strangers = np.where(known < 0, 0, -1)
    pair = np.stack([known, np.full(200, -1)], axis=1)
    found = calibrate(both, codes_of(pair, np.stack([strangers, np.zeros(200, int)], axis=1)))
    alone = calibrate(logits[:, None], codes_of(labels[:, None]))
    assert found.num_labels == 200
    assert found.temperature == pytest.approx(alone.temperature)
    assert found.ece_before > alone.ece_before + 0.1


def test_a_handful_of_labels_is_refused() -> None:
    logits, labels = sampled(4, 1.0)
    with pytest.raises(SelectionError, match=r"needs 5 labels or more.*found 4 in 4 rows"):
        calibrate(logits[:, None], codes_of(labels[:, None]))


@pytest.mark.parametrize("module", [calibration, predicting])
def test_what_few_commands_need_is_imported_late(module: ModuleType) -> None:
    """scipy.optimize and scipy.special take 0.6 s, of every command that trains or predicts."""
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    first = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert first
    assert not any("scipy" in ast.unparse(node) for node in first)
