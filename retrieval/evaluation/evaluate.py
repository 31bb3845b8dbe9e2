"""How well a space finds what belongs together: at a threshold, and as a ranking."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from embed.errors import SettingsError
from embed.store import Store
from retrieval.evaluation.judgements import judge
from retrieval.evaluation.metrics import average_precision_at_k, mean_reciprocal_rank, recall_at_k
from retrieval.search.neighbours import find_neighbours
from retrieval.selection import EvaluationRows, Selection, evaluation_rows
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.files import fit_to_store
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.protocols import Report, Tuned, given, refuse_unfit, report, tuned
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.strategies import Fit, OneThreshold, Strategy
from retrieval.thresholds.tune_settings import DEFAULT_K, refuse_small_k
from retrieval.thresholds.tuned import ThresholdResult, restrictions

DEEPEST_RECALL = 10
TUNED_HERE = "the threshold was tuned on these rows, so row F1 is optimistic: leave it out for a \
cross-fitted figure"
MAY_BE_TUNED_HERE = "the threshold may have been tuned on some of these rows, and row F1 would be \
optimistic then: leave it out for a cross-fitted figure"


@dataclass(frozen=True)
class EvaluateSettings(Selection):
    """What to evaluate, and at which threshold.

    Attributes:
        threshold: a score, or a tuned threshold; None tunes one by cross-fit.
        k: neighbours of each item, itself included; None takes the tuned threshold's, else 50.
        seed: of the folds and of the draws for the interval.
    """

    threshold: float | ThresholdResult | None = None
    k: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """What a space reaches; means over rows, between 0 and 1.

    Attributes:
        space: the space that was searched.
        k: neighbours looked at, the item itself included.
        protocol: cross-fit where the threshold was tuned here, given where it was not.
        score_threshold: the given one, or the one tuned on all rows.
        distance_threshold: 1 − score_threshold.
        row_f1, precision, recall: of the matches, the item itself included, over all rows.
        interval: 95 % interval of row_f1 over groups.
        map, mrr: of the k − 1 nearest others, over the rows with a true match.
        recall_at_1, recall_at_5, recall_at_10: the share of those rows with a true match among
            that many nearest others; `recall@1` … in JSON.
        num_rows: the selected rows, which are the gallery.
        num_queries: those with a true match besides themselves.
        warnings: which rows were left out and why, and what else to know.
    """

    space: str
    k: int
    protocol: str
    score_threshold: float
    distance_threshold: float
    row_f1: float
    precision: float
    recall: float
    interval: tuple[float, float]
    map: float
    mrr: float
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    num_rows: int
    num_queries: int
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Every field, `recall_at_1` as `recall@1`."""
        names = [field.name for field in fields(self)]
        return {name.replace("_at_", "@"): getattr(self, name) for name in names}


def evaluate(store: Store, settings: EvaluateSettings) -> Evaluation:
    """What a space reaches as a ranking and at a threshold, by cross-fit where none is given.

    Raises:
        StoreError: there is no such space or column, or a vector is not finite.
        FingerprintError: the threshold was tuned on other vectors.
        ThresholdError: the threshold was tuned on another space.
        SelectionError: no rows are left, no two share a label, or there are too few groups.
        SettingsError: k is below 2.
    """
    k = _k(store, settings)
    rows = evaluation_rows(store, settings)
    if settings.threshold is None:
        refuse_unfit(rows.num_groups, "cross-fit")
    # Enough others for recall@10, however small k is.
    wide = find_neighbours(rows.sides, settings.spaces[0], max(k, DEEPEST_RECALL + 1))
    known = judge(wide.rows, rows)
    neighbours, judged = wide.first(k), known.first(k)
    pool = Pool.of(Candidates.of(neighbours), judged, Rules(), is_self_join=rows.sides.is_self_join)
    tuning = _tuning(OneThreshold(pool, Objective()), rows, settings)
    generator = np.random.default_rng(settings.seed)
    reached = report(tuning, rows.query_labels, pool.num_true_pairs(), generator)
    return Evaluation(
        space=settings.spaces[0],
        k=k,
        protocol="cross-fit" if settings.threshold is None else "given",
        **_threshold_metrics(tuning, reached),
        **_ranking_metrics(known.relevant[:, 1:], known.num_true - 1, k),
        num_rows=len(rows.sides.queries),
        warnings=rows.warnings + _tuned_here(settings, rows),
    )


def compare(store: Store, spaces: Sequence[str], settings: EvaluateSettings) -> list[Evaluation]:
    """`evaluate` for several spaces on the same rows: those that no head of any of them has seen.

    `settings.spaces` is not looked at.

    Raises:
        SettingsError: no space, or one given twice; besides what `evaluate` raises.
    """
    if not spaces or len(set(spaces)) < len(spaces):
        given = ", ".join(spaces) or "none"
        raise SettingsError(f"compare takes different spaces, each named once: found {given}")
    unseen_by = tuple(dict.fromkeys((*spaces, *settings.unseen_by)))
    return [
        evaluate(store, replace(settings, spaces=(space,), unseen_by=unseen_by)) for space in spaces
    ]


def _k(store: Store, settings: EvaluateSettings) -> int:
    if settings.threshold is not None:
        return fit_to_store(store, settings.threshold, settings.spaces[0], settings.k).k
    k = DEFAULT_K if settings.k is None else settings.k
    refuse_small_k(k)
    return k


def _tuning(strategy: Strategy, rows: EvaluationRows, settings: EvaluateSettings) -> Tuned:
    threshold = settings.threshold
    if threshold is None:
        return tuned(strategy, rows.query_labels, rows.groups, "cross-fit", settings.seed)
    thresholds = (
        threshold.rule.thresholds if isinstance(threshold, ThresholdResult) else (threshold,)
    )
    return given(strategy, Fit(thresholds, 0.0))


def _threshold_metrics(tuning: Tuned, reached: Report) -> dict[str, Any]:
    return {
        "score_threshold": tuning.fit.thresholds[0],
        "distance_threshold": 1 - tuning.fit.thresholds[0],
        "row_f1": reached.row_f1,
        "precision": reached.precision,
        "recall": reached.recall,
        "interval": reached.interval,
    }


def _ranking_metrics(
    relevant: Bool[np.ndarray, "n m"], num_relevant: Int[np.ndarray, " n"], k: int
) -> dict[str, Any]:
    nearest = relevant[:, : k - 1]
    return {
        "map": average_precision_at_k(nearest, num_relevant, k - 1),
        "mrr": mean_reciprocal_rank(nearest, num_relevant),
        **{f"recall_at_{n}": recall_at_k(relevant, num_relevant, n) for n in (1, 5, 10)},
        "num_queries": int((num_relevant > 0).sum()),
    }


def _tuned_here(settings: EvaluateSettings, rows: EvaluationRows) -> tuple[str, ...]:
    """A warning where the threshold was tuned on these rows, or may have been on some of them.

    A threshold file does not list its rows, so any selection by the same labels may overlap. A
    holdout tunes on half of its rows. Other counts of the same selection are of another catalogue.
    """
    tuned_before = settings.threshold
    if not isinstance(tuned_before, ThresholdResult) or tuned_before.label != settings.label:
        return ()
    same_counts = (tuned_before.num_rows, tuned_before.num_groups) == (
        len(rows.sides.gallery),
        rows.num_groups,
    )
    is_same = (
        tuned_before.selection == restrictions(settings)
        and same_counts
        and tuned_before.protocol != "holdout"
    )
    return (TUNED_HERE if is_same else MAY_BE_TUNED_HERE,)
