"""An objective at every combination of some thresholds of several spaces, all at once.

Each candidate falls into one cell of a histogram, by the highest threshold that it reaches in each
space; running sums along each axis then count what is taken at every cell. So a grid of m cells
costs O(n·(c + m)), where going through its cells one by one costs O(n·c·m).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.uneven_pairs import UnevenPairs

BLOCK_CELLS = 2**18
"""Cells of the rows' histograms that are worked on at once, so that they fit in the cache."""


@dataclass(frozen=True)
class Grid:
    """Thresholds of each space, ascending, and whether any score that reaches its own is enough."""

    levels: Sequence[Float64[np.ndarray, "_"]]
    takes_any: bool

    def values(
        self, pool: Pool, objective: Objective, chosen: Bool[np.ndarray, " q"]
    ) -> Float64[np.ndarray, "..."]:
        """The objective of the chosen rows at each combination, one axis for each space."""
        rows = np.flatnonzero(chosen)
        step = max(1, BLOCK_CELLS // int(np.prod(self._bins)))
        shape = tuple(map(len, self.levels))
        sums = {gain: np.zeros(shape) for gain in objective.gains}
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            for gain, values in self._sums(pool, objective, block).items():
                sums[gain] += values
        if "pairs" in objective.gains and pool.uneven_pairs is not None:
            for gain, values in self._uneven_sums(pool, pool.uneven_pairs, chosen).items():
                sums[gain] += values
        flat = {gain: values.reshape(-1) for gain, values in sums.items()}
        return objective.values(flat, len(rows), pool.num_true_pairs(chosen)).reshape(shape)

    @property
    def _bins(self) -> tuple[int, ...]:
        return tuple(len(levels) + 1 for levels in self.levels)

    def _sums(
        self, pool: Pool, objective: Objective, rows: Int[np.ndarray, " b"]
    ) -> dict[str, Float64[np.ndarray, "..."]]:
        """What the rows gain at each combination."""
        always, relevant = pool.limits.always[rows], pool.judged.relevant[rows]
        is_open = pool.limits.possible[rows] & ~always
        cells = self._cells(pool.candidates.scores[:, rows])
        if "pairs" in objective.gains:
            pairs = pool.pair_weights[rows]
            hits = pairs * relevant
            return {
                "pairs": self._taken(cells, is_open * pairs) + (pairs * always).sum(),
                "hits": self._taken(cells, is_open * hits) + (hits * always).sum(),
            }
        each = len(rows), *(1 for _ in self.levels)
        common = self._taken_by_row(cells, is_open & relevant)
        common += (always & relevant).sum(axis=1, dtype=np.float32).reshape(each)
        others = self._taken_by_row(cells, is_open)
        others += (always.sum(axis=1) + pool.judged.num_true[rows]).reshape(each)
        return {"f1": (2 * common / others).sum(axis=0, dtype=np.float64)}  # as `row_f1` has it

    def _uneven_sums(
        self, pool: Pool, uneven: UnevenPairs, chosen: Bool[np.ndarray, " q"]
    ) -> dict[str, Float64[np.ndarray, "..."]]:
        """What the rows gain besides, where they take a pair and its other side does not.

        Of any two sides, either takes a pair where the higher scores reach their thresholds in
        some space, and both do where the lower ones do in all.
        """
        own = chosen[uneven.rows(pool.candidates.rows.shape[1])]
        scores = np.where(pool.limits.always, np.float32(np.inf), pool.candidates.scores)
        scores = scores.reshape(len(scores), -1)
        here, there = scores[:, None, uneven.here[own]], scores[:, None, uneven.there[own]]
        if self.takes_any:
            more, less = self._cells(np.maximum(here, there)), self._cells(there)
        else:
            more, less = self._cells(here), self._cells(np.minimum(here, there))
        shares = {
            "pairs": uneven.pair_shares[None, own],
            "hits": uneven.hit_shares[None, own],
        }
        return {
            gain: self._taken(more, each) - self._taken(less, each) for gain, each in shares.items()
        }

    def _cells(self, scores: Float[np.ndarray, "s b c"]) -> Int[np.ndarray, "b c"]:
        """The bin of each candidate: how many levels it reaches in each space."""
        reached = [
            np.searchsorted(levels, own, side="right")
            for levels, own in zip(self.levels, scores, strict=True)
        ]
        return np.asarray(np.ravel_multi_index(reached, self._bins))

    def _taken(
        self, cells: Int[np.ndarray, "b c"], weights: Float[np.ndarray, "b c"]
    ) -> Float64[np.ndarray, "..."]:
        size = int(np.prod(self._bins))
        counts = np.bincount(cells.reshape(-1), weights.reshape(-1), minlength=size)
        return np.asarray(self._summed(counts.reshape(1, *self._bins))[0])

    def _taken_by_row(
        self, cells: Int[np.ndarray, "b c"], counted: Bool[np.ndarray, "b c"]
    ) -> Float32[np.ndarray, "b ..."]:
        size = int(np.prod(self._bins))
        own = cells + size * np.arange(len(cells))[:, None]
        counts = np.bincount(own[counted], minlength=len(cells) * size).astype(np.float32)
        return np.asarray(self._summed(counts.reshape(len(cells), *self._bins)))

    def _summed(self, counts: Float[np.ndarray, "b ..."]) -> Float[np.ndarray, "b ..."]:
        """From what lies in each bin to what is taken at each combination.

        All scores reach their levels where each lies in a higher bin; none does where no one does.
        The sums are products with matrices of 0 and 1, which is the fastest way to have them; small
        whole numbers are exact in float32.
        """
        taken = counts
        for axis, levels in enumerate(self.levels, start=1):
            is_reached = np.arange(len(levels) + 1)[:, None] > np.arange(len(levels))
            summed = (~is_reached if self.takes_any else is_reached).astype(counts.dtype)
            taken = np.moveaxis(np.moveaxis(taken, axis, -1) @ summed, -1, axis)
        if not self.takes_any:
            return taken
        return np.asarray(counts.sum(axis=tuple(range(1, counts.ndim)), keepdims=True) - taken)
