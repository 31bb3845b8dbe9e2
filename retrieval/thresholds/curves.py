"""How row F1, precision and recall change with the threshold, at every distinct score."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from retrieval.metrics.judgements import Judgements
from retrieval.metrics.sets import row_f1, row_precision, row_recall
from retrieval.search.ranking import Neighbours
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.objectives import best_cut
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.sweeps import threshold_between

TINY = 1e-300


@dataclass(frozen=True)
class ScoreCurve:
    """F1, precision and recall at each of c cuts, from no match to all matches.

    `cuts` are the lowest scores taken, strictly descending: +inf first, where nothing but the item
    itself is taken, then each distinct score. All pairs with the same score are taken together.
    They are means over rows, or of all pairs where `is_of_pairs`: precision of none is 1.
    """

    cuts: Float64[np.ndarray, " c"]
    f1: Float64[np.ndarray, " c"]
    precision: Float64[np.ndarray, " c"]
    recall: Float64[np.ndarray, " c"]
    is_of_pairs: bool = False

    def best_cut(self) -> int:
        """The cut with the highest F1; among equal ones the highest: it has the fewest matches."""
        return best_cut(self.f1)

    def threshold(self, cut: int) -> float:
        """A threshold that takes exactly what the cut takes; `threshold_between` says where."""
        return threshold_between(self.cuts, cut)


def score_curve(
    neighbours: Neighbours, judged: Judgements, rows: Bool[np.ndarray, " q"] | None = None
) -> ScoreCurve:
    """Mean row F1, precision and recall for every distinct score as the lowest one taken.

    A row's true set T is every row with the same label, itself included, found or not; its
    predicted set P is itself and its neighbours that are taken. `rows` (True where chosen) says
    over which the mean is taken; the gallery is always all of it.
    """
    return curve_of(Pool.of(Candidates.of(neighbours), judged, Rules()), rows)


def curve_of(pool: Pool, rows: Bool[np.ndarray, " q"] | None = None) -> ScoreCurve:
    """`score_curve` of candidates with one score each, within the rules that apply to them."""
    cuts = pool.sweep(0, with_pairs=False).cuts(pool.limits, rows)
    f1, precision, recall = (
        cuts.sums(gain) / cuts.num_rows for gain in ("f1", "precision", "recall")
    )
    return ScoreCurve(cuts.lowest, f1, precision, recall)


def pair_curve_of(pool: Pool, rows: Bool[np.ndarray, " q"] | None = None) -> ScoreCurve:
    """F1, precision and recall of pairs at each cut, of the chosen rows, each pair counted once."""
    cuts = pool.sweep(0, with_pairs=True).cuts(pool.limits, rows)
    pairs, hits = cuts.sums("pairs"), cuts.sums("hits")
    num_true = max(pool.num_true_pairs(rows), TINY)
    precision = np.divide(hits, pairs, out=np.ones_like(hits), where=pairs > 0)
    return ScoreCurve(
        cuts.lowest, 2 * hits / (pairs + num_true), precision, hits / num_true, is_of_pairs=True
    )


def metrics_at(
    neighbours: Neighbours, judged: Judgements, threshold: float | Float[np.ndarray, " q"]
) -> Float64[np.ndarray, "3 q"]:
    """F1, precision and recall of each row at a threshold, of all rows or for each its own."""
    matched = neighbours.matches(threshold)
    num_common, num_taken = (matched & judged.relevant).sum(axis=1), matched.sum(axis=1)
    return np.stack(
        [
            row_f1(num_common, num_taken, judged.num_true),
            row_precision(num_common, num_taken),
            row_recall(num_common, judged.num_true),
        ]
    )
