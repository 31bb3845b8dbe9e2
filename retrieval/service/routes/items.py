"""`/items` and `/image`: single items of the store."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from retrieval.service.dependencies import CurrentService, CurrentSnapshot
from retrieval.service.images import edge_of
from retrieval.service.items import Item, item_of

router = APIRouter(tags=["items"])


@router.get("/items/{id:path}")
def item(id: str, snapshot: CurrentSnapshot) -> Item:  # noqa: A002 (its name in the address)
    """An item with all of its columns."""
    return item_of(snapshot, snapshot.catalogue.row_of(id))


@router.get(
    "/image/{id:path}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, 304: {"description": "You have it."}},
)
def image(
    request: Request,
    id: str,  # noqa: A002
    service: CurrentService,
    snapshot: CurrentSnapshot,
    size: Annotated[str, Query(description="The longest edge in pixels, or `full`.")] = "256",
) -> Response:
    """A thumbnail of an item's image, upright, as JPEG."""
    edge = edge_of(size)
    row = snapshot.catalogue.row_of(id)
    key = snapshot.opened.number, row
    made = service.thumbnails.get(key, edge, lambda: snapshot.images.read(row))
    headers = {"ETag": f'"{made.tag}"', "Cache-Control": "private, max-age=300"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(made.data, media_type="image/jpeg", headers=headers)
