"""How sure a mean is."""

import numpy as np
from jaxtyping import Float64, Int

NUM_DRAWS = 1000
DRAW_CELLS = 2**22  # group numbers drawn at once


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
    inverse = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(inverse)
    sums = np.bincount(inverse, values)
    num_together = max(1, DRAW_CELLS // len(sizes))
    means = []
    for start in range(0, NUM_DRAWS, num_together):
        num_draws = min(num_together, NUM_DRAWS - start)
        drawn = generator.integers(0, len(sizes), (num_draws, len(sizes)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)
