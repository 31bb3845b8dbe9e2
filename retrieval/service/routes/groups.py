"""`/groups`: the groups of matches, largest or most doubtful first, and each of them whole."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from retrieval.matches.grouping import Linkage
from retrieval.service.dependencies import CurrentSnapshot
from retrieval.service.groups import Order, StoreGroups, groups_of
from retrieval.service.items import image_address
from retrieval.service.routes.figures import Thresholds
from retrieval.service.routes.progress import WAIT_SECONDS, Progress
from retrieval.service.service import Snapshot

router = APIRouter(tags=["explore"])

NUM_SHOWN = 12
MOST_GROUPS = 100
MOST_ITEMS, MOST_LINKS = 500, 2000

AnyLinkage = Annotated[
    Linkage,
    Query(description="complete: all pairs of a group match; single: chains of matches make one."),
]


class GroupItem(BaseModel):
    """An item of a group; `image` is the address of its thumbnail."""

    id: str
    title: str
    image: str | None


class Group(BaseModel):
    """A group: `number` counts from 1, as in the file that `retrieval match --groups` writes.

    `weakest` is the score of its weakest link, on the way along which its items hold together best,
    `weakest_link` the ids of the two, and `margin` by how much it is above the threshold (null
    where each space has its own). `is_flagged`: some of its items share it only through others.
    """

    number: int
    size: int
    weakest: float | None
    weakest_link: list[str]
    margin: float | None
    lowest: float | None
    num_unmatched: int
    is_flagged: bool
    items: list[GroupItem]


class GroupsAnswer(Progress):
    """Some groups of two items or more; `items` are the first 12, the weakest link first."""

    num_groups: int | None = None
    groups: list[Group] = Field(default=[])


class Link(BaseModel):
    """A match of two items of a group."""

    first: str
    second: str
    score: float
    is_weakest: bool


class GroupAnswer(Progress):
    """A whole group: its first 500 items, and the weakest 2,000 links between these."""

    group: Group | None = None
    num_links: int | None = None
    links: list[Link] = Field(default=[])


@router.get("/groups")
def groups(
    snapshot: CurrentSnapshot,
    threshold: Thresholds,
    order: Order = "size",
    start: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_GROUPS)] = 20,
    linkage: AnyLinkage = "complete",
) -> GroupsAnswer:
    """The groups of items that match one another."""
    work = groups_of(snapshot, linkage, threshold)
    if not work.is_ready_within(WAIT_SECONDS):
        return GroupsAnswer(ready=False, progress=work.progress)
    found: StoreGroups = work.result()
    numbers = found.ordered(order)[start : start + limit]
    return GroupsAnswer(
        ready=True,
        progress=1,
        num_groups=found.num_shared,
        groups=[_group(snapshot, found, number, NUM_SHOWN) for number in numbers.tolist()],
    )


@router.get("/groups/{number}")
def group(
    snapshot: CurrentSnapshot,
    number: Annotated[int, Path(ge=1, le=10**9)],
    threshold: Thresholds,
    linkage: AnyLinkage = "complete",
) -> GroupAnswer:
    """All of one group, and the links that hold it together."""
    work = groups_of(snapshot, linkage, threshold)
    if not work.is_ready_within(WAIT_SECONDS):
        return GroupAnswer(ready=False, progress=work.progress)
    found: StoreGroups = work.result()
    shown = _group(snapshot, found, number - 1, MOST_ITEMS)
    num_links, links = _links(snapshot, found, number - 1, {item.id for item in shown.items})
    return GroupAnswer(ready=True, progress=1, group=shown, num_links=num_links, links=links)


def _group(snapshot: Snapshot, found: StoreGroups, number: int, most: int) -> Group:
    rows, about = found.items(number), found.groups
    is_shared = len(rows) > 1
    return Group(
        number=number + 1,
        size=len(rows),
        weakest=_score(about.weakest_chain[number]) if is_shared else None,
        weakest_link=[snapshot.catalogue.id_of(int(row)) for row in rows[:2]] if is_shared else [],
        margin=_score(found.margins[number]) if is_shared and found.has_margins else None,
        lowest=_score(about.lowest_score[number]) if is_shared else None,
        num_unmatched=int(about.num_unmatched[number]),
        is_flagged=bool(about.is_flagged[number]),
        items=[_item(snapshot, row) for row in rows[:most].tolist()],
    )


def _item(snapshot: Snapshot, row: int) -> GroupItem:
    catalogue = snapshot.catalogue
    return GroupItem(
        id=catalogue.id_of(row),
        title=catalogue.title_of(row),
        image=image_address(snapshot, row),
    )


def _links(
    snapshot: Snapshot, found: StoreGroups, number: int, shown: set[str]
) -> tuple[int, list[Link]]:
    """How many links the group has, and the weakest of those between items that are shown."""
    weakest, id_of = found.weakest_link(number), snapshot.catalogue.id_of
    all_links = list(found.links(number))
    links: list[Link] = []
    for pair, score in all_links:
        first, second = map(id_of, pair)
        if {first, second} <= shown and len(links) < MOST_LINKS:
            is_weakest = pair == weakest
            links.append(
                Link(first=first, second=second, score=_score(score), is_weakest=is_weakest)
            )
    return len(all_links), links


def _score(score: float) -> float:
    return round(float(score), 9)
