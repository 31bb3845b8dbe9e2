"""`/store`: what is served, and how it can be searched."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from retrieval.service.dependencies import CurrentService, CurrentSnapshot
from retrieval.service.disclosure import folders_of_settings, shown_spec, without_folders
from retrieval.service.service import Snapshot
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.rules import Rules

router = APIRouter(tags=["store"])

MOST_VALUES = 50


class Space(BaseModel):
    """A space; `takes` says what it can be searched by, `why_not` why not by all that it could."""

    name: str
    kind: str
    modality: str
    dim: int
    spec: str
    is_searched: bool
    takes: list[str]
    needs_both: bool
    why_not: str | None


class Column(BaseModel):
    """A column; `values` are the most frequent, null where nearly every item has its own."""

    name: str
    values: list[str] | None
    num_values: int


class SpaceThreshold(BaseModel):
    """The share of a space, and its own threshold where it has one."""

    name: str
    weight: float
    score_threshold: float | None


class Threshold(BaseModel):
    """What is a match; `has_bounds` where more than scores decides.

    Matches are then at least or at most so many, end at a gap, find one another, or a category has
    thresholds of its own.
    """

    combine: str
    spaces: list[SpaceThreshold]
    score_threshold: float | None
    distance_threshold: float | None
    k: int
    has_bounds: bool
    row_f1: float | None
    path: str | None


class StoreAnswer(BaseModel):
    """What is served.

    `attributes_take` is what of an image and a title the attributes of an upload are predicted
    from, all of it together; nothing where only those of items can be. `can_decide` says whether
    decisions can be kept; they are the `reviewer`'s where nobody else is named.
    """

    name: str
    num_items: int
    created_utc: str
    spaces: list[Space]
    columns: list[Column]
    title_column: str | None
    image_column: str | None
    label: str | None
    threshold: Threshold | None
    attributes: list[str] | None
    attributes_take: list[str]
    can_decide: bool
    reviewer: str
    warnings: list[str]


@router.get("/store")
def store(service: CurrentService, snapshot: CurrentSnapshot) -> StoreAnswer:
    """What is served: spaces, columns, the threshold, and what is missing."""
    catalogue = snapshot.catalogue
    has_titles = catalogue.title_column in snapshot.store.columns
    folders = folders_of_settings(service.settings)
    given = [*snapshot.warnings, *service.warnings]
    return StoreAnswer(
        name=snapshot.store.path.name,
        num_items=len(catalogue),
        created_utc=str(snapshot.store.attributes["created_utc"]),
        spaces=[_space(snapshot, name) for name in snapshot.store.spaces],
        columns=_columns(snapshot),
        title_column=catalogue.title_column if has_titles else None,
        image_column=None if snapshot.images.warning else snapshot.images.column,
        label=snapshot.label,
        threshold=None if snapshot.rule is None else _threshold(snapshot, snapshot.rule),
        attributes=None if snapshot.attributes is None else list(snapshot.attributes.names),
        attributes_take=_taken_by_attributes(snapshot),
        can_decide=snapshot.journal.is_writable,
        reviewer=service.settings.reviewer,
        warnings=[without_folders(each, folders) for each in given],
    )


def _space(snapshot: Snapshot, name: str) -> Space:
    info = snapshot.store.space(name)
    fields: dict[str, Any] = {each: getattr(info, each) for each in ("kind", "modality", "dim")}
    intake = snapshot.encoders.intake(name)
    return Space(
        name=name,
        **fields,
        spec=shown_spec(info.spec),
        is_searched=name in snapshot.spaces,
        takes=["id", *intake.takes],
        needs_both=intake.needs_both,
        why_not=intake.why_not,
    )


def _taken_by_attributes(snapshot: Snapshot) -> list[str]:
    head = snapshot.attributes
    return [] if head is None else list(snapshot.encoders.intake_of(head.spaces).takes)


def _columns(snapshot: Snapshot) -> list[Column]:
    columns = []
    for name, counts in snapshot.catalogue.distinct.items():
        is_own = len(counts) > MOST_VALUES and len(counts) > len(snapshot.catalogue) / 2
        values = None if is_own else [value for value, _ in counts.most_common(MOST_VALUES)]
        columns.append(Column(name=name, values=values, num_values=len(counts)))
    return columns


def _threshold(snapshot: Snapshot, rule: MatchRule) -> Threshold:
    common = rule.thresholds[0] if len(rule.thresholds) == 1 else None
    own = [None] * len(rule.spaces) if common is not None else rule.thresholds
    tuned = snapshot.threshold
    return Threshold(
        combine=rule.combine,
        spaces=[
            SpaceThreshold(name=name, weight=weight, score_threshold=cut)
            for (name, weight), cut in zip(rule.spaces.items(), own, strict=True)
        ],
        score_threshold=common,
        distance_threshold=None if common is None else 1 - common,
        k=rule.k,
        has_bounds=rule.rules != Rules() or rule.category is not None,
        row_f1=None if tuned is None else tuned.reached["row_f1"],
        path=None if tuned is None else snapshot.threshold_name,
    )
