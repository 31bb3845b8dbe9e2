"""From a score to the probability of being a match."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from embed.errors import SelectionError

NUM_STEPS = 256
"""A calibration has at most twice as many knots, and is no further off than one of them."""


@dataclass(frozen=True)
class Calibration:
    """A rising line from scores to probabilities, straight between knots and level outside."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, scores: Float[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """The probability that a pair with this score is a true match."""
        return np.asarray(np.interp(scores.astype(np.float64), self.scores, self.probabilities))


def calibrated(scores: Float[np.ndarray, " p"], is_match: Bool[np.ndarray, " p"]) -> Calibration:
    """The best rising function from scores to the share of true matches.

    It has at most 512 knots, between which it is within 1/256 of the whole.

    Source: isotonic regression, Zadrozny and Elkan, Transforming Classifier Scores into Accurate
    Multiclass Probability Estimates (KDD 2002).

    Raises:
        SelectionError: there are no pairs.
    """
    from sklearn.isotonic import IsotonicRegression  # slow to import, and rarely wanted

    if len(scores) == 0:
        raise SelectionError("no pair of the selected rows has a score: nothing to calibrate by")
    regression = IsotonicRegression(out_of_bounds="clip")
    regression.fit(scores.astype(np.float64), is_match.astype(np.float64))
    scores_at, shares_at = regression.X_thresholds_, regression.y_thresholds_
    kept = _kept(shares_at)
    return Calibration(tuple(scores_at[kept].tolist()), tuple(shares_at[kept].tolist()))


def _kept(shares: Float[np.ndarray, " m"]) -> Int[np.ndarray, " j"]:
    """The first and the last of the rising knots in each of `NUM_STEPS` ranges of probability.

    A line between two knots of one range stays in it, so what is left out moves the probability by
    less than 1 / `NUM_STEPS`; lines between ranges stay as they are.
    """
    steps = np.minimum((shares * NUM_STEPS).astype(int), NUM_STEPS - 1)
    is_edge = np.append(True, steps[1:] > steps[:-1])
    return np.flatnonzero(is_edge | np.append(is_edge[1:], True))
