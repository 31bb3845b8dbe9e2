"""The answer to a query: what it asks for, checked, searched and judged."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embed.errors import SettingsError
from retrieval.service.asking import (
    Judged,
    Plan,
    Use,
    combine_of,
    cut_of_query,
    filtered,
    queries_of_row,
    refuse_unknown_spaces,
    weights_of,
)
from retrieval.service.judging import Query, judged
from retrieval.service.queries import Given, Taken
from retrieval.service.search import SpaceQuery
from retrieval.service.service import Snapshot
from retrieval.service.spaces import Vector

BOTH: Use = "image and title"
IN_WORDS: Mapping[Taken, str] = {"image": "an image", "title": "a title"}
REFINED = "the threshold was tuned with refined neighbours, which single queries have not"
RECIPROCAL = (
    "the threshold was tuned for matches that find one another, and no item of the store finds "
    "what is no item itself"
)


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

    @property
    def given(self) -> Given:
        """What is searched by, without what weighs nothing."""
        if self.image is None or self.title is None:
            return Given(self.image, self.title)
        image = None if self.image_weight == 0 else self.image
        title = None if self.image_weight == 1 else self.title
        return Given(image, title, self.image_weight)


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
        EncoderError: an encoder can't be had.
        BusyError: too many queries are waiting.
    """
    refuse_unknown_spaces(snapshot, asked.spaces)
    allowed = filtered(snapshot, asked.where)
    query, warnings = query_of(snapshot, asked)
    found = query.best(snapshot, asked.k, allowed=allowed)
    what = judged(snapshot, query, found, is_filtered=allowed is not None)
    return Answer(query.plan, what, (*warnings, *_of_rule(snapshot, query)))


def query_of(snapshot: Snapshot, asked: Asked) -> tuple[Query, list[str]]:
    """What is searched for, and what to know of how that is done.

    Raises:
        What `answer` raises.
    """
    refuse_unclear(snapshot, asked)
    if asked.id is None:
        return _of_given(snapshot, asked)
    row = snapshot.catalogue.row_of(asked.id)
    spaces = tuple(dict.fromkeys(asked.spaces or snapshot.spaces))
    cut = cut_of_query(snapshot, spaces, asked.thresholds, row)
    used_for: dict[str, Use] = dict.fromkeys(spaces, "id")
    plan = Plan(weights_of(snapshot, spaces), used_for, combine_of(snapshot, spaces), cut)
    return Query(plan, queries_of_row(snapshot, row, plan), row), []


def _of_given(snapshot: Snapshot, asked: Asked) -> tuple[Query, list[str]]:
    """An image, a title, or both."""
    given = asked.given
    parts, warnings = _parts(snapshot, asked, given)
    spaces = tuple(parts)
    cut = cut_of_query(snapshot, spaces, asked.thresholds)
    weights = _weights(snapshot, parts, asked.image_weight)
    plan = Plan(weights, _uses(snapshot, parts), combine_of(snapshot, spaces), cut)
    vectors = snapshot.encoders.vectors(given, parts)
    queries = {
        space: SpaceQuery(_mixed(of_parts, asked.image_weight), weights[space])
        for space, of_parts in vectors.items()
    }
    return Query(plan, queries), warnings


def _of_rule(snapshot: Snapshot, query: Query) -> list[str]:
    """What of the rule does not hold for a query in the rule's own spaces."""
    rule = snapshot.rule
    if rule is None or set(query.plan.weights) != set(rule.spaces):
        return []
    if rule.refinements:
        return [f"{REFINED}: what matches by it is not said here"]
    if rule.rules.reciprocal and query.row is None:
        return [f"{RECIPROCAL}: that is left out of what matches here"]
    return []


def _parts(
    snapshot: Snapshot, asked: Asked, given: Given
) -> tuple[dict[str, tuple[Taken, ...]], list[str]]:
    """What each space is searched by; a space that can't be is left out, unless it was named."""
    spaces = tuple(dict.fromkeys(asked.spaces or snapshot.spaces))
    fitting = _fitting(snapshot, spaces, given)
    left_out = [space for space in spaces if space not in fitting]
    if not left_out:
        return fitting, []
    reasons = "; ".join(_reason(snapshot, space) for space in left_out)
    if asked.spaces:
        raise SettingsError(reasons)
    others = fitting or _fitting(snapshot, tuple(snapshot.store.spaces), given)
    if not others:
        raise SettingsError(f"nothing can be searched by {' and '.join(given.parts)}: {reasons}")
    return others, [f"{reasons}: searched {', '.join(others)} instead"]


def _fitting(
    snapshot: Snapshot, spaces: tuple[str, ...], given: Given
) -> dict[str, tuple[Taken, ...]]:
    found = {space: snapshot.encoders.intake(space).fits(given.parts) for space in spaces}
    return {space: parts for space, parts in found.items() if parts}


def _reason(snapshot: Snapshot, space: str) -> str:
    intake = snapshot.encoders.intake(space)
    if intake.why_not is not None:
        return f"space '{space}' can't be searched so: {intake.why_not}"
    taken = (" and " if intake.needs_both else " or ").join(IN_WORDS[each] for each in intake.takes)
    return f"space '{space}' takes {taken}, or an id" if taken else f"space '{space}' takes an id"


def _uses(snapshot: Snapshot, parts: Mapping[str, tuple[Taken, ...]]) -> dict[str, Use]:
    uses: dict[str, Use] = {}
    for space, used in parts.items():
        uses[space] = BOTH if len(used) == 2 else used[0]
    return uses


def _weights(
    snapshot: Snapshot, parts: Mapping[str, tuple[Taken, ...]], image_weight: float
) -> dict[str, float]:
    """The weights of the rule, moved so that images have their share of all that takes but one."""
    weights = weights_of(snapshot, tuple(parts))
    alone = {space: used[0] for space, used in parts.items() if len(used) == 1}
    if set(alone.values()) != {"image", "title"}:
        return weights
    total = sum(weights[space] for space in alone)
    for part, share in (("image", image_weight), ("title", 1 - image_weight)):
        own = [space for space, used in alone.items() if used == part]
        of_part = sum(weights[space] for space in own)
        weights |= {space: weights[space] / of_part * total * share for space in own}
    return weights


def _mixed(vectors: Mapping[Taken, Vector], image_weight: float) -> Vector:
    """The vector of a query; of an image and a title in one space, their weighted sum."""
    if len(vectors) == 1:
        return next(iter(vectors.values()))
    image, title = (np.asarray(vectors[part], np.float32) for part in ("image", "title"))
    return image_weight * image + (1 - image_weight) * title


def refuse_unclear(snapshot: Snapshot, asked: Asked) -> None:
    """Raise SettingsError where nothing is asked for, or too much."""
    if asked.id is None and asked.title is None and asked.image is None:
        raise SettingsError("nothing to search for: give an image, a title or an id")
    if asked.id is not None and (asked.title is not None or asked.image is not None):
        raise SettingsError("an id is searched for alone: leave the image and the title out")
    most = snapshot.settings.limits.max_characters
    if asked.title is not None and len(asked.title) > most:
        raise SettingsError(
            f"a title has at most {most:,} characters: found {len(asked.title):,}; shorten it"
        )
