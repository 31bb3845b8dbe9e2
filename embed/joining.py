"""Joining what a run read with what the store held before: the rows of the store to be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8

from embed.ids import ABSENT, IdIndex
from embed.sources import Catalogue
from embed.store import HASH_BYTES, ROWS_PER_BLOCK, Store, content_digest
from embed.units import Outcome

TEXT = np.dtype(object)
NUMBER = np.dtype(np.float64)


@dataclass(frozen=True)
class SealedRows:
    """The rows of the store to be: those of the source, then those that only the old store has.

    `kept` are the rows of the catalogue, `stays` those of the old store; `before` is each row's
    place in the old store, −1 where it is new. Ids and columns are read in slices: there may be
    millions.
    """

    catalogue: Catalogue
    old: Store | None
    kept: Int[np.ndarray, " m"]
    stays: Int[np.ndarray, " s"]
    before: Int[np.ndarray, " n"]
    hashes: dict[str, UInt8[np.ndarray, "n 16"]]
    num_in_both: int
    num_passed_over: int

    def __len__(self) -> int:
        return len(self.before)

    @property
    def num_from_source(self) -> int:
        """How many of them the source has."""
        return len(self.kept)

    @property
    def num_lost(self) -> int:
        """Rows of the old store that the source still has, but that could not be read this time."""
        return self.num_in_both - int((self.before[: len(self.kept)] != ABSENT).sum())

    @property
    def image_origin(self) -> dict[str, Any] | None:
        """Where the images are: the source's, else what the old store says of them."""
        before = None if self.old is None else self.old.images
        return self.catalogue.image_origin or before

    @property
    def columns(self) -> dict[str, np.dtype[Any]]:
        """Every column with what it holds: the source's, then what the old store has besides."""
        names = [*self.catalogue.columns, *self._old_columns]
        return {name: self._dtype(name) for name in dict.fromkeys(names)}

    def ids(self, start: int, stop: int) -> list[str]:
        """The ids of a slice of the rows."""
        return list(self.column("id", start, stop))

    def id_blocks(self) -> Iterator[list[str]]:
        """All ids, block by block."""
        for start in range(0, len(self), ROWS_PER_BLOCK):
            yield self.ids(start, min(start + ROWS_PER_BLOCK, len(self)))

    def column(self, name: str, start: int, stop: int) -> Shaped[np.ndarray, " m"]:
        """A slice of a column; '' or NaN where a row's origin lacks it."""
        dtype = TEXT if name == "id" else self._dtype(name)
        above = self.kept[start:stop]
        below = self.stays[max(0, start - len(self.kept)) : max(0, stop - len(self.kept))]
        return np.concatenate(
            [
                _as(dtype, self._of_source(name, above), len(above)),
                _as(dtype, self._of_old(name, below), len(below)),
            ]
        )

    def titles(self, column: str) -> Iterator[str]:
        """The titles of all rows, in order."""
        for start in range(0, len(self), ROWS_PER_BLOCK):
            yield from self.column(column, start, min(start + ROWS_PER_BLOCK, len(self)))

    def changed(self, modality: str) -> Bool[np.ndarray, " n"]:
        """True at the rows that are new, or whose bytes of this modality are not what they were."""
        assert self.old is not None
        changed = self.before == ABSENT
        for name, hashes in self.hashes.items():
            if modality in (name, "fused"):
                before = self.old.modality_hash(name)[self.before]  # of a new row: any, see above
                changed = changed | (hashes != before).any(axis=1)
        return np.asarray(changed)

    @property
    def _old_columns(self) -> list[str]:
        return self.old.columns if self.old is not None and len(self.stays) else []

    def _dtype(self, name: str) -> np.dtype[Any]:
        found = []
        if name in self.catalogue.columns:
            found.append(self.catalogue.dtype(name))
        if name in self._old_columns:
            assert self.old is not None
            found.append(self.old.column_dtype(name))
        if TEXT in found:
            return TEXT
        is_partial = len(found) == 1 and (
            len(self.stays) > 0 if name in self.catalogue.columns else len(self.kept) > 0
        )
        return NUMBER if is_partial else np.result_type(*found)

    def _of_source(self, name: str, rows: Int[np.ndarray, " m"]) -> Shaped[np.ndarray, " m"] | None:
        if not len(rows) or (name != "id" and name not in self.catalogue.columns):
            return None
        first, stop = int(rows[0]), int(rows[-1]) + 1
        if name == "id":
            return np.asarray(np.array(self.catalogue.ids(first, stop), object)[rows - first])
        return np.asarray(self.catalogue.column(name, first, stop)[rows - first])

    def _of_old(self, name: str, rows: Int[np.ndarray, " m"]) -> Shaped[np.ndarray, " m"] | None:
        if self.old is None or not len(rows) or (name != "id" and name not in self.old.columns):
            return None
        first, stop = int(rows[0]), int(rows[-1]) + 1
        return np.asarray(self.old.values(name, first, stop)[rows - first])


def gather_rows(
    catalogue: Catalogue,
    outcome: Outcome,
    old: Store | None,
    image_column: str | None,
    *,
    prune: bool,
) -> SealedRows:
    """Join what the run read with what the old store holds, by id.

    Rows that failed or were passed over are left out. Rows that the source no longer has stay,
    unless `prune`. Titles that the run did not read are hashed as the source has them now; images
    that it did not read are told by `image_column`, and count as changed where it names another
    file than before.
    """
    index = IdIndex(old.id_blocks()) if old is not None else IdIndex(())
    places = places_in(catalogue, index)
    is_kept = np.ones(len(catalogue), bool)
    is_kept[list(outcome.failures)] = False
    num_passed_over = 0
    if outcome.passed_over is not None:
        is_left = outcome.passed_over & (places == ABSENT)
        is_kept &= ~is_left
        num_passed_over = int(is_left.sum())
    stays = np.ones(len(index), bool)
    stays[places[places != ABSENT]] = False
    kept, staying = np.flatnonzero(is_kept), np.flatnonzero(stays & (not prune))
    before = np.concatenate([places[kept], staying])
    hashes = {name: values[kept] for name, values in outcome.hashes.items()}
    if old is not None and "text" in old.modalities and catalogue.has_titles:
        hashes.setdefault("text", title_hashes(catalogue)[kept])
    rows = SealedRows(
        *(catalogue, old, kept, staying, before, _all_hashes(hashes, old, before)),
        num_in_both=int((places != ABSENT).sum()),
        num_passed_over=num_passed_over,
    )
    if image_column is not None and "image" in rows.hashes:
        rows.hashes["image"][_renamed_images(rows, image_column)] = 0
    return rows


def title_hashes(catalogue: Catalogue) -> UInt8[np.ndarray, "n 16"]:
    """The hash of each title of the source."""
    hashes = np.zeros((len(catalogue), HASH_BYTES), np.uint8)
    for start in range(0, len(catalogue), ROWS_PER_BLOCK):
        titles = catalogue.titles(start, min(start + ROWS_PER_BLOCK, len(catalogue)))
        digests = b"".join(content_digest(title.encode()) for title in titles)
        hashes[start : start + len(titles)] = np.frombuffer(digests, np.uint8).reshape(-1, 16)
    return hashes


def _renamed_images(rows: SealedRows, image_column: str) -> Int[np.ndarray, " m"]:
    """The rows of the source whose image is no longer the file that the old store names."""
    if rows.old is None or image_column not in {*rows.old.columns} & {*rows.catalogue.columns}:
        return np.zeros(0, np.int64)
    before = rows.old.column(image_column)
    renamed = []
    for start in range(0, rows.num_from_source, ROWS_PER_BLOCK):
        stop = min(start + ROWS_PER_BLOCK, rows.num_from_source)
        names, places = rows.column(image_column, start, stop), rows.before[start:stop]
        known = places != ABSENT
        renamed.append(start + np.flatnonzero(known & (before[places] != names)))
    return np.concatenate([np.zeros(0, np.int64), *renamed])


def places_in(catalogue: Catalogue, index: IdIndex) -> Int[np.ndarray, " n"]:
    """Where each row of the catalogue stands in the old store."""
    num_rows = len(catalogue)
    places = np.full(num_rows, ABSENT, np.int64)
    for start in range(0, num_rows if len(index) else 0, ROWS_PER_BLOCK):
        stop = min(start + ROWS_PER_BLOCK, num_rows)
        places[start:stop] = index.find(catalogue.ids(start, stop))
    return places


def _all_hashes(
    hashes: Mapping[str, UInt8[np.ndarray, "m 16"]],
    old: Store | None,
    before: Int[np.ndarray, " n"],
) -> dict[str, UInt8[np.ndarray, "n 16"]]:
    """The hashes read in this run, and the old store's for what this run did not read."""
    result: dict[str, UInt8[np.ndarray, "n 16"]] = {}
    for modality in ("image", "text"):
        known = np.zeros((len(before), HASH_BYTES), np.uint8)
        if old is not None:
            known[before >= 0] = old.modality_hash(modality)[before[before >= 0]]
        if modality in hashes:
            known[: len(hashes[modality])] = hashes[modality]
        if known.any() or modality in hashes:
            result[modality] = known
    return result


def _as(
    dtype: np.dtype[Any], values: Shaped[np.ndarray, " m"] | None, length: int
) -> Shaped[np.ndarray, " m"]:
    """The values in the column's own type; where there are none, '' or NaN."""
    if values is None:
        return np.full(length, "" if dtype == TEXT else np.nan).astype(dtype)
    if dtype == TEXT and values.dtype != TEXT:
        return values.astype(str).astype(object)
    return values.astype(dtype)
