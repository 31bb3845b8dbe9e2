"""Blocks of matches as they come from the search: what every file of matches is made of."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64

from retrieval.finding import EXACT, Finding, iterate_found
from retrieval.matches.honouring import Honouring
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import Sides
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.columns import num_columns
from retrieval.thresholds.match_rules import MatchRule, categories_of, gathered
from retrieval.thresholds.rules import bounds
from retrieval.thresholds.strategies import Fit, reached_by, taken_within


@dataclass(frozen=True)
class MatchBlock:
    """The candidates of b consecutive queries, and which of them match.

    Attributes:
        start: the position of the first query.
        candidates: positions in the gallery, the query itself first, with their scores.
        is_match: True where a candidate matches; of the query itself where it is in the gallery.
        reached: True where a score reaches its threshold: of each space, or of all together.
    """

    start: int
    candidates: Candidates
    is_match: Bool[np.ndarray, "b c"]
    reached: Bool[np.ndarray, "s b c"]

    @property
    def num_others(self) -> Int64[np.ndarray, " b"]:
        """How many others each query matches."""
        return np.asarray(self.is_match[:, 1:].sum(axis=1))

    def others(self, chosen: Bool[np.ndarray, "b c"]) -> "MatchedPairs":
        """The chosen pairs but for those of a query with itself, by query and then best first."""
        is_other = chosen.copy()
        is_other[:, 0] = False
        queries, places = np.nonzero(is_other)
        return MatchedPairs(
            self.start + queries,
            self.candidates.rows[queries, places],
            self.candidates.combined[queries, places],
            self.candidates.scores[:, queries, places],
            self.reached[:, queries, places],
        )


@dataclass(frozen=True)
class MatchedPairs:
    """Pairs: positions of the query and in the gallery, their score, and that of each space."""

    queries: Int[np.ndarray, " p"]
    gallery: Int[np.ndarray, " p"]
    combined: Float32[np.ndarray, " p"]
    scores: Float32[np.ndarray, "s p"]
    reached: Bool[np.ndarray, "s p"]


def match_blocks(
    sides: Sides, rule: MatchRule, finding: Finding = EXACT, honouring: Honouring | None = None
) -> Iterator[MatchBlock]:
    """The matches of all queries, first to last; people's decisions are laid over them, if any.

    Raises:
        StoreError: there is no such space or column, or a vector is not finite or, in a dense
            space, zero.
        FingerprintError: the spaces of two stores hold vectors of different encoders.
        SettingsError: a rule that these sides, or this way of finding, do not allow.
        NeighboursError: an index or a file of neighbours that can't be read or does not fit.
    """
    fit = Fit(rule.thresholds, 0.0, rule.by_category)
    categories = categories_of(sides, rule.category)
    for start, candidates in _candidate_blocks(sides, rule, finding):
        own = None if categories is None else categories[start : start + len(candidates.rows)]
        thresholds = fit.of_rows(own)
        reached = reached_by(candidates, thresholds)
        limits = bounds(candidates, rule.rules, is_self_join=sides.is_self_join)
        taken = taken_within(limits, reached, takes_any=rule.takes_any)
        if honouring is not None:
            candidates, taken = honouring(start, candidates, taken)
            reached = reached_by(candidates, thresholds)
        exists = candidates.rows != NO_ROW
        yield MatchBlock(start, candidates, taken & exists, reached & exists)


def _candidate_blocks(
    sides: Sides, rule: MatchRule, finding: Finding
) -> Iterator[tuple[int, Candidates]]:
    """Blocks of candidates, where a row's matches depend on nothing but its own; else all."""
    if len(rule.spaces) > 1 or rule.rules.reciprocal:
        yield 0, gathered(sides, rule, finding)
        return
    columns = num_columns(rule.k, sides)
    for start, found in iterate_found(sides, rule.spaces, columns, rule.found_by(finding)):
        yield start, Candidates.of(found)
