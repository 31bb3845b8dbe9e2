"""How each imported space will be written, and what it will say of itself."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from embed.exchange.foreign_items import ForeignItems, ForeignSpace
from embed.exchange.foreign_vectors import ForeignVectors, Layout
from embed.exchange.record import SpaceRecord
from embed.store import SpaceInfo, StoreWriter


@dataclass(frozen=True)
class SpacePlan:
    """How a space will be written: its rows in the order of the store, and what it says."""

    name: str
    space: ForeignSpace
    info: SpaceInfo
    layout: Layout
    warnings: tuple[str, ...] = ()

    @property
    def is_as_recorded(self) -> bool:
        """Whether it comes back as it was exported, its encoder's fingerprint included."""
        return self.space.record is not None and self.info == self.space.record.info

    def write(self, writer: StoreWriter) -> None:
        """Write the space, and which of its rows a head has seen."""
        fitted = self.space.fitted
        self.space.vectors.write(writer, self.name, self.info, self.layout, fitted)
        if self.space.seen is not None:
            writer.write_seen(self.name, self.space.seen[self.layout.order])


def plan_space(
    name: str, space: ForeignSpace, items: ForeignItems, order: Int[np.ndarray, " n"]
) -> SpacePlan:
    """Look at every vector, and decide what the space says of itself.

    `order` has the row of the items for each row of the store.

    Raises:
        SourceError: a vector holds NaN or infinity; the message names its row and id.
    """
    vectors, recorded = space.vectors, space.record
    if recorded is not None and _is_as_recorded(vectors, recorded):
        vectors.survey(items.ids)
        return SpacePlan(name, space, recorded.info, Layout(order))
    vectors.tidy()
    survey = vectors.survey(items.ids)
    warnings = []
    if recorded is not None:
        warnings.append(f"space '{name}' is not what was exported: it is taken as imported")
    if not survey.is_unit:
        warnings.append(f"vectors of space '{name}' were scaled to length 1")
    if len(survey.zero_rows):
        first = items.ids[survey.zero_rows[0]]
        follows = "their score to anything is 0"
        if vectors.kind == "dense":
            follows = "searches refuse the space while they are among the rows"
        warnings.append(
            f"{len(survey.zero_rows)} vectors of space '{name}' are zero, that of '{first}' the "
            f"first: {follows}"
        )
    layout = Layout(order, scaled=not survey.is_unit)
    info = SpaceInfo(
        kind=vectors.kind,
        modality=space.modality,
        spec=f"imported:{vectors.path.name}",
        fingerprint=vectors.hash(layout),
        precision=vectors.precision,
        normalized=vectors.kind != "binary",
        dim=vectors.dim,
        training=recorded.info.training if recorded is not None else "[]",
    )
    return SpacePlan(name, replace(space, fitted={}), info, layout, tuple(warnings))


def _is_as_recorded(vectors: ForeignVectors, record: SpaceRecord) -> bool:
    """Whether these are the vectors that were exported."""
    bits = -(-record.info.dim // 8) * 8 if record.info.kind == "binary" else record.info.dim
    if (vectors.kind, vectors.dim) != (record.info.kind, bits):
        return False
    return vectors.hash(Layout(np.arange(len(vectors)))) == record.vectors
