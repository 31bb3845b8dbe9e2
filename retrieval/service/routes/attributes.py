"""`/attributes`: what an attribute head says of an item, or of an image and a title."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, UploadFile
from pydantic import BaseModel, Field

from embed.errors import SettingsError
from retrieval.service.attributes import Attributes, Prediction
from retrieval.service.dependencies import CurrentSnapshot
from retrieval.service.fields import Body
from retrieval.service.queries import Given
from retrieval.service.routes.uploads import content_of
from retrieval.service.service import Snapshot

router = APIRouter(tags=["attributes"])


class Value(BaseModel):
    """A value of an attribute, and how probable it is."""

    value: str
    probability: float


class PredictedAttribute(BaseModel):
    """The most probable value of an attribute, and the next ones."""

    attribute: str
    value: str
    probability: float
    others: list[Value]


class AttributesAnswer(BaseModel):
    """The attributes of an item, or of what was uploaded."""

    id: str | None
    attributes: list[PredictedAttribute]


class AttributesForm(Body):
    """What is not in the store: as much of it as the head takes in."""

    image: UploadFile | None = Field(None, description="An image file.")
    title: str | None = Field(None, description="Its title.")
    category: str | None = Field(None, description="Its category, where the head goes by one.")


@router.get("/attributes")
def attributes(
    id: Annotated[str, Query(description="An item of the store.")],  # noqa: A002
    snapshot: CurrentSnapshot,
) -> AttributesAnswer:
    """What the attribute head says of an item."""
    row = snapshot.catalogue.row_of(id)
    (found,) = _head(snapshot).of_rows(snapshot.catalogue.as_rows(row))
    return AttributesAnswer(id=id, attributes=_answers(found))


@router.post("/attributes")
def attributes_of_upload(
    form: Annotated[AttributesForm, Form(media_type="multipart/form-data")],
    snapshot: CurrentSnapshot,
) -> AttributesAnswer:
    """What the attribute head says of an image and a title."""
    head = _head(snapshot)
    given = Given(content_of(form.image), form.title or None)
    features = snapshot.encoders.features(given, head.spaces)
    found = head.of_features(features, form.category)
    return AttributesAnswer(id=None, attributes=_answers(found))


def _head(snapshot: Snapshot) -> Attributes:
    if snapshot.attributes is None:
        raise SettingsError("no head predicts attributes: serve with --head of such a one")
    return snapshot.attributes


def _answers(found: list[Prediction]) -> list[PredictedAttribute]:
    return [
        PredictedAttribute(
            attribute=each.attribute,
            value=each.value,
            probability=each.probability,
            others=[Value(value=value, probability=share) for value, share in each.others],
        )
        for each in found
    ]
