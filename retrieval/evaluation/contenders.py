"""What can be evaluated: whatever ranks candidates for each query, and says which of them match."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from retrieval.evaluation.measuring import DEEPEST
from retrieval.finding import Finding
from retrieval.metrics.judgements import judge
from retrieval.search.combined import shares_of
from retrieval.search.sides import Sides, StoreRows
from retrieval.selection import EvaluationRows
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.columns import asked_k, num_columns
from retrieval.thresholds.gathering import gather
from retrieval.thresholds.match_rules import MatchRule, categories_of, gathered
from retrieval.thresholds.pools import Outcome, Pool
from retrieval.thresholds.preparing import prepare
from retrieval.thresholds.protocols import Tuned, refuse_unfit, tuned
from retrieval.thresholds.strategies import Fit, matches_of
from retrieval.thresholds.tune_settings import TuneSettings

MARKS = {"concat": "+", "sum": "+", "union": "|", "intersection": "&"}
"""What stands between spaces that are combined."""

CROSS_FIT, GIVEN, NO_THRESHOLD = "cross-fit", "given", "none: ranking only"


@dataclass(frozen=True)
class Found:
    """What a contender finds for each of q queries.

    `ranking` are positions in the gallery, best first, the query itself in the first column and
    `NO_ROW` where nothing follows. `outcome` is what the matches of each query reach, None where
    there is no threshold; `thresholds` are the scores to use on other rows, and `weights` the
    shares of the spaces, where they were given or tuned.
    """

    ranking: Int[np.ndarray, "q m"]
    outcome: Outcome | None = None
    thresholds: tuple[float, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Contender(Protocol):
    """One line of a comparison: a space, or anything else that ranks, with a threshold or without.

    `protocol` says where the threshold comes from.
    """

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def protocol(self) -> str:
        """Where the threshold comes from."""

    def num_columns(self, sides: Sides) -> int:
        """How many candidates of each query may match, the query itself included."""

    def warnings(self, sides: Sides) -> tuple[str, ...]:
        """What to know of how its candidates are found."""

    def model(self, rows: EvaluationRows) -> str:
        """What made the vectors."""

    def metric(self, rows: EvaluationRows) -> str:
        """What a score is."""

    def find(self, rows: EvaluationRows, depth: int) -> Found:
        """Rank the gallery for each query, `depth` others or more, and match what is near."""


@dataclass(frozen=True)
class SpacesContender:
    """A space or a combination of several, cut by a given rule, by cross-fit, or not at all.

    Several are ranked by the weighted mean of their scores, however their matches are chosen; where
    weights are tuned, each query by those that were tuned without its group.

    Attributes:
        name: what it is called.
        settings: the spaces, how they are combined, k, and how a threshold is tuned.
        rule: the given rule, which has a k of its own; None tunes one.
        is_ranking_only: there is no threshold.
    """

    name: str
    settings: TuneSettings
    rule: MatchRule | None = None
    is_ranking_only: bool = False

    @property
    def protocol(self) -> str:
        """Where the threshold comes from."""
        if self.is_ranking_only:
            return NO_THRESHOLD
        return CROSS_FIT if self.rule is None else GIVEN

    def num_columns(self, sides: Sides) -> int:
        """How many candidates of each query may match, the query itself included.

        Raises:
            SettingsError: k leaves no room for a match, or is more than there are items.
        """
        return num_columns(self._k(sides), sides)

    def warnings(self, sides: Sides) -> tuple[str, ...]:
        """The recall of an index that its neighbours come from.

        Raises:
            NeighboursError: a file of neighbours can't be read.
        """
        return self.settings.finding.warnings_for(self.num_columns(sides))

    def model(self, rows: EvaluationRows) -> str:
        """The specs of the encoders, or what the heads are."""
        store = rows.sides.gallery.store
        return " + ".join(store.space(space).spec for space in self.settings.spaces)

    def metric(self, rows: EvaluationRows) -> str:
        """Always the cosine similarity: of bits, that of vectors of ±1."""
        store = rows.sides.gallery.store
        kinds = {store.space(space).kind for space in self.settings.spaces}
        return "cosine of ±1" if kinds == {"binary"} else "cosine"

    def find(self, rows: EvaluationRows, depth: int) -> Found:
        """The nearest of the gallery, and what those reach that match.

        Raises:
            StoreError: there is no such space, or a vector is not finite or, in a dense space,
                zero.
            SelectionError: there are fewer groups than cross-fit has folds.
        """
        if self.is_ranking_only:
            columns = max(self.num_columns(rows.sides), 1 + depth)
            ranking = _nearest(rows.sides, self._shares, columns, self.settings.finding)
            return Found(ranking, weights=self._told(self._shares))
        if self.rule is not None:
            return self._given(rows, self.rule, depth)
        return self._tuned(rows, depth)

    def _tuned(self, rows: EvaluationRows, depth: int) -> Found:
        refuse_unfit(rows.num_groups, CROSS_FIT)
        settings = self.settings
        k = self._k(rows.sides)
        prepared = prepare(rows, settings, k)
        tuning = tuned(prepared.strategy, prepared.members, rows.groups, CROSS_FIT, settings.seed)
        if settings.tune_weights:
            ranking = self._ranked_by_fit(rows, tuning, max(num_columns(k, rows.sides), 1 + depth))
        else:
            rule = MatchRule(self._shares, tuning.fit.thresholds, k, settings.combine)
            candidates = prepared.pool_of(tuning.fit).candidates
            ranking = _ranking(rows, rule, candidates, depth, settings.finding)
        weights = self._told(self._shares_of(tuning.fit))
        return Found(ranking, tuning.outcome, tuning.fit.thresholds, weights)

    def _ranked_by_fit(
        self, rows: EvaluationRows, tuning: Tuned, columns: int
    ) -> Int[np.ndarray, "q m"]:
        """Each query's nearest by the weights of the fit that reports it."""
        sides, order, parts = rows.sides, [], []
        for fit, part in tuning.by_fit:
            (at,) = part.nonzero()
            queries = StoreRows(sides.queries.store, sides.queries.rows[at])
            few = Sides(queries, sides.gallery, sides.own[at])
            order.append(at)
            parts.append(_nearest(few, self._shares_of(fit), columns, self.settings.finding))
        return np.asarray(np.concatenate(parts)[np.argsort(np.concatenate(order))])

    def _given(self, rows: EvaluationRows, rule: MatchRule, depth: int) -> Found:
        sides = rows.sides
        finding = rule.found_by(self.settings.finding)
        candidates = gathered(sides, rule, finding)
        judged = judge(candidates.rows, rows)
        pool = Pool.of(candidates, judged, rule.rules, is_self_join=sides.is_self_join)
        fit = Fit(rule.thresholds, 0.0, rule.by_category)
        thresholds = fit.of_rows(categories_of(sides, rule.category))
        matches = matches_of(candidates, pool.limits, thresholds, takes_any=rule.takes_any)
        ranking = _ranking(rows, rule, candidates, depth, finding)
        return Found(ranking, pool.outcome(matches), rule.thresholds, self._told(rule.spaces))

    def _k(self, sides: Sides) -> int:
        return asked_k(self.settings.k, sides) if self.rule is None else self.rule.k

    def _shares_of(self, fit: Fit) -> dict[str, float]:
        if fit.weights is None:
            return self._shares
        return dict(zip(self.settings.spaces, fit.weights, strict=True))

    def _told(self, shares: Mapping[str, float]) -> Mapping[str, float]:
        """Shares that are worth telling: none where they are equal because nothing was said."""
        is_said = self.settings.tune_weights or len(set(shares.values())) > 1
        return shares if is_said else {}

    @property
    def _shares(self) -> dict[str, float]:
        weights = self.settings.weights
        return shares_of({space: weights.get(space, 1.0) for space in self.settings.spaces})


def _ranking(
    rows: EvaluationRows, rule: MatchRule, candidates: Candidates, depth: int, finding: Finding
) -> Int[np.ndarray, "q m"]:
    """The candidates as they are ranked, where they are the nearest and enough of them.

    Those that are near in some of several spaces need not be the nearest by all of them together.
    """
    columns = num_columns(rule.k, rows.sides)
    is_nearest = len(rule.spaces) == 1 or rule.combine == "concat"
    if is_nearest and columns > depth:
        return candidates.rows
    return _nearest(rows.sides, rule.spaces, max(columns, 1 + depth), finding)


def _nearest(
    sides: Sides, shares: Mapping[str, float], columns: int, finding: Finding
) -> Int[np.ndarray, "q m"]:
    """The nearest by the weighted mean of the scores, however their matches are chosen."""
    columns = finding.columns(columns, least=1 + DEEPEST)
    return gather(sides, shares, columns, "concat", finding).rows
