"""How row F1, precision and recall change with the threshold: at every distinct score, exactly.

Taking one more neighbour changes the F1 of one row by an amount that depends only on how many of
that row's neighbours were taken before. So the mean at every cut is a running sum over all pairs
in order of score: O(n·k·log(n·k)) for all cuts, where a grid costs O(n·k) for each of its steps.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from retrieval.evaluation.judgements import Judgements
from retrieval.evaluation.metrics import row_f1, row_precision, row_recall
from retrieval.search.ranking import Neighbours

ABOVE_HIGHEST = 1e-6
"""How far the threshold that matches nothing lies above the highest score."""

EQUAL_F1 = 1e-12
"""F1 values nearer than this are equal: rounding in the running sums moves them as far."""


@dataclass(frozen=True)
class ScoreCurve:
    """Mean row F1, precision and recall at each of c cuts, from no match to all matches.

    `cuts` are the lowest scores taken, strictly descending: +inf first, where nothing but the item
    itself is taken, then each distinct score. All pairs with the same score are taken together.
    """

    cuts: Float64[np.ndarray, " c"]
    f1: Float64[np.ndarray, " c"]
    precision: Float64[np.ndarray, " c"]
    recall: Float64[np.ndarray, " c"]

    def best_cut(self) -> int:
        """The cut with the highest F1; among equal ones the highest: it has the fewest matches."""
        return best_cut(self.f1)

    def threshold(self, cut: int) -> float:
        """A threshold that takes exactly what the cut takes; `threshold_between` says where."""
        return threshold_between(self.cuts, cut)


def best_cut(f1: Float64[np.ndarray, " c"]) -> int:
    """The index of the highest F1, the first among equal ones."""
    return int(np.argmax(f1 >= f1.max() - EQUAL_F1))


def threshold_between(cuts: Float64[np.ndarray, " c"], cut: int) -> float:
    """A threshold that takes the scores down to a cut, and no lower ones: score ≥ threshold.

    It lies halfway between the lowest score taken and the next lower one, so that scores that are
    rounded a little differently elsewhere fall on the same side. Where nothing lower exists it is
    the lowest score taken; where nothing is taken, at the first cut, just above the highest score.
    """
    if cut == 0:
        return float(cuts[1] if len(cuts) > 1 else 1.0) + ABOVE_HIGHEST
    return float(cuts[cut : cut + 2].mean())


@dataclass(frozen=True)
class Pairs:
    """Every neighbour besides the item itself, best first, and what taking it does to its row.

    `deltas` are the changes of the row's F1, precision and recall; `start` is what they are when
    nothing is taken, for each row.
    """

    scores: Float32[np.ndarray, " p"]
    rows: Int[np.ndarray, " p"]
    deltas: Float64[np.ndarray, "3 p"]
    start: Float64[np.ndarray, "3 n"]

    @staticmethod
    def of(neighbours: Neighbours, judged: Judgements) -> "Pairs":
        """The pairs of neighbours that are found, as they were judged."""
        # (3, q, k): each row's metrics after its first, second, … neighbour was taken
        values = _running_metrics(judged)
        deltas = np.diff(values, axis=2).reshape(3, -1)
        scores = neighbours.scores[:, 1:].ravel()
        rows = np.repeat(np.arange(len(judged.num_true)), neighbours.rows.shape[1] - 1)
        order = np.argsort(-scores, kind="stable")
        order = order[: int(np.isfinite(scores).sum())]  # NO_ROW stands at −inf
        return Pairs(scores[order], rows[order], deltas[:, order], values[:, :, 0].copy())

    def curve(self, chosen: Bool[np.ndarray, " n"] | None = None) -> ScoreCurve:
        """The curve averaged over the chosen rows alone, cut at their scores alone."""
        cuts, means = self._means(3, chosen)
        return ScoreCurve(cuts, *means)

    def best_threshold(self, chosen: Bool[np.ndarray, " n"]) -> float:
        """The threshold of the curve's best cut, without its precision and recall."""
        cuts, means = self._means(1, chosen)
        return threshold_between(cuts, best_cut(means[0]))

    def _means(
        self, num_metrics: int, chosen: Bool[np.ndarray, " n"] | None
    ) -> tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, "m c"]]:
        scores, deltas, start = self.scores, self.deltas[:num_metrics], self.start[:num_metrics]
        if chosen is not None:
            kept = chosen[self.rows]
            scores, deltas, start = scores[kept], deltas[:, kept], start[:, chosen]
        is_last = np.append(scores[1:] < scores[:-1], True)[: len(scores)]
        sums = np.cumsum(deltas, axis=1)[:, is_last]
        nothing = start.mean(axis=1, keepdims=True)
        cuts = np.concatenate([[np.inf], scores[is_last].astype(np.float64)])
        return cuts, np.concatenate([nothing, nothing + sums / start.shape[1]], axis=1)


def score_curve(
    neighbours: Neighbours, judged: Judgements, rows: Bool[np.ndarray, " q"] | None = None
) -> ScoreCurve:
    """Mean row F1, precision and recall for every distinct score as the lowest one taken.

    A row's true set T is every row with the same label, itself included, found or not; its
    predicted set P is itself and its neighbours that are taken. `rows` (True where chosen) says
    over which the mean is taken; the gallery is always all of it.
    """
    return Pairs.of(neighbours, judged).curve(rows)


def metrics_at(
    neighbours: Neighbours, judged: Judgements, threshold: float | Float[np.ndarray, " q"]
) -> Float64[np.ndarray, "3 q"]:
    """F1, precision and recall of each row at a threshold, of all rows or for each its own."""
    matched = neighbours.matches(threshold)
    num_common = (matched & judged.relevant).sum(axis=1)
    return _metrics(num_common, matched.sum(axis=1), judged.num_true)


def _running_metrics(judged: Judgements) -> Float64[np.ndarray, "3 q k"]:
    num_common = np.cumsum(judged.relevant, axis=1)
    num_predicted = np.broadcast_to(np.arange(1, num_common.shape[1] + 1), num_common.shape)
    truth = np.broadcast_to(judged.num_true[:, None], num_common.shape)
    return _metrics(num_common, num_predicted, truth)


def _metrics(
    num_common: Int[np.ndarray, "*s"],
    num_predicted: Int[np.ndarray, "*s"],
    truth: Int[np.ndarray, "*s"],
) -> Float64[np.ndarray, "3 *s"]:
    return np.stack(
        [
            row_f1(num_common, num_predicted, truth),
            row_precision(num_common, num_predicted),
            row_recall(num_common, truth),
        ]
    )
