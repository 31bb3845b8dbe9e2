"""The best of all cuts without sorting all scores: most cuts are ruled out by bins of scores.

Gains are added up in bins of nearby scores. Within a bin, no cut can be better than the value
before it and all of its rising gains together; where that is below the best end of any bin, none of
its cuts can be the best, and it is left unsorted. In the rest every cut is looked at.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

NUM_BINS = 2**16


@dataclass(frozen=True)
class BestCut:
    """The highest running sum, the lowest score taken there, and the next lower one.

    `lowest` is +inf where nothing is taken, `following` None where nothing follows.
    """

    value: float
    lowest: float
    following: float | None


def best_of_bins(
    scores: Float32[np.ndarray, " p"],
    gains: Float64[np.ndarray, " p"],
    start: float,
    equal: float,
) -> BestCut:
    """The best cut of the running sum of gains, from the highest score down; equal scores as one.

    Sums that differ by no more than `equal` count as the same: the first of them is taken, which
    takes the least. `start` is the sum where nothing is taken. No score may be infinite.
    """
    if len(scores) == 0:
        return BestCut(start, np.inf, None)
    bins = _bins_of(scores)
    sums = np.bincount(bins, gains, NUM_BINS)
    before = start + np.cumsum(sums) - sums
    ends = before + sums
    highest = max(start, float(ends.max()))
    bounds = before + np.bincount(bins, np.maximum(gains, 0), NUM_BINS)
    is_open = bounds >= highest - equal
    values, lowest = _cuts_within(scores, gains, bins, is_open[bins], before)
    values, lowest = np.append(start, values), np.append(np.inf, lowest)
    first = int(np.argmax(values >= values.max() - equal))
    lower = scores[scores < lowest[first]]
    following = float(lower.max()) if len(lower) else None
    return BestCut(float(values[first]), float(lowest[first]), following)


def _bins_of(scores: Float32[np.ndarray, " p"]) -> Int[np.ndarray, " p"]:
    """The bin of each score: the first holds the highest, and equal scores are in one."""
    high, low = float(scores.max()), float(scores.min())
    scale = (NUM_BINS - 1) / max(high - low, 1e-30)
    return np.asarray(((high - scores.astype(np.float64)) * scale).astype(np.int64))


def _cuts_within(
    scores: Float32[np.ndarray, " p"],
    gains: Float64[np.ndarray, " p"],
    bins: Int[np.ndarray, " p"],
    chosen: Bool[np.ndarray, " p"],
    before: Float64[np.ndarray, " b"],
) -> tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, " c"]]:
    """The running sums at the cuts of the chosen scores' bins, and the lowest score of each."""
    at = np.flatnonzero(chosen)
    at = at[np.argsort(-scores[at], kind="stable")]
    within = np.cumsum(gains[at])
    is_first = np.append(True, np.diff(bins[at]) != 0)
    # What was added up before the bin's first score is not the bin's own.
    offsets = (within - gains[at])[is_first]
    values = within - offsets[np.cumsum(is_first) - 1] + before[bins[at]]
    is_last = np.append(scores[at][1:] < scores[at][:-1], True)
    return values[is_last], scores[at][is_last].astype(np.float64)
