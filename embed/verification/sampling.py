"""Rows of a store, read from their source again: are they still what was encoded?"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from embed.errors import ImageError
from embed.ids import ABSENT, IdIndex
from embed.images import MAX_PIXELS
from embed.sources import (
    Catalogue,
    Fetcher,
    FetchSettings,
    SourceSettings,
    read_source,
    require_column,
)
from embed.store import Store, content_digest


@dataclass(frozen=True)
class Source:
    """Where the images of a store can be read again; titles are those of the store itself.

    `max_pixels` is the largest image that is decoded.
    """

    path: str | None = None
    columns: SourceSettings = field(default_factory=SourceSettings)
    fetch: FetchSettings = field(default_factory=FetchSettings)
    max_pixels: int = MAX_PIXELS


@dataclass
class Sample:
    """Rows as they are now; `changed` says of each that is not what was encoded in what way."""

    rows: list[int] = field(default_factory=list)
    content: list[Any] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def why_no_titles(store: Store, source: Source) -> str:
    """Why titles can't be read; nothing where they can."""
    column = source.columns.title_column
    if column in store.columns:
        return ""
    return f"the store has no column '{column}': name it with --title-column"


def read_images(store: Store, rows: Int[np.ndarray, " m"], source: Source) -> Sample:
    """The image files of the rows whose bytes are those that were encoded, kept packed.

    Raises:
        SourceError: the source can't be read, or has no images.
    """
    sample, recorded = Sample(), store.modality_hash("image")
    with _opened(source) as catalogue:
        fetcher = Fetcher(catalogue.roots, source.fetch)
        ids = [str(store.values("id", row, row + 1)[0]) for row in rows.tolist()]
        index = IdIndex(catalogue.id_blocks())
        for row, item_id, place in zip(rows.tolist(), ids, index.find(ids).tolist(), strict=True):
            try:
                data = _image(catalogue, fetcher, place)
                if content_digest(data) != recorded[row].tobytes():
                    sample.changed.append(f"'{item_id}' has other bytes")
                    continue
            except ImageError as error:
                sample.changed.append(f"'{item_id}' can't be read: {error}")
                continue
            sample.content.append(data)
            sample.rows.append(row)
    return sample


def _image(catalogue: Catalogue, fetcher: Fetcher, place: int) -> bytes:
    if place == ABSENT:
        raise ImageError("the source has no such item")
    (location,) = catalogue.locations(place, place + 1)
    if location is None:
        raise ImageError("the manifest names no image")
    return fetcher.read(location)


@contextmanager
def _opened(source: Source) -> Iterator[Catalogue]:
    """The catalogue of the source, for as long as it is needed."""
    assert source.path is not None
    with tempfile.TemporaryDirectory() as folder:
        catalogue = read_source(source.path, source.columns, Path(folder, "catalogue"))
        require_column(catalogue, "image", source.columns)
        yield catalogue


def read_titles(store: Store, rows: Int[np.ndarray, " m"], source: Source) -> Sample:
    """The titles of the rows where they are those that were encoded."""
    sample, recorded = Sample(), store.modality_hash("text")
    for row in rows.tolist():
        title = str(store.values(source.columns.title_column, row, row + 1)[0])
        if content_digest(title.encode()) == recorded[row].tobytes():
            sample.rows.append(row)
            sample.content.append(title)
        else:
            sample.changed.append(f"'{store.values('id', row, row + 1)[0]}' has another title")
    return sample
