"""`/items`: items to begin with, where nothing has been searched for yet."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from pydantic import BaseModel

from retrieval.service.asking import MOST_RESULTS, filtered
from retrieval.service.dependencies import CurrentSnapshot
from retrieval.service.items import Item, item_of

router = APIRouter(tags=["items"])


class ItemList(BaseModel):
    """Some of the `num_items` that fit the filters."""

    num_items: int
    items: list[Item]


@router.get("/items")
def items(
    snapshot: CurrentSnapshot,
    limit: Annotated[int, Query(ge=1, le=MOST_RESULTS, description="How many items.")] = 24,
    where: Annotated[list[str] | None, Query(description="COLUMN=VALUE; repeatable.")] = None,
) -> ItemList:
    """Items from all over the store, evenly spaced in its order."""
    allowed = filtered(snapshot, where or [])
    rows = np.arange(len(snapshot.catalogue)) if allowed is None else np.flatnonzero(allowed)
    places = np.linspace(0, len(rows), min(limit, len(rows)), endpoint=False).astype(np.int64)
    listed = [item_of(snapshot, int(row)) for row in rows[places]]
    return ItemList(num_items=len(rows), items=listed)
