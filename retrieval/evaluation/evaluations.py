"""An evaluation: every metric of a contender on selected rows, with intervals and by category."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Shaped

from embed.rows import has_value
from retrieval.evaluation.contenders import Contender, Found
from retrieval.evaluation.measuring import (
    DEEPEST,
    Measured,
    pair_counts,
    ranking_values,
    row_values,
)
from retrieval.metrics.judgements import judge
from retrieval.selection import EvaluationRows
from retrieval.thresholds.cautions import alone_warnings, row_f1_alone

DEEPEST_CELLS = 2**23
"""R-precision and MAP@R need as many neighbours as there are true matches: this many at most."""

SHALLOW = "R-precision and MAP@R are left out: some queries have more true matches than neighbours \
were looked at"

Metrics = dict[str, float | None]
Intervals = dict[str, tuple[float, float] | None]


@dataclass(frozen=True)
class Category:
    """What the queries with one value of a column reach, among the whole gallery.

    `value` is None for the queries without one. `num_queries` are those of the `num_rows` that have
    a true match besides themselves.
    """

    value: str | None
    num_rows: int
    num_queries: int
    metrics: Metrics
    intervals: Intervals

    def to_json(self) -> dict[str, Any]:
        """Every field, the metrics beside one another."""
        counts = {"num_rows": self.num_rows, "num_queries": self.num_queries}
        return {"value": self.value, **counts, **self.metrics, "intervals": self.intervals}


@dataclass(frozen=True)
class Evaluation:
    """What a space reaches; means over queries, between 0 and 1.

    Attributes:
        space: what was searched, and `model`, what made its vectors; `metric` is what a score is.
        k: neighbours looked at; the item itself included where items look among one another.
        protocol: cross-fit where the threshold was tuned here, given where it was not.
        thresholds: the given ones, or those tuned on all rows: one, or one for each space where
            each is cut by its own scores; none where only the ranking counts.
        metrics: by the name in JSON. row_f1, precision, recall: of the matches, the item itself
            included, over all queries. pair_f1, pair_precision, pair_recall: over pairs of two
            items. Of the k nearest others, over the queries with a true match: map (the sum divided
            by what can be reached in k), map_trec (divided by all true matches) and mrr. Whatever k
            is: recall@K and found@K for K of 1, 5 and 10, precision@K for 5 and 10 (precision@1 is
            recall@1), mp@5, r_precision, map@r.
        intervals: 95 % intervals of the metrics over groups.
        num_rows: the queries, and `num_gallery` the items that they look among: the same ones where
            `is_self_join` is true.
        num_queries: those with a true match besides themselves.
        by: the column of the categories, and `categories`: what each of its values reaches.
        warnings: which rows were left out and why, and what else to know.
        measured: each query's own values, which are not in JSON.
        row_f1_alone: row F1 where every item is left alone, None where only the ranking counts.
        weights: the shares of several spaces in their combined score, to use on other rows; empty
            where they are equal because nothing was said of them.
    """

    space: str
    model: str
    metric: str
    k: int
    protocol: str
    thresholds: tuple[float, ...]
    metrics: Metrics
    intervals: Intervals
    num_rows: int
    num_gallery: int
    num_queries: int
    is_self_join: bool
    by: str | None
    categories: tuple[Category, ...]
    warnings: tuple[str, ...]
    measured: Measured
    row_f1_alone: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def distances(self) -> tuple[float, ...]:
        """1 − each score threshold."""
        return tuple(1 - threshold for threshold in self.thresholds)

    def to_json(self) -> dict[str, Any]:
        """Every field but each query's values, the metrics beside one another.

        A single threshold is `score_threshold`, `distance_threshold` being 1 − it; several are
        lists, `score_thresholds` and `distance_thresholds`.
        """
        names = ("space", "model", "metric", "k", "protocol")
        values = {name: getattr(self, name) for name in names}
        if len(self.thresholds) == 1:
            values |= {"score_threshold": self.thresholds[0]}
            values |= {"distance_threshold": self.distances[0]}
        elif self.thresholds:
            values |= {"score_thresholds": self.thresholds, "distance_thresholds": self.distances}
        if self.weights:
            values["weights"] = dict(self.weights)
        values |= self.metrics
        if self.row_f1_alone is not None:
            values["row_f1_alone"] = self.row_f1_alone
        if "row_f1" in self.intervals:
            values["interval"] = self.intervals["row_f1"]
        values["intervals"] = self.intervals
        counts = ("num_rows", "num_gallery", "num_queries", "is_self_join")
        values |= {name: getattr(self, name) for name in counts}
        if self.by is not None:
            values["by"] = self.by
            values["categories"] = [category.to_json() for category in self.categories]
        return values | {"warnings": self.warnings}


def evaluate_on(
    rows: EvaluationRows, contender: Contender, *, seed: int = 0, by: str | None = None
) -> Evaluation:
    """What a contender reaches on selected rows; `seed` is of the draws for the intervals.

    Raises:
        StoreError: there is no such column; besides what the contender raises.
    """
    values = None if by is None else rows.sides.queries.store.column(by)[rows.sides.queries.rows]
    num_columns = contender.num_columns(rows.sides)
    found = contender.find(rows, _depth(rows))
    measured = measure(found, rows, num_columns - 1)
    return Evaluation(
        space=contender.name,
        model=contender.model(rows),
        metric=contender.metric(rows),
        k=num_columns if rows.sides.is_self_join else num_columns - 1,
        protocol=contender.protocol,
        thresholds=found.thresholds,
        metrics=measured.means(),
        intervals=measured.intervals(np.random.default_rng(seed)),
        num_rows=len(rows.sides.queries),
        num_gallery=len(rows.sides.gallery),
        num_queries=_num_queries(measured),
        is_self_join=rows.sides.is_self_join,
        by=by,
        categories=() if values is None else _categories(measured, values, seed),
        warnings=rows.warnings + _warnings(found, measured) + contender.warnings(rows.sides),
        measured=measured,
        row_f1_alone=None if found.outcome is None else row_f1_alone(found.outcome.num_true),
        weights=found.weights,
    )


def measure(found: Found, rows: EvaluationRows, nearest: int) -> Measured:
    """Every metric of each query; mAP and MRR look at the `nearest` others."""
    judged = judge(found.ranking, rows)
    values = ranking_values(judged, nearest)
    if found.outcome is None:
        return Measured(values, None, judged.groups)
    pairs = pair_counts(found.outcome)
    return Measured(row_values(found.outcome) | values, pairs, judged.groups)


def _depth(rows: EvaluationRows) -> int:
    """How many others to look at: as many as any query has true matches, where memory allows it."""
    own = rows.sides.own[:, None]
    most = int(judge(own, rows).num_true.max()) - 1
    return max(DEEPEST, most) if most * len(own) <= DEEPEST_CELLS else DEEPEST


def _warnings(found: Found, measured: Measured) -> tuple[str, ...]:
    outcome = found.outcome
    warnings = () if outcome is None else alone_warnings(outcome.num_taken, outcome.num_true)
    return warnings if "map@r" in measured.values else (*warnings, SHALLOW)


def _num_queries(measured: Measured) -> int:
    return int((~np.isnan(measured.values["map"])).sum())


def _categories(
    measured: Measured, values: Shaped[np.ndarray, " q"], seed: int
) -> tuple[Category, ...]:
    """What the queries with each value reach, in the order of the values; without one last."""
    is_known = has_value(values)
    chosen = {str(value): values == value for value in np.unique(values[is_known]).tolist()}
    found = [_category(name, measured.of(mask), seed) for name, mask in chosen.items()]
    if not is_known.all():
        found.append(_category(None, measured.of(~is_known), seed))
    return tuple(found)


def _category(value: str | None, measured: Measured, seed: int) -> Category:
    return Category(
        value=value,
        num_rows=len(measured.groups),
        num_queries=_num_queries(measured),
        metrics=measured.means(),
        intervals=measured.intervals(np.random.default_rng(seed)),
    )
