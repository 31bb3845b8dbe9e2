"""From the rows of a store to what a threshold is tuned on, and the way in which it is tuned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Shaped

from retrieval.metrics.judgements import judge
from retrieval.search.combined import shares_of
from retrieval.selection import EvaluationRows
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.columns import num_columns, refuse_large_at_least
from retrieval.thresholds.curves import ScoreCurve, curve_of, pair_curve_of
from retrieval.thresholds.decided_pools import decided_pool
from retrieval.thresholds.gathering import as_one, gather, scored_in_all, weighted
from retrieval.thresholds.joint import SeveralThresholds, Surface, surface
from retrieval.thresholds.match_rules import categories_of
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.protocols import Tuned
from retrieval.thresholds.rules import refuse_one_way
from retrieval.thresholds.strategies import (
    ByCategory,
    Fit,
    OneThreshold,
    Strategy,
)
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.weighing import BestOf, MadeForShares, Shares, weight_grid


@dataclass(frozen=True)
class Prepared:
    """What is tuned on, for each choice of the spaces' shares, and the way in which it is tuned.

    `k` is how many neighbours each space gives, as `MatchRule.k` counts them. `shares` are those
    that were given; there are others only where they are tuned as well.
    `members` are the numbers of the groups of the rows that are tuned on.
    """

    k: int
    shares: Shares
    pools: Mapping[Shares, Pool]
    strategy: Strategy
    members: Int[np.ndarray, " q"]

    def pool_of(self, fit: Fit) -> Pool:
        """What a fit is about."""
        return self.pools[fit.weights or self.shares]


def prepare(rows: EvaluationRows, settings: TuneSettings, k: int) -> Prepared:
    """Search for the candidates, judge them, and choose how thresholds are fitted.

    `k` neighbours are looked for, as `MatchRule.k` counts them. Without labels there is nothing in
    the pools but the items of decided pairs.

    Raises:
        StoreError: there is no such space or column, or a vector is not finite or, in a dense
            space, zero.
        SettingsError: a rule that does not fit the rows.
    """
    refuse_one_way(settings.rules, is_self_join=rows.sides.is_self_join)
    refuse_large_at_least(settings.rules.at_least, k, rows.sides)
    given = shares_of({space: settings.weights.get(space, 1.0) for space in settings.spaces})
    shares = tuple(given.values())
    signed = settings.signed_weights
    grid = weight_grid(len(shares), signed=signed) if settings.tune_weights else [shares]
    categories = categories_of(rows.sides, settings.threshold_by)
    gather_with = _gathering(rows, settings, num_columns(k, rows.sides))

    def pool_with(shares: Shares) -> Pool:
        return _pool(rows, settings, gather_with(shares), categories)

    pools = MadeForShares(grid, pool_with)
    strategies = MadeForShares(grid, lambda each: _strategy(pools[each], settings))
    plain = BestOf(strategies) if settings.tune_weights else strategies[shares]
    at, members = _tuned_on(rows)
    if categories is None:
        return Prepared(k, shares, pools, plain, members)
    by_category = ByCategory(plain, categories[at], settings.shrinkage)
    return Prepared(k, shares, pools, by_category, members)


def _tuned_on(rows: EvaluationRows) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """The queries that are tuned on, and their groups: without labels those of decided pairs."""
    members = judge(rows.sides.own[:, None], rows).groups
    if rows.is_labelled or rows.decided is None:
        return np.arange(len(members)), members
    at = np.unique(rows.decided.queries)
    return at, members[at]


def _pool(
    rows: EvaluationRows,
    settings: TuneSettings,
    candidates: Candidates,
    categories: Shaped[np.ndarray, " q"] | None,
) -> Pool:
    judged, is_self_join = judge(candidates.rows, rows), rows.sides.is_self_join
    pool = Pool.of(
        candidates, judged, settings.rules, is_self_join=is_self_join, categories=categories
    )
    if rows.is_labelled:
        return pool
    assert rows.decided is not None
    return decided_pool(pool, rows.decided)


def picture_of(
    strategy: Strategy, pool: Pool, tuning: Tuned, objective: Objective
) -> ScoreCurve | Surface | None:
    """What other thresholds would have reached on the rows that were tuned on.

    A curve where one score is cut, a surface where two are; None where there are more.
    """
    num_scores = len(pool.candidates.scores)
    if num_scores == 1:
        curve = curve_of if objective.name == "row-f1" else pair_curve_of
        return curve(pool, tuning.is_tuned_on)
    plain = strategy.plain if isinstance(strategy, ByCategory) else strategy
    if num_scores == 2 and isinstance(plain, SeveralThresholds):
        return surface(plain, tuning.is_tuned_on, tuning.fit.thresholds)
    return None


def _gathering(
    rows: EvaluationRows, settings: TuneSettings, columns: int
) -> Callable[[Shares], Candidates]:
    """What finds the candidates for some shares."""
    spaces, sides = settings.spaces, rows.sides
    if settings.combine == "sum" and len(spaces) > 1:  # scored once, whatever the shares
        scored = scored_in_all(sides, spaces, columns, settings.finding)
        return lambda shares: as_one(weighted(scored, shares))

    def search(shares: Shares) -> Candidates:
        weights = dict(zip(spaces, shares, strict=True))
        return gather(sides, weights, columns, settings.combine, settings.finding)

    return search


def _strategy(pool: Pool, settings: TuneSettings) -> Strategy:
    if not settings.has_own_thresholds:
        return OneThreshold(pool, settings.objective)
    return SeveralThresholds(pool, settings.objective, takes_any=settings.combine == "union")
