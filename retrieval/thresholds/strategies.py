"""How candidates become matches, and how what that takes is fitted to some of the rows.

A strategy is fitted on chosen rows and then says of all rows what they reach by that fit. So any of
them can be cross-fitted: what is fitted never sees the rows that it is reported on.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Shaped

from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Outcome, Pool
from retrieval.thresholds.rules import Bounds

NO_MATCH = 1 + 1e-6
"""A threshold that no score reaches."""


def reaches_none(threshold: float) -> bool:
    """True where a threshold is `NO_MATCH`, but for rounding.

    Above it lie only scores of weights of which some are below 0.
    """
    return abs(threshold - NO_MATCH) < (NO_MATCH - 1) / 2


@dataclass(frozen=True)
class Fit:
    """What was fitted: a threshold for each space that is cut by its own scores.

    `by_category` holds those of categories that have their own, and `weights` those of the spaces
    where they were fitted too. `value` is the objective's on the rows that were chosen.
    """

    thresholds: tuple[float, ...]
    value: float
    by_category: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    weights: tuple[float, ...] | None = None

    def of_rows(self, categories: Shaped[np.ndarray, " q"] | None) -> Float64[np.ndarray, "s #q"]:
        """The thresholds of each row: those of its category, else the common ones."""
        if categories is None or not self.by_category:
            return np.array(self.thresholds)[:, None]
        names, members = np.unique(categories.astype(str), return_inverse=True)
        own = [self.by_category.get(name, self.thresholds) for name in names.tolist()]
        return np.asarray(np.array(own).T[:, members])


def matches_of(
    candidates: Candidates,
    limits: Bounds,
    thresholds: Float64[np.ndarray, "s #q"],
    *,
    takes_any: bool = True,
) -> Bool[np.ndarray, "q c"]:
    """The matches among candidates: those whose scores reach the thresholds, within the limits.

    With several spaces any score that reaches its own is enough (union), or all have to
    (intersection).
    """
    return taken_within(limits, reached_by(candidates, thresholds), takes_any=takes_any)


def reached_by(
    candidates: Candidates, thresholds: Float64[np.ndarray, "s #q"]
) -> Bool[np.ndarray, "s q c"]:
    """True where a score reaches the threshold of its space and row."""
    return np.stack(list(map(reach, candidates.scores, thresholds)))


def taken_within(
    limits: Bounds, reached: Bool[np.ndarray, "s q c"], *, takes_any: bool = True
) -> Bool[np.ndarray, "q c"]:
    """The matches by what is reached: in any space or in all of them, within the limits."""
    taken = reached.any(axis=0) if takes_any else reached.all(axis=0)
    return np.asarray((taken & limits.possible) | limits.always)


def reach(
    scores: Float32[np.ndarray, "q c"], thresholds: Float64[np.ndarray, " #q"]
) -> Bool[np.ndarray, "q c"]:
    """True where a score is not below the threshold of its row.

    The threshold counts as the lowest float32 that is not below it: one halfway between two
    neighbouring float32 scores would otherwise be rounded onto one of them.
    """
    rounded = thresholds.astype(np.float32)
    above = np.nextafter(rounded, np.float32(np.inf))
    return np.asarray(scores >= np.where(rounded < thresholds, above, rounded)[:, None])


class Strategy(ABC):
    """A way from candidates to matches, with something to fit."""

    @abstractmethod
    def fit(self, chosen: Bool[np.ndarray, " q"]) -> Fit:
        """The best for the chosen rows."""

    def fits(self, choices: Sequence[Bool[np.ndarray, " q"]]) -> list[Fit]:
        """The best for each of several choices of rows."""
        return [self.fit(chosen) for chosen in choices]

    @abstractmethod
    def outcome(self, fit: Fit) -> Outcome:
        """What each row reaches by a fit."""

    def with_weights(self, weights: tuple[float, ...] | None) -> "Strategy":
        """The strategy with the weights of a fit: itself where none are fitted."""
        return self


class OneThreshold(Strategy):
    """The exactly best threshold of one score, the best of all distinct cuts."""

    def __init__(self, pool: Pool, objective: Objective) -> None:
        (self.sweep,) = pool.sweeps(objective)
        self._pool = pool
        self._objective = objective

    def fit(self, chosen: Bool[np.ndarray, " q"]) -> Fit:
        """The threshold of the chosen rows' best cut."""
        cuts = self.sweep.cuts(self._pool.limits, chosen)
        best = cuts.best(self._objective, self._pool.num_true_pairs(chosen))
        return Fit((best.threshold,), best.value)

    def outcome(self, fit: Fit) -> Outcome:
        """What each row reaches at the threshold."""
        pool = self._pool
        thresholds = fit.of_rows(pool.categories)
        return pool.outcome(matches_of(pool.candidates, pool.limits, thresholds))


class ByCategory(Strategy):
    """Thresholds of their own for the rows of each category, drawn towards the common ones.

    A category of m chosen rows moves by m / (m + `shrinkage`) of the way from the common threshold
    to the one that is best for it alone, so that small categories stay near what all rows say.

    Source: the shrinkage of James and Stein (1961), with a fixed strength as in m-estimates.
    """

    def __init__(
        self, plain: Strategy, categories: Shaped[np.ndarray, " q"], shrinkage: float
    ) -> None:
        self.plain = plain
        self._categories = categories.astype(str)
        self._shrinkage = shrinkage

    def fit(self, chosen: Bool[np.ndarray, " q"]) -> Fit:
        """The common thresholds, and those of each category among the chosen rows."""
        return self.fits([chosen])[0]

    def fits(self, choices: Sequence[Bool[np.ndarray, " q"]]) -> list[Fit]:
        """The same for each of several choices of rows."""
        commons = self.plain.fits(choices)
        return [self._with_own(*each) for each in zip(commons, choices, strict=True)]

    def outcome(self, fit: Fit) -> Outcome:
        """What each row reaches at the thresholds of its category."""
        return self.plain.outcome(fit)

    def _with_own(self, common: Fit, chosen: Bool[np.ndarray, " q"]) -> Fit:
        # Thresholds of scores that are weighted otherwise could not be drawn towards one another.
        alike = self.plain.with_weights(common.weights)
        by_category = {
            name: self._shrunk(common, alike, chosen & (self._categories == name))
            for name in np.unique(self._categories[chosen]).tolist()
            if name
        }
        return replace(common, by_category=by_category)

    def _shrunk(
        self, common: Fit, strategy: Strategy, rows: Bool[np.ndarray, " q"]
    ) -> tuple[float, ...]:
        own = strategy.fit(rows).thresholds
        num_rows = int(rows.sum())
        share = num_rows / (num_rows + self._shrinkage)
        return tuple(
            there + share * (here - there)
            for here, there in zip(own, common.thresholds, strict=True)
        )
