"""One threshold for each of several spaces, tuned together: any score is enough, or all have to be.

With the thresholds of all other spaces fixed, the best one of a space is found exactly, as among
the cuts of a single space: what the others take is taken already (union), or what they leave is
left (intersection). So thresholds are improved one after the other until none can be, from the
highest peaks of a grid, and then once more on finer grids around the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float32, Float64

from retrieval.thresholds.grids import Grid
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Outcome, Pool
from retrieval.thresholds.rules import Bounds
from retrieval.thresholds.strategies import NO_MATCH, Fit, Strategy, matches_of, reach
from retrieval.thresholds.sweeps import Best

DISTANCES = tuple(tenth / 10 for tenth in range(1, 10))
"""A grid of thresholds 1 − these is a usual way of tuning two: it is always part of the search."""

GRID_WORK = 2**26
"""Cells of a grid times the rows that it is summed over: a second or so."""

LEAST_CELLS, MOST_CELLS = 600, 2**12
NUM_PEAKS = 3
NUM_FINER = 2
NUM_ROUNDS = 20
LEAST_GAIN = 1e-12
NUM_SHOWN = 60  # steps of each axis of the picture
ALL = -2.0
"""A threshold that every score reaches."""


class SeveralThresholds(Strategy):
    """Thresholds of several spaces, tuned together."""

    def __init__(self, pool: Pool, objective: Objective, *, takes_any: bool) -> None:
        self._pool = pool
        self._objective = objective
        self._takes_any = takes_any
        self._sweeps = pool.sweeps(objective)

    def fit(self, chosen: Bool[np.ndarray, " q"]) -> Fit:
        """The best thresholds that were found.

        Exactly the best where all distinct scores of the chosen rows' true matches fit on the grid,
        unless only some rows are chosen and there are `uneven_pairs`: a share of such a pair may
        come and go with scores that are not on the grid. Else the best was found in 98 of 100
        random examples, and hardly less in the others.
        """
        spaces = range(len(self._sweeps))
        scores = [np.unique(self._true_scores(space, chosen)) for space in spaces]
        levels = [self._levels(own, self._num_levels(chosen)) for own in scores]
        best = self._climbed_from(levels, NUM_PEAKS, chosen)
        for _ in range(NUM_FINER):
            levels = [
                self._around(threshold, coarse, own, self._num_levels(chosen))
                for threshold, coarse, own in zip(best.thresholds, levels, scores, strict=True)
            ]
            best = max(best, self._climbed_from(levels, 1, chosen), key=lambda fit: fit.value)
        return best

    def outcome(self, fit: Fit) -> Outcome:
        """What each row reaches at the thresholds."""
        pool = self._pool
        thresholds = fit.of_rows(pool.categories)
        matches = matches_of(pool.candidates, pool.limits, thresholds, takes_any=self._takes_any)
        return pool.outcome(matches)

    def values_at(
        self, levels: Sequence[Float64[np.ndarray, "_"]], chosen: Bool[np.ndarray, " q"]
    ) -> Float64[np.ndarray, "..."]:
        """The objective of the chosen rows at each combination of thresholds."""
        return Grid(levels, self._takes_any).values(self._pool, self._objective, chosen)

    def axis(
        self, space: int, chosen: Bool[np.ndarray, " q"], marked: float
    ) -> Float64[np.ndarray, " a"]:
        """Thresholds of one space, ascending, that a picture shows."""
        scores = self._true_scores(space, chosen)
        low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 1.0)
        return np.unique([*np.linspace(min(low, marked), max(high, marked), NUM_SHOWN), marked])

    def _num_levels(self, chosen: Bool[np.ndarray, " q"]) -> int:
        num_cells = np.clip(GRID_WORK // max(1, int(chosen.sum())), LEAST_CELLS, MOST_CELLS)
        return int(num_cells ** (1 / len(self._sweeps)))

    def _levels(self, scores: Float32[np.ndarray, " p"], num: int) -> Float64[np.ndarray, " l"]:
        """The usual grid, scores of true matches, and one level that leaves all to the others."""
        nothing = NO_MATCH if self._takes_any else ALL
        given = [*(1 - distance for distance in DISTANCES), nothing]
        return np.unique([*given, *_spread(scores, num - len(given))])

    def _around(
        self,
        threshold: float,
        coarse: Float64[np.ndarray, " l"],
        scores: Float32[np.ndarray, " p"],
        num: int,
    ) -> Float64[np.ndarray, " m"]:
        """Levels between those below and above a threshold, itself among them."""
        low = coarse[coarse < threshold].max(initial=-np.inf)
        high = coarse[coarse > threshold].min(initial=np.inf)
        near = scores[(scores > low) & (scores < high)]
        return np.unique([threshold, *_spread(near, num - 1)])

    def _climbed_from(
        self,
        levels: Sequence[Float64[np.ndarray, "_"]],
        num_peaks: int,
        chosen: Bool[np.ndarray, " q"],
    ) -> Fit:
        """The best that is reached from the highest peaks of a grid."""
        values = self.values_at(levels, chosen)
        peaks = np.argwhere(values >= scipy.ndimage.maximum_filter(values, 3, mode="nearest"))
        highest = peaks[np.argsort(-values[tuple(peaks.T)], kind="stable")[:num_peaks]]
        starts = [tuple(own[at] for own, at in zip(levels, peak, strict=True)) for peak in highest]
        return max((self._climbed(start, chosen) for start in starts), key=lambda fit: fit.value)

    def _climbed(self, thresholds: tuple[float, ...], chosen: Bool[np.ndarray, " q"]) -> Fit:
        """Each threshold made the best beside the others, in turn, until none can be better."""
        best, before = Fit(tuple(map(float, thresholds)), -np.inf), -np.inf
        for _ in range(NUM_ROUNDS):
            for space in range(len(self._sweeps)):
                found = self._best(best.thresholds, space, chosen)
                moved = (*best.thresholds[:space], found.threshold, *best.thresholds[space + 1 :])
                best = Fit(moved, found.value)
            if best.value <= before + LEAST_GAIN:
                break
            before = best.value
        return best

    def _true_scores(self, space: int, chosen: Bool[np.ndarray, " q"]) -> Float32[np.ndarray, " p"]:
        pool = self._pool
        is_shown = pool.judged.relevant & pool.limits.possible & chosen[:, None]
        return np.asarray(pool.candidates.scores[space][:, 1:][is_shown[:, 1:]])

    def _best(
        self, thresholds: tuple[float, ...], space: int, chosen: Bool[np.ndarray, " q"]
    ) -> Best:
        cuts = self._sweeps[space].cuts(self._without(thresholds, space), chosen)
        return cuts.best(self._objective, self._pool.num_true_pairs(chosen))

    def _without(self, thresholds: tuple[float, ...], space: int) -> Bounds:
        """What is left for one space to decide."""
        limits = self._pool.limits
        always, possible = limits.always, limits.possible
        for other, threshold in enumerate(thresholds):
            if other == space:
                continue
            reached = reach(self._pool.candidates.scores[other], np.array([threshold]))
            if self._takes_any:
                always = always | (reached & limits.possible)
            else:
                possible = possible & reached
        return Bounds(always, np.asarray(possible | always))


@dataclass(frozen=True)
class Surface:
    """The objective over thresholds of two spaces: `values[i, j]` at `first[i]` and `second[j]`."""

    first: Float64[np.ndarray, " a"]
    second: Float64[np.ndarray, " b"]
    values: Float64[np.ndarray, "a b"]


def surface(
    strategy: SeveralThresholds, chosen: Bool[np.ndarray, " q"], marked: tuple[float, ...]
) -> Surface:
    """The objective of the chosen rows at pairs of thresholds, the marked one among them.

    The values of each are spread evenly between the lowest and the highest score of a true match.
    """
    first, second = (strategy.axis(space, chosen, marked[space]) for space in (0, 1))
    return Surface(first, second, strategy.values_at((first, second), chosen))


def _spread(scores: Float32[np.ndarray, " p"], num: int) -> Float32[np.ndarray, " m"]:
    """So many of some scores, evenly among them: all where there are no more."""
    if len(scores) <= num:
        return scores
    places = np.linspace(0, len(scores) - 1, max(num, 2)).round().astype(int)
    return np.asarray(scores[places])
