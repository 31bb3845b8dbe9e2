"""Vectors of images and titles that are in no store, by the encoders and heads of its spaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float32

from embed.errors import BusyError, HeadError, SettingsError
from embed.images import ImageTransform
from embed.store import Modality, Store
from heads.features import SpaceReference, scale_rows, written_out
from retrieval.service.batching import Batcher
from retrieval.service.encoders import EncoderPool, LoadedEncoder, has_two_towers, reason_of
from retrieval.service.spaces import Vector
from retrieval.service.threads import keep_to_one_thread

if TYPE_CHECKING:
    from heads.head import Head

Taken = Literal["image", "title"]
MODALITIES: Mapping[Taken, Modality] = {"image": "image", "title": "text"}


@dataclass(frozen=True)
class Given:
    """What a client searches by: the bytes of an image file, a title, or both.

    `image_weight` is the image's share of both, 0 to 1.
    """

    image: bytes | None
    title: str | None
    image_weight: float = 0.5

    @property
    def parts(self) -> tuple[Taken, ...]:
        """What there is of it."""
        there: dict[Taken, object] = {"image": self.image, "title": self.title}
        return tuple(part for part, value in there.items() if value is not None)


@dataclass(frozen=True)
class Intake:
    """By what a space can be searched.

    Attributes:
        takes: what it takes.
        needs_both: whether it takes an image and a title together alone.
        why_not: why it takes no more, None where nothing is missing.
    """

    takes: tuple[Taken, ...]
    needs_both: bool = False
    why_not: str | None = None

    def fits(self, parts: Sequence[Taken]) -> tuple[Taken, ...]:
        """What of these parts it can be searched by, () where that is nothing."""
        if self.needs_both:
            return ("image", "title") if set(parts) == {"image", "title"} else ()
        return tuple(part for part in parts if part in self.takes)


class QueryEncoders:
    """Makes vectors of queries in the spaces of a store.

    Raises:
        HeadError: a head that can't be read.
    """

    def __init__(
        self, store: Store, pool: EncoderPool, heads: Sequence["Head"], max_pixels: int
    ) -> None:
        self._store, self._pool, self._max_pixels = store, pool, max_pixels
        self._heads = {head.fingerprint: head for head in heads if head.info.output == "vectors"}
        self._projections: dict[str, Batcher[Float32[np.ndarray, " d"], Vector]] = {}
        for space, info in store.spaces.items():
            if info.spec.startswith("head:"):
                self._open_head(space)

    def begin(self) -> None:
        """Begin to load the encoders of all spaces."""
        for space, info in self._store.spaces.items():
            is_of_encoder = not info.spec.startswith(("head:", "imported:"))
            if is_of_encoder and info.modality in MODALITIES.values():
                self._pool.of(self._store, space, info.modality)

    def close(self) -> None:
        """End the threads of the heads."""
        for batcher in self._projections.values():
            batcher.close()

    def intake(self, space: str) -> Intake:
        """By what a space can be searched, without waiting for its encoder."""
        info = self._store.space(space)
        if info.spec.startswith("imported:"):
            return Intake((), why_not="its vectors were imported, and no encoder of it is known")
        if info.spec.startswith("head:"):
            return self._intake_of_head(space)
        own: Taken = "image" if info.modality == "image" else "title"
        reason = self._failure(space, info.modality)
        if reason is not None:
            return Intake((), why_not=reason)
        other: Taken = "title" if own == "image" else "image"
        if has_two_towers(info.spec) and self._failure(space, MODALITIES[other]) is None:
            return Intake(("image", "title"))
        return Intake((own,))

    def intake_of(self, spaces: Sequence[SpaceReference]) -> Intake:
        """By what a head that takes in these spaces can be asked: by all of it together."""
        needed: set[Taken] = set()
        for reference in spaces:
            if reference.name not in self._store.spaces:
                return Intake((), why_not=f"its head takes in '{reference.name}', which is missing")
            if self._store.space(reference.name).fingerprint != reference.fingerprint:
                return Intake((), why_not=f"its head takes in another '{reference.name}'")
            own = self.intake(reference.name)
            if not own.takes:
                return Intake((), why_not=f"its head takes in '{reference.name}': {own.why_not}")
            needed |= self.parts_of(reference.name)
        parts: tuple[Taken, ...] = tuple(part for part in MODALITIES if part in needed)
        return Intake(parts, needs_both=len(parts) == 2)

    def vectors(
        self, given: Given, wanted: Mapping[str, Sequence[Taken]]
    ) -> dict[str, dict[Taken, Vector]]:
        """The vectors of each wanted space: of the image, of the title, or of each.

        What goes through a head that needs both is under `image` alone.

        Raises:
            ImageError: the image can't be decoded.
            EncoderError, SettingsError: an encoder can't be had.
            BusyError: too many queries are waiting, or an encoder is still being loaded.
        """
        query = _Query(self, given)
        return {
            space: {part: query.vector(space, part) for part in self._parts(space, parts)}
            for space, parts in wanted.items()
        }

    def features(
        self, given: Given, spaces: Sequence[SpaceReference]
    ) -> Float32[np.ndarray, "1 d"]:
        """Spaces side by side, as a head takes them; `spaces` are its references.

        Where it takes in an image and a title, each is scaled by twice its share. At half and half
        the features are those of an item. For a linear head any other share gives the weighted sum
        of what it makes of each part; for hidden layers it does not.
        """
        return _Query(self, given).features(spaces)

    def encoder(self, space: str, part: Taken) -> LoadedEncoder:
        """The encoder of a space.

        Raises:
            BusyError: it is still being loaded.
            EncoderError, SettingsError: it can't be had.
        """
        loading = self._pool.of(self._store, space, MODALITIES[part])
        if not loading.done():  # nobody waits: every thread would, while a model loads
            raise BusyError(f"the encoder of '{space}' is being loaded: try again in some seconds")
        return loading.result()

    def head_of(self, space: str) -> "Head | None":
        """The head that made a space; None where an encoder did."""
        info = self._store.space(space)
        return self._heads.get(info.fingerprint) if info.spec.startswith("head:") else None

    def projection(self, space: str) -> Batcher[Float32[np.ndarray, " d"], Vector]:
        """The head of a space behind a queue: features in, a vector out."""
        return self._projections[space]

    def own_part(self, space: str) -> Taken:
        """What the encoder of a space was made for."""
        return "image" if self._store.space(space).modality == "image" else "title"

    def parts_of(self, space: str) -> set[Taken]:
        """What of an item goes into a space: both, where a head made it of both."""
        head = self.head_of(space)
        if head is None:
            return {self.own_part(space)}
        return {part for each in head.info.spaces for part in self.parts_of(each.name)}

    def pixels(self, data: bytes, transform: ImageTransform) -> Any:
        """The pixels of an image as an encoder takes them."""
        return self._pool.pixels(data, transform, self._max_pixels)

    def info(self, space: str) -> Any:
        """What a space says of itself."""
        return self._store.space(space)

    def _parts(self, space: str, parts: Sequence[Taken]) -> Sequence[Taken]:
        return ("image",) if self.intake(space).needs_both else parts

    def _open_head(self, space: str) -> None:
        head = self.head_of(space)
        if head is None:
            return
        import torch

        from heads.projection.bodies import project

        def work(features: list[Float32[np.ndarray, " d"]]) -> list[Vector]:
            made = project(head.network, torch.from_numpy(np.stack(features))).numpy()
            return [made[place : place + 1] for place in range(len(made))]

        self._projections[space] = Batcher(space, work, prepare=keep_to_one_thread)

    def _intake_of_head(self, space: str) -> Intake:
        head = self.head_of(space)
        if head is None:
            return Intake((), why_not="the head that made it was not given: add --head")
        return self.intake_of(head.info.spaces)

    def _failure(self, space: str, modality: Modality) -> str | None:
        error = self._pool.failure(self._store, space, modality)
        return None if error is None else reason_of(error)


class _Query:
    """One query on its way through encoders and heads; what several need is made once."""

    def __init__(self, encoders: QueryEncoders, given: Given) -> None:
        self._encoders, self._given = encoders, given
        self._pixels: dict[ImageTransform, Any] = {}
        self._made: dict[tuple[str, Taken], Vector] = {}

    def vector(self, space: str, part: Taken) -> Vector:
        if (space, part) not in self._made:
            head = self._encoders.head_of(space)
            if head is None:
                self._made[space, part] = self._encoded(space, part)
            else:
                features = self.features(head.info.spaces)[0]
                self._made[space, part] = self._encoders.projection(space)(features)
        return self._made[space, part]

    def features(self, spaces: Sequence[SpaceReference]) -> Float32[np.ndarray, "1 d"]:
        pieces = []
        for reference, scale in zip(spaces, self._scales(spaces), strict=True):
            vector = self.vector(reference.name, self._encoders.own_part(reference.name))
            piece = np.array(written_out(vector, self._encoders.info(reference.name)), np.float32)
            scale_rows(piece, reference.weight * scale)
            pieces.append(piece)
        return np.concatenate(pieces, axis=1)

    def _scales(self, spaces: Sequence[SpaceReference]) -> list[float]:
        """By what each space's vectors are scaled; those of a head of both are weighted already."""
        parts = [self._encoders.parts_of(reference.name) for reference in spaces]
        if len(set().union(*parts)) < 2:
            return [1.0] * len(parts)
        of_image = self._given.image_weight
        scales: dict[Taken, float] = {"image": 2 * of_image, "title": 2 * (1 - of_image)}
        return [1.0 if len(each) == 2 else scales[next(iter(each))] for each in parts]

    def _encoded(self, space: str, part: Taken) -> Vector:
        encoder = self._encoders.encoder(space, part)
        if part == "title":
            if self._given.title is None:
                raise SettingsError(f"space '{space}' takes a title: give one")
            return encoder.encode(self._given.title)
        if self._given.image is None:
            raise SettingsError(f"space '{space}' takes an image: give one")
        transform = encoder.transform
        assert transform is not None
        if transform not in self._pixels:
            self._pixels[transform] = self._encoders.pixels(self._given.image, transform)
        return encoder.encode(self._pixels[transform])


def read_heads(paths: Sequence[Path]) -> tuple["Head", ...]:
    """The heads of these files.

    Raises:
        HeadError: one can't be read, or two predict attributes.
    """
    if not paths:
        return ()
    from heads.head import load_head  # torch takes seconds

    heads = tuple(load_head(path) for path in paths)
    if sum(head.info.output == "attributes" for head in heads) > 1:
        raise HeadError("--head takes one head that predicts attributes: found several")
    return heads
