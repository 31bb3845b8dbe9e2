"""The items of a source, read in slices from its spool."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Shaped

from embed.errors import SourceError
from embed.sources.addresses import joined
from embed.sources.batches import ROWS_PER_BLOCK, scan_rows
from embed.sources.columns import as_array, texts
from embed.sources.settings import SourceSettings
from embed.sources.spool import read_header
from embed.sources.table import ID, OFFSET, SHARD, SIZE


@dataclass(frozen=True)
class Location:
    """Where the bytes of an image are: a file or an address, or `size` bytes at `offset` in one."""

    address: str
    offset: int | None = None
    size: int | None = None


class Catalogue:
    """The items of a source, in its order.

    Nothing of them is held in memory: each call reads its rows from the spool. Any number of
    threads and processes may open one spool; since polars has threads, processes are to be spawned,
    not forked.
    """

    def __init__(self, spool: Path) -> None:
        self.path = spool
        self._header = read_header(spool)
        self._rows = scan_rows(spool)
        self._has_offsets = OFFSET in self._rows.collect_schema()

    @classmethod
    def open(cls, spool: Path) -> "Catalogue":
        """The catalogue whose items were written to this spool.

        Raises:
            SourceError: there is no spool at that path.
        """
        return cls(spool)

    def __len__(self) -> int:
        return self._header.num_rows

    @property
    def has_images(self) -> bool:
        """Whether items have images, or at least a column for them."""
        return self._header.image_column is not None

    @property
    def has_titles(self) -> bool:
        """Whether items have titles, empty ones included."""
        return self._header.title_column is not None

    @property
    def is_remote(self) -> bool:
        """Whether some images come over a network."""
        return self._header.is_remote

    @property
    def roots(self) -> tuple[str, ...]:
        """Folders, shards and addresses that images are read from."""
        return self._header.roots

    @property
    def image_origin(self) -> dict[str, Any] | None:
        """What a store keeps of where its images are; None where items have none."""
        if self._header.image_column is None:
            return None
        column = {"column": self._header.image_column}
        if self._has_offsets:
            return {"shards": list(self.roots), **column}
        return {"root": self._header.root, **column}

    @property
    def columns(self) -> tuple[str, ...]:
        """The store's columns in order: images and titles included, without the id."""
        return tuple(self._header.kinds)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of how the source was read."""
        return self._header.warnings

    @property
    def num_empty_titles(self) -> int:
        """How many items have an empty title; 0 where there are no titles at all."""
        return self._header.num_empty_titles

    def ids(self, start: int, stop: int) -> list[str]:
        """The ids of rows `start` to `stop`."""
        return self._texts(ID, start, stop)

    def id_blocks(self) -> Iterator[list[str]]:
        """All ids in order, in blocks: few of them are in memory at a time."""
        for start in range(0, len(self), ROWS_PER_BLOCK):
            yield self.ids(start, min(start + ROWS_PER_BLOCK, len(self)))

    def titles(self, start: int, stop: int) -> list[str]:
        """The titles of rows `start` to `stop`, '' where one is missing."""
        return self._texts(self._named(self._header.title_column, "titles"), start, stop)

    def locations(self, start: int, stop: int) -> list[Location | None]:
        """Where the images of rows `start` to `stop` are; None where an item has none."""
        if self._has_offsets:
            return self._places_in_shards(start, stop)
        images = self._texts(self._named(self._header.image_column, "images"), start, stop)
        root = self._header.root
        return [Location(joined(root, image)) if image else None for image in images]

    def column(self, name: str, start: int, stop: int) -> Shaped[np.ndarray, " m"]:
        """Rows `start` to `stop` of a column: int64, float64 or strings, the same in all slices."""
        return as_array(self._slice([name], start, stop)[name], self._header.kinds[name])

    def dtype(self, name: str) -> np.dtype:
        """What a column is: int64, float64, or object for strings."""
        return np.dtype(self._header.kinds[name])

    def _slice(self, names: Sequence[str], start: int, stop: int) -> pl.DataFrame:
        return self._rows.select(names).slice(start, max(0, stop - start)).collect()

    def _texts(self, name: str, start: int, stop: int) -> list[str]:
        return texts(self._slice([name], start, stop)[name]).to_list()

    def _places_in_shards(self, start: int, stop: int) -> list[Location | None]:
        rows = self._slice([SHARD, OFFSET, SIZE], start, stop).iter_rows()
        return [
            Location(self.roots[shard], offset, size) if offset is not None else None
            for shard, offset, size in rows
        ]

    def _named(self, column: str | None, what: str) -> str:
        assert column is not None, f"this source has no {what}"
        return column


def require_column(catalogue: Catalogue, modality: str, settings: SourceSettings) -> None:
    """Raise SourceError where encoders of this modality find nothing to encode."""
    is_image = modality == "image"
    if catalogue.has_images if is_image else catalogue.has_titles:
        return
    column = settings.image_column if is_image else settings.title_column
    option = "--image-column" if is_image else "--title-column"
    found = ", ".join(catalogue.columns) or "none"
    raise SourceError(
        f"the source has no column '{column}' for the {modality} encoders: "
        f"its columns are {found}; name the right one with {option}"
    )
