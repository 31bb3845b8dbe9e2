"""`/figures` and `/curve`: what thresholds give for the whole store."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from jaxtyping import Float64
from pydantic import Field

from retrieval.service.curves import Curve, curve_of
from retrieval.service.dependencies import CurrentSnapshot
from retrieval.service.figures import StoreFigures, figures_of
from retrieval.service.given_thresholds import GIVE_ONE, thresholds_of
from retrieval.service.routes.progress import WAIT_SECONDS, Progress
from retrieval.service.service import Snapshot

router = APIRouter(tags=["explore"])

Thresholds = Annotated[
    list[str],
    Query(
        default_factory=list,
        description="A score, or SPACE=SCORE of each space; the one in use by default.",
    ),
]


class FiguresAnswer(Progress):
    """What thresholds give for the whole store; null where it is not ready, or without labels.

    Figures of rows count the item itself as a match; those of pairs count each pair once. They are
    over the labelled rows that no head has seen: `num_rows`. What people have decided counts at the
    tuned thresholds; `without_decisions` where it would change the matches and does not count.
    """

    num_pairs: int | None = None
    num_items_with_match: int | None = None
    row_f1: float | None = None
    precision: float | None = None
    recall: float | None = None
    pair_f1: float | None = None
    pair_precision: float | None = None
    pair_recall: float | None = None
    num_rows: int | None = None
    without_decisions: bool = False
    warnings: list[str] = Field(default=[])


class CurveAnswer(Progress):
    """What each threshold gives, ascending; `chosen` and `best` are two of them.

    `space` is the space whose threshold it is, where each space has one of its own. Decisions of
    people are not counted in: `without_decisions` where there are some.
    """

    space: str | None = None
    thresholds: list[float] = Field(default=[])
    num_pairs: list[int] = Field(default=[])
    num_items_with_match: list[int] = Field(default=[])
    row_f1: list[float] | None = None
    precision: list[float] | None = None
    recall: list[float] | None = None
    chosen: float | None = None
    best: float | None = None
    num_rows: int | None = None
    without_decisions: bool = False
    warnings: list[str] = Field(default=[])


@router.get("/figures")
def figures(snapshot: CurrentSnapshot, threshold: Thresholds) -> FiguresAnswer:
    """How much matches at a threshold and, where labels are known, how right that is."""
    thresholds = _thresholds(snapshot, threshold)
    work = figures_of(snapshot)
    if not work.is_ready_within(WAIT_SECONDS):
        return FiguresAnswer(ready=False, progress=work.progress)
    found: StoreFigures = work.result()
    decisions = snapshot.journal.read()
    values = found.at_own(decisions) if thresholds is None else found.at(thresholds)
    return FiguresAnswer(
        ready=True,
        progress=1,
        without_decisions=thresholds is not None and len(decisions) > 0,
        warnings=list(found.warnings),
        **vars(values),
    )


@router.get("/curve")
def curve(
    snapshot: CurrentSnapshot,
    space: Annotated[
        str | None, Query(description="Whose threshold, where each space has one of its own.")
    ] = None,
) -> CurveAnswer:
    """How the figures change with the threshold, at some hundred of all that there are."""
    work = curve_of(snapshot, space)
    if not work.is_ready_within(WAIT_SECONDS):
        return CurveAnswer(ready=False, progress=work.progress)
    found: Curve = work.result()
    figures = figures_of(snapshot).result()
    return CurveAnswer(
        ready=True,
        progress=1,
        space=found.space,
        thresholds=found.thresholds.tolist(),
        num_pairs=found.num_pairs.tolist(),
        num_items_with_match=found.num_items_with_match.tolist(),
        row_f1=_rounded(found.row_f1),
        precision=_rounded(found.precision),
        recall=_rounded(found.recall),
        chosen=found.chosen,
        best=found.best,
        num_rows=None if figures.labelled is None else len(figures.labelled.judged.num_true),
        without_decisions=len(snapshot.journal.read()) > 0,
        warnings=list(figures.warnings),
    )


def _thresholds(snapshot: Snapshot, given: list[str]) -> tuple[float, ...] | None:
    if given:
        return thresholds_of(snapshot.pairs_rule, given)
    snapshot.needed_rule(GIVE_ONE)
    return None


def _rounded(values: Float64[np.ndarray, " p"] | None) -> list[float] | None:
    return None if values is None else values.round(9).tolist()
