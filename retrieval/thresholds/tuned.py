"""Tuning a threshold: the best cut of a space's scores, and what it honestly reaches."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from embed.errors import SettingsError
from embed.store import Store
from retrieval.evaluation.judgements import judge
from retrieval.search.neighbours import find_neighbours
from retrieval.selection import EvaluationRows, Selection, evaluation_rows
from retrieval.thresholds.curves import ScoreCurve, metrics_at
from retrieval.thresholds.protocols import Tuned, refuse_unfit, report, tuned

FORMAT = "retrieval-threshold"
FORMAT_VERSION = 1
DEFAULT_K = 50
OPTIMISTIC = "same-rows: tuned and reported on the same rows, so row F1 is optimistic"


@dataclass(frozen=True)
class TuneSettings(Selection):
    """What to tune a threshold on, and how.

    Attributes:
        k: neighbours of each item, itself included: no threshold can match more.
        protocol: cross-fit, holdout or same-rows; `protocols.tuned` explains them.
        seed: of the folds and of the draws for the interval.
    """

    k: int = DEFAULT_K
    protocol: str = "cross-fit"
    seed: int = 0


@dataclass(frozen=True)
class ThresholdResult:
    """A tuned threshold with what it was tuned on and what it reaches.

    Attributes:
        space: the space whose scores it cuts, and its `fingerprint`.
        label: the column that said which rows match.
        where, unseen_by, split_column: the restrictions of the rows, as they were given.
        k, protocol, seed: as in `TuneSettings`.
        num_rows, num_groups: the selected rows, which are the gallery, and their distinct labels.
        num_reported: the rows that the means are over: fewer than num_rows with holdout.
        row_f1, precision, recall: means over rows, the item itself included, between 0 and 1.
        recall_within_k: mean share of an item's true matches among its k neighbours, itself
            included: the recall that is left when every neighbour is taken.
        score_threshold: the one to use: a pair matches when its score is at least this.
        distance_threshold: 1 − score_threshold.
        interval: 95 % interval of row_f1 over groups; None where the protocol is not honest.
        warnings: which rows were left out and why, and what else to know before trusting it.
        curve: of the rows that score_threshold was tuned on; not kept in the file.
    """

    space: str
    fingerprint: str
    label: str
    where: tuple[str, ...]
    unseen_by: tuple[str, ...]
    split_column: str | None
    k: int
    protocol: str
    seed: int
    num_rows: int
    num_groups: int
    num_reported: int
    row_f1: float
    precision: float
    recall: float
    recall_within_k: float
    score_threshold: float
    distance_threshold: float
    interval: tuple[float, float] | None
    warnings: tuple[str, ...]
    curve: ScoreCurve | None = None

    def to_json(self) -> dict[str, Any]:
        """What the file and `--json` hold: every field but the curve, and no interval of None."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["curve"]
        if self.interval is None:
            del values["interval"]
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **values}


def tune_threshold(store: Store, settings: TuneSettings) -> ThresholdResult:
    """The threshold with the best mean row F1, exactly, and what it reaches under the protocol.

    All distinct scores are tried, equal scores as one; among cuts with equal F1 the one with the
    fewest matches is taken. It lies halfway between the lowest score taken and the next lower one.

    Raises:
        StoreError: there is no such space or column, or a vector is not finite.
        SelectionError: no rows are left, no two share a label, or there are too few groups.
        SettingsError: k is below 2, or there is no such protocol.
    """
    refuse_small_k(settings.k)
    rows = evaluation_rows(store, settings)
    refuse_unfit(rows.num_groups, settings.protocol)
    neighbours = find_neighbours(rows.sides, settings.spaces[0], settings.k)
    judged = judge(neighbours.rows, rows)
    tuning = tuned(neighbours, judged, rows.groups, settings.protocol, settings.seed)
    reached = report(neighbours, judged, tuning, np.random.default_rng(settings.seed))
    return ThresholdResult(
        **_provenance(store, settings, rows),
        num_reported=reached.num_rows,
        row_f1=reached.row_f1,
        precision=reached.precision,
        recall=reached.recall,
        recall_within_k=float(metrics_at(neighbours, judged, -np.inf)[2].mean()),
        score_threshold=tuning.threshold,
        distance_threshold=1 - tuning.threshold,
        interval=None if settings.protocol == "same-rows" else reached.interval,
        warnings=_warnings(rows, settings, tuning),
        curve=tuning.curve,
    )


def refuse_small_k(k: int) -> None:
    """Raise SettingsError where k leaves no room for a match."""
    if k < 2:
        raise SettingsError(f"--k counts the item itself and should be at least 2: found {k}")


def _provenance(store: Store, settings: TuneSettings, rows: EvaluationRows) -> dict[str, Any]:
    return {
        "space": settings.spaces[0],
        "fingerprint": store.space(settings.spaces[0]).fingerprint,
        "label": settings.label,
        "where": tuple(map(str, settings.where)),
        "unseen_by": settings.unseen_by,
        "split_column": settings.split_column,
        "k": settings.k,
        "protocol": settings.protocol,
        "seed": settings.seed,
        "num_rows": len(rows.sides.gallery),
        "num_groups": rows.num_groups,
    }


def _warnings(rows: EvaluationRows, settings: TuneSettings, tuning: Tuned) -> tuple[str, ...]:
    warnings = list(rows.warnings)
    if settings.protocol == "same-rows":
        warnings.append(OPTIMISTIC)
    if tuning.curve is not None and tuning.curve.best_cut() == 0:
        warnings.append("no score tells matches apart: the best threshold leaves every item alone")
    return tuple(warnings)
