"""One threshold for each of several spaces, tuned together: any score is enough, or all have to be.

With the thresholds of all other spaces fixed, the best one of a space is found exactly, as among
the cuts of a single space: what the others take is taken already (union), or what they leave is
left (intersection). So thresholds are improved one after the other until none can be, from several
starts; for two spaces these are the exactly best of one for each of many values of the other, which
is never below a grid of such values.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float32, Float64

from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Outcome, Pool
from retrieval.thresholds.rules import Bounds
from retrieval.thresholds.strategies import NO_MATCH, Fit, Strategy, matches_of
from retrieval.thresholds.sweeps import Best

NUM_LEVELS = 8
"""Shares of the true matches that the values of one threshold keep, while the others are swept."""

DISTANCES = tuple(tenth / 10 for tenth in range(1, 10))
"""The grid of the published heat map: thresholds are 1 − these, besides the levels."""

NUM_SHOWN = 25  # steps of each axis of the picture
NUM_STARTS = 3
NUM_ROUNDS = 20
LEAST_GAIN = 1e-12
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
        """The best thresholds that were found from any start."""
        starts = sorted(self._starts(chosen), key=lambda fit: -fit.value)[:NUM_STARTS]
        return max((self._climbed(start, chosen) for start in starts), key=lambda fit: fit.value)

    def outcome(self, fit: Fit) -> Outcome:
        """What each row reaches at the thresholds."""
        pool = self._pool
        thresholds = fit.of_rows(pool.categories)
        matches = matches_of(pool.candidates, pool.limits, thresholds, takes_any=self._takes_any)
        return pool.outcome(matches)

    def axis(
        self, space: int, chosen: Bool[np.ndarray, " q"], marked: float
    ) -> Float64[np.ndarray, " a"]:
        """Thresholds of one space, ascending, that a picture shows."""
        scores = self._true_scores(space, chosen)
        low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 1.0)
        return np.unique([*np.linspace(min(low, marked), max(high, marked), NUM_SHOWN), marked])

    def along(
        self, first: float, second: Float64[np.ndarray, " b"], chosen: Bool[np.ndarray, " q"]
    ) -> Float64[np.ndarray, " b"]:
        """The objective at one threshold of the first space and many of the second."""
        cuts = self._sweeps[1].cuts(self._without((first, 0.0), 1), chosen)
        values = cuts.values(self._objective, self._pool.num_true_pairs(chosen))
        return np.asarray(values[np.searchsorted(-cuts.lowest, -second, side="right") - 1])

    def _starts(self, chosen: Bool[np.ndarray, " q"]) -> list[Fit]:
        """Each space swept while all others stand at one level."""
        spaces = range(len(self._sweeps))
        levels = [self._levels(space, chosen) for space in spaces]
        nothing = NO_MATCH if self._takes_any else ALL
        starts = []
        for space in spaces:
            others = [[*levels[at], nothing] if at != space else [0.0] for at in spaces]
            together = product(*others) if len(others) <= 2 else _side_by_side(others)
            starts += [self._improved(Fit(values, -np.inf), space, chosen) for values in together]
        return starts

    def _levels(self, space: int, chosen: Bool[np.ndarray, " q"]) -> list[float]:
        found = self._true_scores(space, chosen)
        quantiles = np.quantile(found, np.linspace(0, 1, NUM_LEVELS)) if len(found) else []
        return [*(1 - distance for distance in DISTANCES), *map(float, quantiles)]

    def _true_scores(self, space: int, chosen: Bool[np.ndarray, " q"]) -> Float32[np.ndarray, " p"]:
        scores = self._pool.candidates.scores[space][:, 1:][chosen]
        true = scores[self._pool.judged.relevant[:, 1:][chosen]]
        return np.asarray(true[np.isfinite(true)])

    def _climbed(self, start: Fit, chosen: Bool[np.ndarray, " q"]) -> Fit:
        best = start
        for _ in range(NUM_ROUNDS):
            before = best.value
            for space in range(len(self._sweeps)):
                best = self._improved(best, space, chosen)
            if best.value <= before + LEAST_GAIN:
                break
        return best

    def _improved(self, fit: Fit, space: int, chosen: Bool[np.ndarray, " q"]) -> Fit:
        """With the exactly best threshold of one space, the others as they are."""
        best = self._best(fit.thresholds, space, chosen)
        if best.value <= fit.value + LEAST_GAIN:
            return fit
        thresholds = list(fit.thresholds)
        thresholds[space] = best.threshold
        return Fit(tuple(thresholds), best.value)

    def _best(
        self, thresholds: tuple[float, ...], space: int, chosen: Bool[np.ndarray, " q"]
    ) -> Best:
        cuts = self._sweeps[space].cuts(self._without(thresholds, space), chosen)
        return cuts.best(self._objective, self._pool.num_true_pairs(chosen))

    def _without(self, thresholds: tuple[float, ...], space: int) -> Bounds:
        """What is left for one space to decide."""
        limits, always, possible = (
            self._pool.limits,
            self._pool.limits.always,
            self._pool.limits.possible,
        )
        for other, threshold in enumerate(thresholds):
            if other == space:
                continue
            reached = self._pool.candidates.scores[other].astype(np.float64) >= threshold
            if self._takes_any:
                always = always | (reached & limits.possible)
            else:
                possible = possible & reached
        return Bounds(always, possible | always)


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
    axes = [strategy.axis(space, chosen, marked[space]) for space in (0, 1)]
    values = [strategy.along(float(first), axes[1], chosen) for first in axes[0]]
    return Surface(axes[0], axes[1], np.array(values))


def _side_by_side(values: Sequence[Sequence[float]]) -> Iterator[tuple[float, ...]]:
    """The first of each, the second of each, …; a single one stands beside all of the others."""
    longest = max(map(len, values))
    return (tuple(each[min(at, len(each) - 1)] for each in values) for at in range(longest))
