"""From the rows of a store to what a threshold is tuned on, and the way in which it is tuned."""

from collections.abc import Mapping
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
    BestOf,
    ByCategory,
    Fit,
    OneThreshold,
    Strategy,
    weight_grid,
)
from retrieval.thresholds.tune_settings import TuneSettings

Shares = tuple[float, ...]


@dataclass(frozen=True)
class Prepared:
    """What is tuned on, for each choice of the spaces' shares, and the way in which it is tuned.

    `k` is how many neighbours each space gives, as `MatchRule.k` counts them. `shares` are those
    that were given; there are others only where they are tuned as well.
    """

    k: int
    shares: Shares
    pools: Mapping[Shares, Pool]
    strategy: Strategy

    @property
    def members(self) -> Int[np.ndarray, " q"]:
        """The number of the group of each row that is tuned on."""
        return self.pools[self.shares].judged.groups

    def pool_of(self, fit: Fit) -> Pool:
        """What a fit is about."""
        return self.pools[fit.weights or self.shares]


def prepare(rows: EvaluationRows, settings: TuneSettings, k: int) -> Prepared:
    """Search for the candidates, judge them, and choose how thresholds are fitted.

    `k` neighbours are looked for, as `MatchRule.k` counts them. Without labels there is nothing in
    the pools but the items of decided pairs.

    Raises:
        StoreError: there is no such space or column, or a vector is not finite.
        SettingsError: a rule that does not fit the rows.
    """
    refuse_one_way(settings.rules, is_self_join=rows.sides.is_self_join)
    refuse_large_at_least(settings.rules.at_least, k, rows.sides)
    given = shares_of({space: settings.weights.get(space, 1.0) for space in settings.spaces})
    shares = tuple(given.values())
    grid = weight_grid(len(shares)) if settings.tune_weights else [shares]
    categories = categories_of(rows.sides, settings.threshold_by)
    columns = num_columns(k, rows.sides)
    pools = {
        each: _pool(rows, settings, candidates, categories)
        for each, candidates in _gathered(rows, settings, columns, grid).items()
    }
    strategies = {each: _strategy(pool, settings) for each, pool in pools.items()}
    plain = BestOf(strategies) if settings.tune_weights else strategies[shares]
    categories = pools[shares].categories
    if categories is None:
        return Prepared(k, shares, pools, plain)
    return Prepared(k, shares, pools, ByCategory(plain, categories, settings.shrinkage))


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


def _gathered(
    rows: EvaluationRows, settings: TuneSettings, columns: int, grid: list[Shares]
) -> dict[Shares, Candidates]:
    spaces = settings.spaces
    if settings.combine == "sum" and len(spaces) > 1:  # scored once, whatever the shares
        scored = scored_in_all(rows.sides, spaces, columns, settings.finding)
        return {each: as_one(weighted(scored, each)) for each in grid}
    return {
        each: gather(
            rows.sides,
            dict(zip(spaces, each, strict=True)),
            columns,
            settings.combine,
            settings.finding,
        )
        for each in grid
    }


def _strategy(pool: Pool, settings: TuneSettings) -> Strategy:
    if not settings.has_own_thresholds:
        return OneThreshold(pool, settings.objective)
    return SeveralThresholds(pool, settings.objective, takes_any=settings.combine == "union")
