"""The pairs of a store that are nearest to the threshold: those that people are asked about."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped

from retrieval.search.ranking import NO_ROW
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.rules import bounds
from retrieval.thresholds.strategies import Fit, matches_of

BLOCK_ROWS = 8192
"""Items whose distances to the threshold are in memory at once."""


@dataclass(frozen=True)
class DoubtfulPairs:
    """Pairs of two items, each once, nearest to the threshold first.

    Attributes:
        one, other: their rows; one < other.
        margins: by how much the score is above or below the threshold; of several thresholds, the
            least.
        scores: by which candidates are ordered.
        is_match: whether the rule takes them, from one side at least.
    """

    one: Int64[np.ndarray, " p"]
    other: Int64[np.ndarray, " p"]
    margins: Float64[np.ndarray, " p"]
    scores: Float32[np.ndarray, " p"]
    is_match: Bool[np.ndarray, " p"]

    def __len__(self) -> int:
        return len(self.one)


def doubtful_pairs(
    candidates: Candidates,
    rule: MatchRule,
    categories: Shaped[np.ndarray, " n"] | None,
    most: int,
) -> DoubtfulPairs:
    """The pairs of n items among one another that are nearest to the threshold, `most` of them.

    Pairs at the same distance are in the order of their rows.
    """
    thresholds = Fit(rule.thresholds, 0.0, rule.by_category).of_rows(categories)
    blocks = [
        _nearest(candidates, thresholds, start, most)
        for start in range(0, len(candidates.rows), BLOCK_ROWS)
    ]
    rows, columns, margins = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    others = candidates.rows[rows, columns].astype(np.int64)
    one, other = np.minimum(rows, others), np.maximum(rows, others)
    kept = _nearest_once(one, other, margins)[:most]
    one, other, scores = one[kept], other[kept], candidates.combined[rows[kept], columns[kept]]
    taken = _taken(candidates, rule, thresholds)
    is_match = _holds(candidates, taken, one, other) | _holds(candidates, taken, other, one)
    return DoubtfulPairs(one, other, margins[kept], scores, is_match)


def matching_pairs(
    candidates: Candidates, rule: MatchRule, categories: Shaped[np.ndarray, " n"] | None
) -> dict[tuple[int, int], float]:
    """The pairs of rows that match, the lower first, with their scores: each pair once."""
    thresholds = Fit(rule.thresholds, 0.0, rule.by_category).of_rows(categories)
    taken = _taken(candidates, rule, thresholds)
    rows, columns = np.nonzero(taken[:, 1:])
    others = candidates.rows[rows, columns + 1]
    scores = candidates.combined[rows, columns + 1]
    ones, twos = np.minimum(rows, others).tolist(), np.maximum(rows, others).tolist()
    return dict(zip(zip(ones, twos, strict=True), scores.tolist(), strict=True))


def _nearest(
    candidates: Candidates, thresholds: Float64[np.ndarray, "s #n"], start: int, most: int
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Rows, columns and margins of a block's nearest pairs; a pair may be there from both sides."""
    block = slice(start, start + BLOCK_ROWS)
    own = thresholds if thresholds.shape[1] == 1 else thresholds[:, block]
    margins = np.abs(candidates.scores[:, block].astype(np.float64) - own[:, :, None]).min(axis=0)
    margins[candidates.rows[block] == NO_ROW] = np.inf
    margins[:, 0] = np.inf
    # One more than fits: those that are as near as the last are told apart by their rows later.
    limit = np.inf
    if margins.size > 2 * most:
        limit = np.partition(margins.reshape(-1), 2 * most)[2 * most]
    rows, columns = np.nonzero((margins <= limit) & np.isfinite(margins))
    return start + rows, columns, margins[rows, columns]


def _nearest_once(
    one: Int64[np.ndarray, " m"],
    other: Int64[np.ndarray, " m"],
    margins: Float64[np.ndarray, " m"],
) -> Int64[np.ndarray, " p"]:
    """The places of the pairs, each pair once, by its least margin, in the order of margins."""
    order = np.lexsort((margins, other, one))
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(one[order]) != 0) | (np.diff(other[order]) != 0)
    kept = order[is_first]
    return np.asarray(kept[np.lexsort((other[kept], one[kept], margins[kept]))])


def _taken(
    candidates: Candidates, rule: MatchRule, thresholds: Float64[np.ndarray, "s #n"]
) -> Bool[np.ndarray, "n c"]:
    limits = bounds(candidates, rule.rules)
    taken = matches_of(candidates, limits, thresholds, takes_any=rule.takes_any)
    return np.asarray(taken & (candidates.rows != NO_ROW))


def _holds(
    candidates: Candidates,
    taken: Bool[np.ndarray, "n c"],
    one: Int64[np.ndarray, " p"],
    other: Int64[np.ndarray, " p"],
) -> Bool[np.ndarray, " p"]:
    """True where `one` takes `other`."""
    return np.asarray(((candidates.rows[one] == other[:, None]) & taken[one]).any(axis=1))
