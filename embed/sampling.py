"""Rows of a store, read from their source again: are they still what was encoded?"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from embed.errors import ImageError
from embed.images import decode_image
from embed.item_hashes import content_digest
from embed.store import Store


@dataclass(frozen=True)
class Source:
    """Where the items of a store can be read again.

    Titles are those of the store itself. Image paths start from `image_root` or, without one, from
    `path`: a folder of images, or the folder of a manifest.
    """

    path: Path | None = None
    image_root: Path | None = None
    image_column: str = "image"
    title_column: str = "title"

    @property
    def root(self) -> Path | None:
        """The folder that image paths start from, where it is known."""
        if self.image_root is not None or self.path is None:
            return self.image_root
        return self.path if self.path.is_dir() else self.path.parent


@dataclass
class Sample:
    """Rows as they are now; `changed` says of each that is not what was encoded in what way."""

    rows: list[int] = field(default_factory=list)
    content: list[Any] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def why_no_images(store: Store, source: Source) -> str:
    """Why images can't be read; nothing where they can."""
    if source.root is None:
        return "where the images are is not known: say it with --source or --image-root"
    if source.image_column not in store.columns:
        return f"the store has no column '{source.image_column}': name it with --image-column"
    return ""


def why_no_titles(store: Store, source: Source) -> str:
    """Why titles can't be read; nothing where they can."""
    if source.title_column in store.columns:
        return ""
    return f"the store has no column '{source.title_column}': name it with --title-column"


def image_path(store: Store, row: int, source: Source) -> Path:
    """Where the image of a row is: the only place that knows how a store names its images."""
    assert source.root is not None
    return source.root / str(store.values(source.image_column, row, row + 1)[0])


def read_images(store: Store, rows: Int[np.ndarray, " m"], source: Source) -> Sample:
    """The image files of the rows whose bytes are those that were encoded, kept packed."""
    sample, recorded = Sample(), store.modality_hash("image")
    for row in rows.tolist():
        item_id = store.values("id", row, row + 1)[0]
        try:
            data = image_path(store, row, source).read_bytes()
            if content_digest(data) != recorded[row].tobytes():
                sample.changed.append(f"'{item_id}' has other bytes")
                continue
            decode_image(data)
            sample.content.append(data)
            sample.rows.append(row)
        except (OSError, ImageError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            sample.changed.append(f"'{item_id}' can't be read: {reason}")
    return sample


def read_titles(store: Store, rows: Int[np.ndarray, " m"], source: Source) -> Sample:
    """The titles of the rows where they are those that were encoded."""
    sample, recorded = Sample(), store.modality_hash("text")
    for row in rows.tolist():
        title = str(store.values(source.title_column, row, row + 1)[0])
        if content_digest(title.encode()) == recorded[row].tobytes():
            sample.rows.append(row)
            sample.content.append(title)
        else:
            sample.changed.append(f"'{store.values('id', row, row + 1)[0]}' has another title")
    return sample
