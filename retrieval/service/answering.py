"""The answer to a query: what it asks for, checked, searched and judged."""

from dataclasses import dataclass

from embed.errors import SettingsError
from retrieval.service.asking import (
    Judged,
    Plan,
    Use,
    combine_of,
    cut_of,
    filtered,
    judged,
    queries_of_row,
    read_thresholds,
    refuse_unknown_spaces,
    weights_of,
)
from retrieval.service.service import Snapshot

USED_FOR_ID: Use = "id"


@dataclass(frozen=True)
class Asked:
    """What a client asks for: an item, or an image and a title.

    Attributes:
        id: an item of the store.
        title, image: words, and the bytes of an image file.
        image_weight: of the image, 0 to 1, where there are both.
        k: how many results.
        spaces: those to search; () takes the rule's.
        where: restrictions, COLUMN=VALUE.
        thresholds: scores, or SPACE=SCORE.
    """

    id: str | None = None
    title: str | None = None
    image: bytes | None = None
    image_weight: float = 0.5
    k: int = 24
    spaces: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    thresholds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What was found, by which plan, and what to know of it."""

    plan: Plan
    judged: Judged
    warnings: tuple[str, ...] = ()


def answer(snapshot: Snapshot, asked: Asked) -> Answer:
    """The items nearest to what is asked for.

    Raises:
        SettingsError: nothing is asked for, or too much; a threshold that is none.
        IdError: there is no such item.
        StoreError: there is no such space or column.
        ImageError: the image can't be decoded.
    """
    _refuse_unclear(asked)
    refuse_unknown_spaces(snapshot, asked.spaces)
    assert asked.id is not None
    return _of_item(snapshot, asked, snapshot.catalogue.row_of(asked.id))


def _of_item(snapshot: Snapshot, asked: Asked, row: int) -> Answer:
    spaces = asked.spaces or snapshot.spaces
    cut = read_thresholds(asked.thresholds, cut_of(snapshot, spaces, row))
    weights = weights_of(snapshot, spaces)
    used_for = dict.fromkeys(spaces, USED_FOR_ID)
    plan = Plan(weights, used_for, combine_of(snapshot, spaces), cut)
    found = snapshot.searcher.best(
        queries_of_row(snapshot, row, plan),
        asked.k,
        combine=plan.combine,
        allowed=filtered(snapshot, asked.where),
        without=row,
    )
    return Answer(plan, judged(found, plan))


def _refuse_unclear(asked: Asked) -> None:
    if asked.id is None and asked.title is None and asked.image is None:
        raise SettingsError("nothing to search for: give an image, a title or an id")
    if asked.id is not None and (asked.title is not None or asked.image is not None):
        raise SettingsError("an id is searched for alone: leave the image and the title out")
    if asked.id is None:
        raise SettingsError("searching by an image or a title is not there yet: give an id")
