"""Every cut of a space's scores, and what is reached there: one sort, then running sums.

Taking one more candidate changes the F1 of one row by an amount that depends only on how many of
that row's candidates were taken before. So the mean at every cut is a running sum over all
candidates in order of score: O(n·k·log(n·k)) for all cuts, where a grid costs O(n·k) for each of
its steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Shaped

from retrieval.metrics.judgements import Judgements
from retrieval.metrics.sets import row_f1, row_precision, row_recall
from retrieval.thresholds.bins import best_of_bins
from retrieval.thresholds.objectives import EQUAL, Objective, best_cut
from retrieval.thresholds.rules import Bounds
from retrieval.thresholds.uneven_pairs import UnevenPairs

ABOVE_HIGHEST = 1e-6
"""How far the threshold that matches nothing lies above the highest score."""

BLOCK_CELLS = 2**20
"""Candidates that are worked on at once, so that what lies between fits in the cache."""

ROW_GAINS = {"f1", "precision", "recall"}


@dataclass(frozen=True)
class Best:
    """The best cut: its value, and a threshold that takes exactly what it takes."""

    value: float
    threshold: float


class Sweep:
    """The candidates of q queries in the order of one space's scores.

    `pair_weights`, the share of a pair that each candidate is, are needed for the gains `pairs` and
    `hits` alone; `uneven` are pairs that are shared otherwise at some thresholds.
    """

    def __init__(
        self,
        scores: Float32[np.ndarray, "q c"],
        judged: Judgements,
        pair_weights: Float32[np.ndarray, "q c"] | None = None,
        uneven: UnevenPairs | None = None,
    ) -> None:
        self._scores_as_given = scores
        self._uneven = uneven
        self._order = _order_in_rows(scores)
        self.scores: Float32[np.ndarray, "q c"] = self._sorted(scores)
        self.relevant: Bool[np.ndarray, "q c"] = self._sorted(judged.relevant)
        self.num_true = judged.num_true
        self._weights = None if pair_weights is None else self._sorted(pair_weights)

    def cuts(self, bounds: Bounds, chosen: Bool[np.ndarray, " q"] | None = None) -> "Cuts":
        """The cuts between which the chosen rows' candidates can be taken or not."""
        always, possible = self._sorted(bounds.always), self._sorted(bounds.possible)
        is_open = possible & ~always
        if chosen is not None:
            is_open = is_open & chosen[:, None]
        return Cuts(self, always, is_open, chosen, self._corrections(bounds, chosen))

    def _corrections(
        self, bounds: Bounds, chosen: Bool[np.ndarray, " q"] | None
    ) -> dict[str, Float64[np.ndarray, "q c"]]:
        if self._uneven is None:
            return {}
        corrections = self._uneven.corrections(self._scores_as_given, bounds, chosen)
        return {gain: self._sorted(values) for gain, values in corrections.items()}

    def _sorted(self, values: Shaped[np.ndarray, "q c"]) -> Shaped[np.ndarray, "q c"]:
        if self._order is None:
            return values
        return np.asarray(np.take_along_axis(values, self._order, 1))

    @cached_property
    def by_score(self) -> Int[np.ndarray, " p"]:
        """All candidates, as flat indices, best first; what stands at −inf is none."""
        return best_first(self.scores.reshape(-1))[: int(np.isfinite(self.scores).sum())]

    @cached_property
    def falling(self) -> Float32[np.ndarray, " p"]:
        """The scores of all candidates, best first."""
        return np.asarray(self.scores.reshape(-1)[self.by_score])

    def deltas(
        self, gain: str, always: Bool[np.ndarray, "q c"], is_open: Bool[np.ndarray, "q c"]
    ) -> Float64[np.ndarray, " p"]:
        """What taking each open candidate adds to a gain, after all better ones of its row."""
        found = np.empty(self.scores.shape)
        for rows in self._blocks():
            found[rows] = self._deltas(gain, rows, always[rows], is_open[rows])
        return found.reshape(-1)

    def start(
        self, gain: str, always: Bool[np.ndarray, "q c"], chosen: Bool[np.ndarray, " q"] | None
    ) -> float:
        """The gain where nothing but what is always taken is taken."""
        if gain in ROW_GAINS:
            common, taken = (always & self.relevant).sum(axis=1), always.sum(axis=1)
            values = _row_values(gain, common, taken, self.num_true)
        else:
            values = (self._pair_values(gain, slice(None)) * always).sum(axis=1)
        return float(values.sum() if chosen is None else values[chosen].sum())

    def _deltas(
        self,
        gain: str,
        rows: slice,
        always: Bool[np.ndarray, "b c"],
        is_open: Bool[np.ndarray, "b c"],
    ) -> Float64[np.ndarray, "b c"]:
        if gain not in ROW_GAINS:
            return np.asarray(self._pair_values(gain, rows) * is_open)
        relevant, truth = self.relevant[rows], self.num_true[rows, None]
        common = np.cumsum(is_open & relevant, axis=1, dtype=np.int32)
        common += (always & relevant).sum(axis=1, dtype=np.int32)[:, None]
        taken = np.cumsum(is_open, axis=1, dtype=np.int32)
        taken += always.sum(axis=1, dtype=np.int32)[:, None]
        # Where nothing is taken the value stays, so what lies between two columns is the gain.
        values = _row_values(gain, common, taken, truth)
        return np.diff(values, axis=1, prepend=values[:, :1])

    def _pair_values(self, gain: str, rows: slice) -> Float64[np.ndarray, "b c"]:
        """Each candidate as a pair; the query itself is none."""
        assert self._weights is not None, "pairs are counted where their weights are known"
        weights = self._weights[rows].astype(np.float64)
        return np.asarray(weights * self.relevant[rows]) if gain == "hits" else weights

    def _blocks(self) -> Iterator[slice]:
        step = max(1, BLOCK_CELLS // max(1, self.scores.shape[1]))
        for start in range(0, len(self.scores), step):
            yield slice(start, start + step)


@dataclass(frozen=True)
class Cuts:
    """The cuts of a sweep: `is_open` says which candidates they take or leave.

    `corrections` are what candidates, of rows that are not chosen as well, add to pairs and hits
    besides; empty where none does.
    """

    sweep: Sweep
    always: Bool[np.ndarray, "q c"]
    is_open: Bool[np.ndarray, "q c"]
    chosen: Bool[np.ndarray, " q"] | None
    corrections: Mapping[str, Float64[np.ndarray, "q c"]]

    @cached_property
    def _are_open(self) -> Bool[np.ndarray, " p"]:
        is_open = self.is_open
        if self.corrections:
            is_open = is_open | ((self.corrections["pairs"] != 0) & ~self.always)
        return np.asarray(is_open.reshape(-1)[self.sweep.by_score])

    @cached_property
    def entries(self) -> Int[np.ndarray, " p"]:
        """The candidates that they take, as flat indices, best first."""
        return np.asarray(self.sweep.by_score[self._are_open])

    @cached_property
    def scores(self) -> Float32[np.ndarray, " p"]:
        """The scores of these."""
        return np.asarray(self.sweep.falling[self._are_open])

    @cached_property
    def lowest(self) -> Float64[np.ndarray, " c"]:
        """The lowest score that each takes: +inf first, where none is, then each distinct one."""
        scores = self.scores[self._is_last].astype(np.float64)
        return np.concatenate([[np.inf], scores])

    def sums(self, gain: str) -> Float64[np.ndarray, " c"]:
        """The sum over the chosen rows of f1, precision or recall, or of pairs or hits."""
        deltas = self.sweep.deltas(gain, self.always, self.is_open)[self.entries]
        start = self.sweep.start(gain, self.always, self.chosen)
        if gain in self.corrections:
            deltas = deltas + self.corrections[gain].reshape(-1)[self.entries]
            start += float(self.corrections[gain][self.always].sum())
        return start + np.concatenate([[0.0], np.cumsum(deltas)[self._is_last]])

    @property
    def num_rows(self) -> int:
        """How many rows were chosen."""
        return len(self.always) if self.chosen is None else int(self.chosen.sum())

    def best(self, objective: Objective, num_true_pairs: float = 0.0) -> Best:
        """The cut that an objective is highest at."""
        if objective.name == "row-f1":
            return self._best_row_f1()
        values = self.values(objective, num_true_pairs)
        cut = best_cut(values)
        return Best(float(values[cut]), self.threshold(cut))

    def _best_row_f1(self) -> Best:
        """The same for a plain sum of gains, without sorting all scores."""
        is_open = (self.is_open & (self.sweep.scores > -np.inf)).reshape(-1)
        gains = self.sweep.deltas("f1", self.always, self.is_open)[is_open]
        start = self.sweep.start("f1", self.always, self.chosen)
        scores = self.sweep.scores.reshape(-1)[is_open]
        best = best_of_bins(scores, gains, start, EQUAL * self.num_rows)
        cuts = [best.lowest] if best.following is None else [best.lowest, best.following]
        return Best(best.value / self.num_rows, _halfway(cuts))

    def values(
        self, objective: Objective, num_true_pairs: float = 0.0
    ) -> Float64[np.ndarray, " c"]:
        """An objective's value at each cut; `num_true_pairs` are those of the chosen rows."""
        sums = {gain: self.sums(gain) for gain in objective.gains}
        return objective.values(sums, self.num_rows, num_true_pairs)

    def threshold(self, cut: int) -> float:
        """A threshold that takes the scores down to a cut, and no lower ones."""
        return threshold_between(self.lowest, cut)

    @cached_property
    def _is_last(self) -> Bool[np.ndarray, " p"]:
        """True at the last candidate with each score: equal scores are taken together."""
        return np.append(self.scores[1:] < self.scores[:-1], True)[: len(self.entries)]


def best_first(scores: Float32[np.ndarray, " p"]) -> Int[np.ndarray, " p"]:
    """The order of scores, highest first; equal ones stand together.

    A radix sort of their bits, in two halves, since numpy sorts 16-bit integers in linear time.
    """
    bits = scores.view(np.uint32)
    is_negative = bits >> np.uint32(31) == 1
    falling = np.where(is_negative, bits, ~bits & np.uint32(2**31 - 1))  # as scores rise
    order = np.argsort(falling.astype(np.uint16), kind="stable")
    upper = (falling >> np.uint32(16)).astype(np.uint16)
    return np.asarray(order[np.argsort(upper[order], kind="stable")])


def threshold_between(lowest: Float64[np.ndarray, " c"], cut: int) -> float:
    """A threshold that takes the scores down to a cut, and no lower ones: score ≥ threshold.

    It lies halfway between the lowest score taken and the next lower one, so that scores that are
    rounded a little differently elsewhere fall on the same side. Where nothing lower exists it is
    the lowest score taken; where nothing is taken, at the first cut, just above the highest score.
    """
    return _halfway(lowest[cut : cut + 2].tolist())


def _halfway(cuts: Sequence[float]) -> float:
    """Between the lowest score taken and the next lower one, if there is any."""
    if cuts[0] == np.inf:
        return float(cuts[1] if len(cuts) > 1 else 1.0) + ABOVE_HIGHEST
    return float(np.mean(cuts))


def _order_in_rows(scores: Float32[np.ndarray, "q c"]) -> Int[np.ndarray, "q c"] | None:
    """The order of each row's candidates by score, itself first; None where they stand in it."""
    if (scores[:, 1:-1] >= scores[:, 2:]).all():
        return None
    order = np.argsort(-scores[:, 1:], axis=1, kind="stable") + 1
    return np.concatenate([np.zeros((len(order), 1), order.dtype), order], axis=1)


def _row_values(
    gain: str,
    common: Int[np.ndarray, "*s"],
    taken: Int[np.ndarray, "*s"],
    truth: Int[np.ndarray, "..."],
) -> Float64[np.ndarray, "*s"]:
    if gain == "f1":
        return row_f1(common, taken, np.broadcast_to(truth, common.shape))
    if gain == "precision":
        return row_precision(common, taken)
    return row_recall(common, np.broadcast_to(truth, common.shape))
