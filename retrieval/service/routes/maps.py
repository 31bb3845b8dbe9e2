"""`/map`: a picture of a space in two dimensions."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from jaxtyping import Float32, Float64
from pydantic import Field

from retrieval.service.colours import Colours, colours_of
from retrieval.service.dependencies import CurrentSnapshot
from retrieval.service.maps import Method, StoreMap, map_of, methods, sampled
from retrieval.service.routes.progress import WAIT_SECONDS, Progress
from retrieval.service.service import Snapshot

router = APIRouter(tags=["explore"])

MOST_POINTS = 50_000
MOST_CHARACTERS = 80
"""Of a title, as a map shows it."""


class MapAnswer(Progress):
    """Where items lie: lists of one length, item by item.

    `explained` is the share of the space's variance along either axis; null where axes have no
    meaning. `colours` are places in `values`: the most frequent ones of the column, and the rest.
    `num_items` are those of the store; where there are more than `limit`, a sample is shown.
    """

    space: str
    method: Method
    methods: list[str]
    num_items: int
    explained: tuple[float, float] | None = None
    ids: list[str] = Field(default=[])
    titles: list[str] = Field(default=[])
    images: list[bool] = Field(default=[])
    x: list[float] = Field(default=[])
    y: list[float] = Field(default=[])
    colours: list[int] | None = None
    values: list[str] | None = None


@router.get("/map")
def map_(
    snapshot: CurrentSnapshot,
    space: Annotated[str | None, Query(description="The first one searched by default.")] = None,
    method: Method = "pca",
    colour: Annotated[str | None, Query(description="A column.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_POINTS)] = 20_000,
) -> MapAnswer:
    """Items as points, near one another where their vectors are."""
    name = snapshot.spaces[0] if space is None else space
    work = map_of(snapshot, name, method)
    colours = None if colour is None else colours_of(snapshot.catalogue, colour)
    shown = MapAnswer(
        ready=work.is_ready_within(WAIT_SECONDS),
        progress=work.progress,
        space=name,
        method=method,
        methods=methods(),
        num_items=len(snapshot.catalogue),
        values=None if colours is None else colours.values,
    )
    if shown.ready:
        _draw(shown, snapshot, work.result(), limit, colours)
    return shown


def _draw(
    shown: MapAnswer, snapshot: Snapshot, found: StoreMap, limit: int, colours: Colours | None
) -> None:
    """Put the points of a map into an answer, no more than the limit."""
    chosen = sampled(len(found.rows), limit)
    rows, catalogue = found.rows[chosen], snapshot.catalogue
    points = _rounded(found.points[chosen])
    shown.explained = found.explained
    shown.ids = [catalogue.id_of(row) for row in rows.tolist()]
    shown.titles = [_shortened(catalogue.title_of(row)) for row in rows.tolist()]
    shown.images = [snapshot.images.has(row) for row in rows.tolist()]
    shown.x, shown.y = points[:, 0].tolist(), points[:, 1].tolist()
    shown.colours = None if colours is None else colours.numbers[rows].tolist()


def _shortened(title: str) -> str:
    return title if len(title) <= MOST_CHARACTERS else title[: MOST_CHARACTERS - 1] + "…"


def _rounded(points: Float32[np.ndarray, "m 2"]) -> Float64[np.ndarray, "m 2"]:
    """With as many digits as can be seen."""
    return np.asarray(points.astype(np.float64).round(5))
