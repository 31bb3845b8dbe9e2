"""The scores that thresholds are compared with: of every candidate, and of every pair once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.rules import bounds, mutual_entries
from retrieval.thresholds.strategies import reach


@dataclass(frozen=True)
class ScoreTable:
    """What thresholds decide on, where n items look among one another in s spaces.

    Attributes:
        rows: the candidates of each item, itself first.
        items: their scores in each space: +inf where one matches whatever the threshold, −inf
            where it never does or there is none.
        pairs: the same of each pair of two items once: the better of its two ways round.
        places: the flat position of each pair among the candidates.
        takes_any: one score that reaches its threshold is enough; else all have to.
    """

    rows: Int[np.ndarray, "n c"]
    items: Float32[np.ndarray, "s n c"]
    pairs: Float32[np.ndarray, "s m"]
    places: Int[np.ndarray, " m"]
    takes_any: bool = True

    @staticmethod
    def of(candidates: Candidates, rule: MatchRule) -> "ScoreTable":
        """Of candidates with what the rule says beside its thresholds."""
        limits = bounds(candidates, rule.rules)
        items = np.where(limits.possible, candidates.scores, np.float32(-np.inf))
        items[:, limits.always] = np.inf
        is_pair = limits.possible.copy()
        is_pair[:, 0] = False
        there, back = mutual_entries(candidates.rows, is_pair)
        there, back = there[there < back], back[there < back]
        is_pair.reshape(-1)[back] = False
        places = np.flatnonzero(is_pair)
        scores = items.reshape(len(items), -1)
        pairs = scores[:, places]
        pairs[:, np.searchsorted(places, there)] = np.maximum(scores[:, there], scores[:, back])
        return ScoreTable(candidates.rows, items, pairs, places, rule.takes_any)

    def matches(self, thresholds: Float64[np.ndarray, "s #n"]) -> Bool[np.ndarray, "n c"]:
        """True where a candidate matches, by one threshold for each space or by each item's own.

        The item itself always does.
        """
        return self._taken(self.items, thresholds)

    def pairs_of(
        self, matches: Bool[np.ndarray, "n c"], thresholds: Float64[np.ndarray, "s #n"]
    ) -> Int[np.ndarray, " p"]:
        """The pairs that match, from one side at least, each once: flat positions of candidates."""
        if thresholds.shape[1] == 1:
            taken = self._taken(self.pairs[:, None], thresholds)[0]
            return np.asarray(self.places[taken])
        # Where items have thresholds of their own, a pair has two.
        return pairs_once(self.rows, matches)

    def along(self, space: int, thresholds: Float64[np.ndarray, "s 1"]) -> "ScoreTable":
        """What the threshold of one space decides where those of the others stay as they are."""
        if len(self.items) == 1:
            return self
        items = self._along(self.items, space, thresholds)
        pairs = self._along(self.pairs[:, None], space, thresholds)[:, 0]
        return ScoreTable(self.rows, items, pairs, self.places)

    def _along(
        self,
        scores: Float32[np.ndarray, "s r w"],
        space: int,
        thresholds: Float64[np.ndarray, "s 1"],
    ) -> Float32[np.ndarray, "1 r w"]:
        others = np.arange(len(scores)) != space
        are_reached = self._taken(scores[others], thresholds[others])
        if self.takes_any:
            return np.asarray(np.where(are_reached, np.float32(np.inf), scores[space]))[None]
        return np.asarray(np.where(are_reached, scores[space], np.float32(-np.inf)))[None]

    def _taken(
        self, scores: Float32[np.ndarray, "s r w"], thresholds: Float64[np.ndarray, "s #r"]
    ) -> Bool[np.ndarray, "r w"]:
        join = np.logical_or if self.takes_any else np.logical_and
        return np.asarray(join.reduce(list(map(reach, scores, thresholds))))


def pairs_once(
    rows: Int[np.ndarray, "n c"], matches: Bool[np.ndarray, "n c"]
) -> Int[np.ndarray, " p"]:
    """The pairs of two items that match from one side at least, each once: flat positions.

    Args:
        rows: the candidates of each item, itself first.
        matches: which of them match.
    """
    queries, columns = np.nonzero(matches[:, 1:])
    others = rows[queries, columns + 1]
    keys = np.minimum(queries, others) * len(rows) + np.maximum(queries, others)
    first = np.unique(keys, return_index=True)[1]
    return np.asarray(queries[first] * rows.shape[1] + columns[first] + 1)
