"""Whether probabilities mean what they say, and one temperature that mends them.

Every logit is divided by the same temperature. One for each pair would fit some dozens of rows and
more noise than need; the pairs are trained together, with one schedule and one loss, so that they
are too sure of themselves alike. It changes no prediction.

Source: Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks (2017),
https://arxiv.org/abs/1706.04599, sections 2 and 4.2.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from embed.errors import SelectionError
from embed.wording import counted
from heads.attributes.vocabulary import Codes

NUM_BINS = 15
NUM_FOLDS = 5
MAX_TEMPERATURE = 100.0  # and its inverse is the least: rows that are all right want none at all


@dataclass(frozen=True)
class Calibration:
    """The temperature to divide logits by, and what it does.

    `ece` is the expected calibration error, `log_loss` the mean of −log p of the true class, in
    nats. Those after calibration are of rows that the temperature was not fitted on: each fifth
    of the rows at the temperature of the other four. Labels of classes that training did not see
    count as wrong in the calibration error and have no log loss.
    """

    temperature: float
    ece_before: float
    ece_after: float
    log_loss_before: float
    log_loss_after: float
    num_labels: int


def calibrate(logits: Float[np.ndarray, "n a k"], codes: Codes) -> Calibration:
    """Fit a temperature on rows that the head was not trained on, and say what it does.

    Raises:
        SelectionError: fewer labels of known classes than folds.
    """
    rows, attributes = np.nonzero(codes.is_present & np.isfinite(logits).any(axis=2))
    chosen = logits[rows, attributes].astype(np.float64)  # (m, k)
    labels = codes.labels[rows, attributes]
    if (labels >= 0).sum() < NUM_FOLDS:
        raise SelectionError(
            f"calibration needs {NUM_FOLDS} labels or more of classes that training saw: found "
            f"{int((labels >= 0).sum())} in {counted(len(codes), 'row')}; give validation a larger "
            f"share with --split"
        )
    temperatures = _held_out_temperatures(chosen, labels, rows % NUM_FOLDS)
    before, after = (_figures(chosen / t, labels) for t in (np.ones(1), temperatures[:, None]))
    temperature = fit_temperature(chosen, labels)
    return Calibration(temperature, before[0], after[0], before[1], after[1], len(labels))


def fit_temperature(logits: Float64[np.ndarray, "m k"], labels: Int[np.ndarray, " m"]) -> float:
    """The temperature at which the log loss of these labels is least, from 0.01 to 100.

    Labels of −1 don't count; 1 where there are no others. The loss has one minimum, being convex in
    the inverse of the temperature.
    """
    # Here, as the imports of this module: they take long, and few commands calibrate.
    from scipy.optimize import minimize_scalar

    known = labels >= 0
    if not known.any():
        return 1.0
    bound = math.log(MAX_TEMPERATURE)
    found = minimize_scalar(
        lambda log_temperature: log_loss(logits / math.exp(log_temperature), labels),
        bounds=(-bound, bound),
        method="bounded",
    )
    return math.exp(float(found.x))


def expected_calibration_error(
    confidences: Float[np.ndarray, " m"], is_correct: Bool[np.ndarray, " m"]
) -> float:
    """Σ share of rows in a bin × |accuracy − mean confidence| there, over 15 bins of equal width.

    `confidences` are the probabilities of the predicted classes. A bin holds its lower edge and
    not its upper one, but the last holds 1. As torchmetrics' `MulticlassCalibrationError` with
    norm l1; Guo et al. (equation 3) put the edges the other way.
    """
    bins = np.minimum((confidences * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    # Of a sum of differences the rows' number in the bin cancels out.
    surplus = np.bincount(bins, is_correct - confidences.astype(np.float64), NUM_BINS)
    return float(np.abs(surplus).sum() / len(confidences))


def _held_out_temperatures(
    logits: Float64[np.ndarray, "m k"], labels: Int[np.ndarray, " m"], folds: Int[np.ndarray, " m"]
) -> Float64[np.ndarray, " m"]:
    """For each label the temperature that fits those of the other folds."""
    temperatures = np.ones(len(labels))
    for fold in range(NUM_FOLDS):
        others = folds != fold
        temperatures[~others] = fit_temperature(logits[others], labels[others])
    return temperatures


def _figures(
    logits: Float64[np.ndarray, "m k"], labels: Int[np.ndarray, " m"]
) -> tuple[float, float]:
    """Calibration error and log loss."""
    from scipy.special import log_softmax

    confidences = np.exp(log_softmax(logits, axis=1).max(axis=1))
    is_correct = logits.argmax(axis=1) == labels
    return expected_calibration_error(confidences, is_correct), log_loss(logits, labels)


def log_loss(logits: Float64[np.ndarray, "m k"], labels: Int[np.ndarray, " m"]) -> float:
    """The mean of −log p of the true class, in nats; labels of −1 don't count."""
    from scipy.special import log_softmax

    known = labels >= 0
    log_shares = log_softmax(logits[known], axis=1)
    return float(-log_shares[np.arange(len(log_shares)), labels[known]].mean())
