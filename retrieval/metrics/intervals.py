"""How sure a mean is, and a difference between two of them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

NUM_DRAWS = 1000
DRAW_CELLS = 2**22  # group numbers drawn at once

Ratio = tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]
"""What the numerator and the denominator of a figure are the sums of, row by row."""

ROUNDING = 1e-12
"""Figures lie between 0 and 1: the same values added up in another order are no further apart."""


@dataclass(frozen=True)
class Difference:
    """How much higher the second of two figures over the same rows is, and its 95 % interval.

    `metric` is what they are.
    """

    metric: str
    value: float
    interval: tuple[float, float]

    @property
    def is_clear(self) -> bool:
        """Whether the interval lies on one side of 0, by more than sums are rounded by."""
        return self.interval[0] > ROUNDING or self.interval[1] < -ROUNDING


def bootstrap_interval(
    values: Float64[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    generator: np.random.Generator,
) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of the mean over 1,000 draws of as many groups as there are.

    Rows of one group stand or fall together, so groups are drawn and not rows; a large group
    counts for each of its rows.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    (found,) = bootstrap_ratio_intervals([(values, np.ones(len(values)))], groups, generator)
    assert found is not None
    return found


def bootstrap_ratio_intervals(
    ratios: Iterable[Ratio],
    groups: Int[np.ndarray, " n"],
    generator: np.random.Generator,
) -> list[tuple[float, float] | None]:
    """`bootstrap_interval` of ratios of sums over the rows, all of the same draws.

    Each is given by what its numerator and its denominator are the sums of. A mean over some of the
    rows is such a ratio, its denominators 1 and 0; so is the F1 of pairs. Draws whose denominator
    is 0 are left out: None where it is 0 in all of them.
    """
    drawn = _drawn_ratios(ratios, groups, generator)
    return [_percentiles(values[~np.isnan(values)]) for values in drawn.T]


def paired_difference(
    metric: str,
    before: Float64[np.ndarray, " n"],
    after: Float64[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    generator: np.random.Generator,
) -> Difference:
    """How much higher the second mean is than the first, of the same rows in the same order.

    The intervals of two means may overlap while one is better on nearly every draw: what is hard
    for one is hard for the other. So the difference is drawn, and not each. Rows where either value
    is NaN are left out of both.
    """
    is_known = ~(np.isnan(before) | np.isnan(after))
    differences = (after - before)[is_known]
    interval = bootstrap_interval(differences, groups[is_known], generator)
    return Difference(metric, float(differences.mean()), interval)


def paired_ratio_difference(
    metric: str,
    before: Ratio,
    after: Ratio,
    groups: Int[np.ndarray, " n"],
    generator: np.random.Generator,
) -> Difference:
    """`paired_difference` of two ratios of sums, neither of whose denominators is 0."""
    value = after[0].sum() / after[1].sum() - before[0].sum() / before[1].sum()
    differences = np.diff(_drawn_ratios([before, after], groups, generator), axis=1)[:, 0]
    interval = _percentiles(differences[~np.isnan(differences)])
    return Difference(metric, float(value), interval or (float(value), float(value)))


def _drawn_ratios(
    ratios: Iterable[Ratio], groups: Int[np.ndarray, " n"], generator: np.random.Generator
) -> Float64[np.ndarray, "draws m"]:
    """Each ratio in each draw, NaN where its denominator is 0."""
    inverse = np.unique(groups, return_inverse=True)[1]
    sums = [np.bincount(inverse, part) for ratio in ratios for part in ratio]
    drawn = _drawn_sums(np.stack(sums, axis=1), generator)
    above, below = drawn[:, ::2], drawn[:, 1::2]
    values = np.full(above.shape, np.nan)
    np.divide(above, below, out=values, where=below > 0)
    return values


def _drawn_sums(
    sums: Float64[np.ndarray, "g m"], generator: np.random.Generator
) -> Float64[np.ndarray, "draws m"]:
    """The sums over each draw of as many groups as there are."""
    num_groups = len(sums)
    num_together = max(1, DRAW_CELLS // num_groups)
    parts = []
    for start in range(0, NUM_DRAWS, num_together):
        num_draws = min(num_together, NUM_DRAWS - start)
        drawn = generator.integers(0, num_groups, (num_draws, num_groups))
        drawn += num_groups * np.arange(num_draws)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=num_draws * num_groups)
        parts.append(counts.reshape(num_draws, num_groups).astype(np.float64) @ sums)
    return np.concatenate(parts)


def _percentiles(values: Float64[np.ndarray, " d"]) -> tuple[float, float] | None:
    if len(values) == 0:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
