"""From a score to the probability of being a match."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from embed.errors import SelectionError

MAX_KNOTS = 512


@dataclass(frozen=True)
class Calibration:
    """A rising line from scores to probabilities, straight between knots and level outside."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, scores: Float[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """The probability that a pair with this score is a true match."""
        return np.asarray(np.interp(scores.astype(np.float64), self.scores, self.probabilities))


def calibrated(scores: Float[np.ndarray, " p"], is_match: Bool[np.ndarray, " p"]) -> Calibration:
    """The best rising function from scores to the share of true matches, in at most 512 knots.

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
    knots = np.arange(len(regression.X_thresholds_))
    if len(knots) > MAX_KNOTS:
        knots = np.unique(np.linspace(0, len(knots) - 1, MAX_KNOTS).round().astype(int))
    return Calibration(
        tuple(regression.X_thresholds_[knots].tolist()),
        tuple(regression.y_thresholds_[knots].tolist()),
    )
