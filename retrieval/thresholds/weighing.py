"""Weights of spaces that are fitted together with a threshold, from a grid of shares."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TypeVar

import numpy as np
from jaxtyping import Bool

from retrieval.thresholds.pools import Outcome
from retrieval.thresholds.strategies import Fit, Strategy

Shares = tuple[float, ...]
"""Those of several spaces in their combined score: they add up to 1."""

Made = TypeVar("Made")

MOST_SIGNED = 3
"""Spaces whose shares may be below 0: the grid of four has some 2,000 choices."""


class MadeForShares(Mapping[Shares, Made]):
    """What is made of shares when it is asked for; only the last is kept, as grids are large."""

    def __init__(self, grid: Sequence[Shares], make: Callable[[Shares], Made]) -> None:
        self._grid = grid
        self._make = make
        self._last: tuple[Shares, Made] | None = None

    def __getitem__(self, shares: Shares) -> Made:
        if self._last is not None and self._last[0] == shares:
            return self._last[1]
        if shares not in self._grid:
            raise KeyError(shares)
        self._last = None  # never two at once
        made = self._make(shares)
        self._last = shares, made
        return made

    def __iter__(self) -> Iterator[Shares]:
        return iter(self._grid)

    def __len__(self) -> int:
        return len(self._grid)


class BestOf(Strategy):
    """The best of several strategies, each with weights of its own: weights fitted over a grid."""

    def __init__(self, by_weights: Mapping[Shares, Strategy]) -> None:
        self._by_weights = by_weights

    def fit(self, chosen: Bool[np.ndarray, " q"]) -> Fit:
        """The best fit of any, the first of equal ones."""
        return self.fits([chosen])[0]

    def fits(self, choices: Sequence[Bool[np.ndarray, " q"]]) -> list[Fit]:
        """The best for each choice of rows; each strategy is looked at once for all of them."""
        best: list[Fit] = []
        for weights, strategy in self._by_weights.items():
            found = [replace(fit, weights=weights) for fit in strategy.fits(choices)]
            best = list(map(_better, best, found)) if best else found
        return best

    def outcome(self, fit: Fit) -> Outcome:
        """What each row reaches with the weights of the fit."""
        return self.with_weights(fit.weights).outcome(fit)

    def with_weights(self, weights: Shares | None) -> Strategy:
        """The strategy that has these weights."""
        assert weights is not None
        return self._by_weights[weights]


def _better(one: Fit, other: Fit) -> Fit:
    return other if other.value > one.value else one


def weight_grid(num_spaces: int, *, signed: bool = False) -> list[Shares]:
    """Shares of so many spaces that add up to 1: every twentieth of two, every tenth of more.

    None is 0. Where they are `signed`, those below 0 add up to no less than −½.
    """
    steps = 20 if num_spaces == 2 else 10
    below = steps // 2 if signed else 0
    levels = [level for level in range(-below, steps + below + 1) if level]
    return [
        tuple(share / steps for share in (*first, last))
        for first in product(levels, repeat=num_spaces - 1)
        for last in [steps - sum(first)]
        if last and sum(min(share, 0) for share in (*first, last)) >= -below
    ]
