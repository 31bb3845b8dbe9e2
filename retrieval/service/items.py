"""An item as answers show it."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from pydantic import BaseModel

from retrieval.service.asking import Judged
from retrieval.service.service import Snapshot


class Attribute(BaseModel):
    """What an attribute head says of an item."""

    attribute: str
    value: str
    probability: float


class SpaceScore(BaseModel):
    """The score in one space, and whether it reaches the threshold there."""

    name: str
    score: float | None
    agrees: bool | None


class Item(BaseModel):
    """An item of the store; `image` is the address of its thumbnail."""

    id: str
    title: str
    columns: dict[str, str]
    image: str | None
    attributes: list[Attribute] | None = None


class ScoredItem(Item):
    """An item with its score to what was searched for; distance = 1 − score."""

    score: float
    distance: float
    is_match: bool | None
    probability: float | None
    spaces: list[SpaceScore]


def item_of(snapshot: Snapshot, row: int) -> Item:
    """The item of a row, with its attributes where a head predicts them."""
    return Item(**_fields(snapshot, row), attributes=_attributes(snapshot, [row])[0])


def scored_items(snapshot: Snapshot, judged: Judged, spaces: list[str]) -> list[ScoredItem]:
    """What was found, best first."""
    found = judged.found
    probabilities = _probabilities(snapshot, judged)
    attributes = _attributes(snapshot, found.rows.tolist())
    return [
        ScoredItem(
            **_fields(snapshot, int(row)),
            attributes=attributes[place],
            score=rounded(found.combined[place]),
            distance=rounded(1 - found.combined[place].astype(float)),
            is_match=None if judged.is_match is None else bool(judged.is_match[place]),
            probability=probabilities[place],
            spaces=_spaces(judged, spaces, place),
        )
        for place, row in enumerate(found.rows)
    ]


def image_address(snapshot: Snapshot, row: int) -> str | None:
    """Where the thumbnail of an item is; None where it has no image."""
    if not snapshot.images.has(row):
        return None
    return f"/image/{quote(snapshot.catalogue.id_of(row), safe='')}"


def _fields(snapshot: Snapshot, row: int) -> Mapping[str, Any]:
    catalogue = snapshot.catalogue
    return {
        "id": catalogue.id_of(row),
        "title": catalogue.title_of(row),
        "columns": catalogue.columns_of(row),
        "image": image_address(snapshot, row),
    }


def _attributes(snapshot: Snapshot, rows: list[int]) -> Sequence[list[Attribute] | None]:
    if snapshot.attributes is None:
        return [None] * len(rows)
    return [
        [
            Attribute(attribute=each.attribute, value=each.value, probability=each.probability)
            for each in of_item
        ]
        for of_item in snapshot.attributes.of_rows(np.array(rows, np.int64))
    ]


def _spaces(judged: Judged, spaces: list[str], place: int) -> list[SpaceScore]:
    scores = []
    for number, name in enumerate(spaces):
        agrees = judged.agrees[name]
        scores.append(
            SpaceScore(
                name=name,
                score=rounded(judged.found.scores[number, place]),
                agrees=None if agrees is None else bool(agrees[place]),
            )
        )
    return scores


def _probabilities(snapshot: Snapshot, judged: Judged) -> list[float | None]:
    rule, combined = snapshot.rule, judged.found.combined
    if rule is None or rule.calibration is None or judged.is_match is None:
        return [None] * len(combined)
    return [rounded(each) for each in rule.calibration(combined)]


def rounded(score: Any) -> float:
    """Enough digits to tell two float32 apart."""
    return round(float(score), 9)
