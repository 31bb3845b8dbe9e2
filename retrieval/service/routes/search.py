"""`/search`: the items nearest to an image, a title or an item."""

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Form, Query, Response, UploadFile
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile as Upload

from retrieval.service.answering import Answer, Asked, answer
from retrieval.service.asking import MOST_RESULTS, Use
from retrieval.service.dependencies import CurrentSnapshot
from retrieval.service.fields import Body
from retrieval.service.filtering import warnings_of
from retrieval.service.items import ScoredItem, scored_items
from retrieval.service.matching import matches
from retrieval.service.routes.uploads import content_of
from retrieval.service.service import Snapshot

router = APIRouter(tags=["search"])


class SearchQuery(Body):
    """What to search for, by what, and among what."""

    title: str | None = Field(None, description="Words to search for.")
    id: str | None = Field(None, description="An item whose neighbours are wanted.")
    image_weight: float = Field(0.5, ge=0, le=1, description="Of the image, beside a title.")
    k: int = Field(24, ge=1, le=MOST_RESULTS, description="How many results.")
    space: list[str] = Field([], description="Spaces to search; repeatable.")
    where: list[str] = Field([], description="COLUMN=VALUE; repeatable.")
    threshold: list[str] = Field([], description="A score, or SPACE=SCORE; repeatable.")


class SearchForm(SearchQuery):
    """The same with an image."""

    image: UploadFile | None = Field(None, description="An image file to search by.")


class MatchForm(Body):
    """What to find the matches of."""

    image: UploadFile | None = Field(None, description="An image file.")
    title: str | None = Field(None, description="Its title.")
    image_weight: float = Field(0.5, ge=0, le=1, description="Of the image, beside a title.")


class QueryEcho(BaseModel):
    """What was searched for."""

    id: str | None
    title: str | None
    has_image: bool


class SearchedSpace(BaseModel):
    """A space that was searched."""

    name: str
    weight: float
    used_for: Use


class SearchResult(BaseModel):
    """The best items; `num_matches` counts those of them that match."""

    query: QueryEcho
    spaces: list[SearchedSpace]
    thresholds: dict[str, float | None]
    num_matches: int
    results: list[ScoredItem]
    warnings: list[str]
    seconds: float


@router.get("/search", response_model=SearchResult)
def search(asked: Annotated[SearchQuery, Query()], snapshot: CurrentSnapshot) -> Response:
    """The items nearest to a title or to an item of the store."""
    return _sent(search_result(snapshot, _asked(asked, None)))


@router.post("/search", response_model=SearchResult)
def search_by_form(
    asked: Annotated[SearchForm, Form(media_type="multipart/form-data")],
    snapshot: CurrentSnapshot,
) -> Response:
    """The items nearest to an image, a title, or both."""
    return _sent(search_result(snapshot, _asked(asked, asked.image)))


@router.get("/match", response_model=SearchResult)
def match(
    id: Annotated[str, Query(description="An item of the store.")],  # noqa: A002
    snapshot: CurrentSnapshot,
) -> Response:
    """The matches of an item, by the tuned rule alone: those that `retrieval match` writes."""
    return _sent(search_result(snapshot, Asked(id=id), matches))


@router.post("/match", response_model=SearchResult)
def match_by_form(
    asked: Annotated[MatchForm, Form(media_type="multipart/form-data")], snapshot: CurrentSnapshot
) -> Response:
    """The matches of an image, a title, or both, by the tuned rule."""
    image, title = content_of(asked.image), asked.title or None
    given = Asked(image=image, title=title, image_weight=asked.image_weight)
    return _sent(search_result(snapshot, given, matches))


def search_result(
    snapshot: Snapshot, asked: Asked, find: Callable[[Snapshot, Asked], Answer] = answer
) -> SearchResult:
    """The answer to a query."""
    started = time.perf_counter()
    found = find(snapshot, asked)
    return SearchResult(
        query=QueryEcho(id=asked.id, title=asked.title, has_image=asked.image is not None),
        spaces=_spaces(found),
        thresholds={"combined": found.plan.cut.combined, **found.plan.cut.of_spaces},
        num_matches=found.judged.num_matches,
        results=scored_items(snapshot, found.judged, list(found.plan.weights)),
        warnings=[*found.warnings, *warnings_of(snapshot, asked.where)],
        seconds=round(time.perf_counter() - started, 6),
    )


def _sent(result: SearchResult) -> Response:
    """As FastAPI would send it, but not checked once more, which takes another thread its time."""
    return Response(result.model_dump_json(), media_type="application/json")


def _asked(asked: SearchQuery, image: Upload | None) -> Asked:
    return Asked(
        id=asked.id,
        title=asked.title or None,
        image=content_of(image),
        image_weight=asked.image_weight,
        k=asked.k,
        spaces=tuple(asked.space),
        where=tuple(asked.where),
        thresholds=tuple(asked.threshold),
    )


def _spaces(found: Answer) -> list[SearchedSpace]:
    return [
        SearchedSpace(name=name, weight=weight, used_for=found.plan.used_for[name])
        for name, weight in found.plan.weights.items()
    ]
