"""Tuning a threshold: the best cut of the scores of one space or several, and what it reaches."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embed.errors import SettingsError
from embed.store import Store
from retrieval.decisions.journal import Decisions
from retrieval.metrics.sets import row_recall
from retrieval.selection import EvaluationRows, Selection, evaluation_rows
from retrieval.thresholds.calibration import Calibration, calibrated
from retrieval.thresholds.cautions import alone_warnings, reach_warnings, row_f1_alone
from retrieval.thresholds.columns import asked_k, num_columns
from retrieval.thresholds.curves import ScoreCurve
from retrieval.thresholds.joint import Surface
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.preparing import Prepared, picture_of, prepare
from retrieval.thresholds.protocols import Tuned, figures_of, refuse_unfit, report, tuned
from retrieval.thresholds.strategies import Fit
from retrieval.thresholds.tune_settings import TuneSettings

WEIGHTS_RANK = "--weight changes the order of candidates alone: union and intersection cut each \
space at a threshold of its own"

OPTIMISTIC = "same-rows: tuned and reported on the same rows, so row F1 is optimistic"


@dataclass(frozen=True)
class ThresholdResult:
    """A tuned threshold with what it was tuned on and what it reaches.

    Attributes:
        rule: how candidates become matches: what `match` needs.
        label: the column that said which rows match; None where nothing but decisions did.
        objective: what it is the best for; `wanted` is its wanted share, if any.
        selection: the restrictions of the rows, as they were given, by option.
        protocol, seed: as in `TuneSettings`.
        num_rows, num_groups: the queries, and their distinct labels; without a label the items of
            decided pairs, and the groups that are the same.
        num_gallery: the items that they looked among; all of these among one another where
            `is_self_join` is true.
        num_reported: the rows that the means are over: fewer than num_rows with holdout.
        reached: what the reported rows reach: `row_f1`, `precision` and `recall` are means over
            rows, the item itself included; those of pairs count each pair once, None where there is
            none.
        row_f1_alone: row F1 of the reported rows where every item is left alone.
        where_tuned: the same as `reached` on the rows that it was tuned on: optimistic, but what
            the objective was the best of, and what the picture shows.
        recall_within_k: mean share of an item's true matches among its candidates, itself included:
            the recall that is left when every candidate is taken.
        warnings: which rows were left out and why, and what else to know before trusting it.
        picture: what other thresholds would have reached on the rows that it was tuned on: a curve,
            or for two spaces a surface; not kept in the file.
    """

    rule: MatchRule
    label: str | None
    objective: Objective
    selection: Mapping[str, tuple[str, ...]]
    protocol: str
    seed: int
    num_rows: int
    num_groups: int
    num_gallery: int
    is_self_join: bool
    num_reported: int
    reached: Mapping[str, float | None]
    row_f1_alone: float
    where_tuned: Mapping[str, float | None]
    interval: tuple[float, float] | None
    recall_within_k: float
    warnings: tuple[str, ...]
    picture: ScoreCurve | Surface | None = None

    @property
    def k(self) -> int:
        """The neighbours that were looked at: the rule's k, or all where there are fewer."""
        return min(self.rule.k, self.num_gallery)


def tune_threshold(
    store: Store, settings: TuneSettings, gallery_store: Store | None = None
) -> ThresholdResult:
    """The threshold that is exactly best, and what it reaches under the protocol.

    All distinct scores are tried, equal scores as one; among equally good cuts the one with the
    fewest matches is taken. It lies halfway between the lowest score taken and the next lower one.

    What people have decided of a pair goes before the labels. Without a label nothing counts but
    decided pairs: the figures, those of rows as well, are of these alone.

    Raises:
        StoreError: there is no such space or column, or a vector is not finite or, in a dense
            space, zero.
        SelectionError: no rows are left, no two share a label, or there are too few groups.
        SettingsError: k is below 2 or above the number of items, or settings that do not fit.
    """
    rows = evaluation_rows(store, settings, gallery_store)
    refuse_unfit(rows.num_groups, settings.protocol)
    prepared = prepare(rows, settings, asked_k(settings.k, rows.sides))
    return tune_prepared(store, settings, rows, prepared)


def tune_prepared(
    store: Store, settings: TuneSettings, rows: EvaluationRows, prepared: Prepared
) -> ThresholdResult:
    """`tune_threshold` where the candidates are known: `prepared` is of these rows and settings.

    Raises:
        SelectionError: there are too few groups for the protocol.
    """
    strategy, members = prepared.strategy, prepared.members
    tuning = tuned(strategy, members, rows.groups, settings.protocol, settings.seed)
    _refuse_missed(settings, tuning)
    pool = prepared.pool_of(tuning.fit)
    reached = report(tuning, members, np.random.default_rng(settings.seed))
    recall_within_k = _recall_within_k(pool)
    return ThresholdResult(
        rule=_rule(store, settings, prepared, tuning.fit),
        label=settings.label,
        objective=settings.objective,
        selection=restrictions(settings),
        protocol=settings.protocol,
        seed=settings.seed,
        num_rows=len(members),
        num_groups=rows.num_groups if rows.is_labelled else len(np.unique(members)),
        num_gallery=len(rows.sides.gallery),
        is_self_join=rows.sides.is_self_join,
        num_reported=reached.num_rows,
        reached=reached.figures,
        row_f1_alone=row_f1_alone(pool.judged.num_true[tuning.is_reported]),
        where_tuned=_where_tuned(prepared, tuning),
        interval=None if settings.protocol == "same-rows" else reached.interval,
        recall_within_k=recall_within_k,
        warnings=(
            *_warnings(rows, settings, tuning),
            *reach_warnings(pool.judged, recall_within_k, min(prepared.k, len(rows.sides.gallery))),
        ),
        picture=picture_of(strategy, pool, tuning, settings.objective),
    )


def restrictions(selection: Selection) -> dict[str, tuple[str, ...]]:
    """The restrictions of a selection as they are written on a command line, by option."""
    decisions = selection.decisions
    path = decisions.path if isinstance(decisions, Decisions) else decisions
    given = {
        "where": tuple(map(str, selection.where)),
        "query_where": tuple(map(str, selection.query_where)),
        "gallery_where": tuple(map(str, selection.gallery_where)),
        "unseen_by": selection.unseen_by,
        "split_column": () if selection.split_column is None else (selection.split_column,),
        "include_training_rows": ("yes",) if selection.include_training_rows else (),
        "decisions": () if path is None else (str(path),),
    }
    return {option: values for option, values in given.items() if values}


def _rule(store: Store, settings: TuneSettings, prepared: Prepared, fit: Fit) -> MatchRule:
    return MatchRule(
        spaces=dict(zip(settings.spaces, fit.weights or prepared.shares, strict=True)),
        thresholds=fit.thresholds,
        k=prepared.k,
        combine=settings.combine,
        fingerprints={space: store.space(space).fingerprint for space in settings.spaces},
        rules=settings.rules,
        category=settings.threshold_by,
        by_category=fit.by_category,
        calibration=_calibration(prepared.pool_of(fit)) if settings.calibrate else None,
        refinements=settings.finding.applied,
    )


def _recall_within_k(pool: Pool) -> float:
    """What is left when every candidate is taken: only real ones are relevant."""
    return float(row_recall(pool.judged.relevant.sum(axis=1), pool.judged.num_true).mean())


def _calibration(pool: Pool) -> Calibration:
    is_pair = pool.candidates.exist
    is_pair[:, 0] = False
    return calibrated(pool.candidates.combined[is_pair], pool.judged.relevant[is_pair])


def _where_tuned(prepared: Prepared, tuning: Tuned) -> dict[str, float | None]:
    """What the fit to use reaches on the rows that it was tuned on."""
    return figures_of(prepared.strategy.outcome(tuning.fit), tuning.is_tuned_on)


def _warnings(rows: EvaluationRows, settings: TuneSettings, tuning: Tuned) -> tuple[str, ...]:
    columns = num_columns(asked_k(settings.k, rows.sides), rows.sides)
    warnings = [*rows.warnings, *settings.finding.warnings_for(columns)]
    if settings.weights and settings.has_own_thresholds:
        warnings.append(WEIGHTS_RANK)
    if settings.protocol == "same-rows":
        warnings.append(OPTIMISTIC)
    if not rows.is_labelled:
        return tuple(warnings)
    at, outcome = tuning.is_reported, tuning.outcome
    is_for_rows = settings.objective.name == "row-f1"
    counts = outcome.num_taken[at], outcome.num_true[at]
    return (*warnings, *alone_warnings(*counts, is_for_rows=is_for_rows))


def _refuse_missed(settings: TuneSettings, tuning: Tuned) -> None:
    """Raise where even the best cut misses the share that was asked for."""
    if tuning.fit.value < 0:
        raise SettingsError(
            f"no threshold reaches the wanted share of {settings.objective.wanted:g}: the best "
            f"that the neighbours allow is {tuning.fit.value + 2:.4f}: ask for less, or "
            f"give a larger --k"
        )
