"""Sealing: the finished rows of a run, of its parts and of the store before become one store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8

from embed.encoders.registry import Encoders
from embed.errors import StoreError
from embed.ledger import IN_STORE, Ledger
from embed.parts import PartsFolder
from embed.pipeline import Outcome
from embed.sources import Catalogue
from embed.store import HASH_BYTES, SpaceInfo, Store, StoreWriter

ROWS_PER_BLOCK = 65_536


@dataclass(frozen=True)
class Rows:
    """The rows of the store to be: those of the source, then those that only the old store has.

    `before` is each row's place in the old store, −1 where it is new.
    """

    ids: Shaped[np.ndarray, " n"]
    columns: Mapping[str, Shaped[np.ndarray, " n"]]
    hashes: Mapping[str, UInt8[np.ndarray, "n 16"]]
    before: Int[np.ndarray, " n"]
    num_from_source: int

    def changed(self, old: Store, modality: str) -> Bool[np.ndarray, " n"]:
        """True at the rows that are new, or whose bytes of this modality are not what they were."""
        changed = self.before < 0
        for name, hashes in self.hashes.items():
            if modality in (name, "fused"):
                before = old.modality_hash(name)[
                    self.before
                ]  # a new row's −1 counts as changed above
                changed = changed | (hashes != before).any(axis=1)
        return changed


def gather_rows(catalogue: Catalogue, outcome: Outcome, old: Store | None, *, prune: bool) -> Rows:
    """Join what the run read with what the old store holds, by id.

    Rows that failed are left out. Rows that the source no longer has stay, unless `prune`.
    """
    kept = np.array([row not in outcome.failures for row in range(len(catalogue))], bool)
    source_ids = np.array(catalogue.ids, object)[kept]
    old_ids = old.ids if old is not None else np.array([], object)
    place = {item_id: row for row, item_id in enumerate(old_ids)}
    in_source = set(catalogue.ids)
    stays = np.array([not prune and item_id not in in_source for item_id in old_ids], bool)
    ids = np.concatenate([source_ids, old_ids[stays]])
    before = np.array([place.get(item_id, -1) for item_id in ids], np.int64)
    columns = {name: values[kept] for name, values in catalogue.columns.items()}
    if stays.any():
        assert old is not None
        columns = _joined_columns(columns, old, stays, int(kept.sum()))
    hashes = {name: values[kept] for name, values in outcome.hashes.items()}
    return Rows(ids, columns, _all_hashes(hashes, old, before), before, int(kept.sum()))


def check_spaces(
    rows: Rows, old: Store | None, encoders: Encoders, dropped: Sequence[str], ledger: Ledger
) -> list[str]:
    """The spaces that the old store hands on: those that this run neither makes nor drops.

    Raises:
        StoreError: a carried space lacks rows that are new or changed; or a space of this run lacks
            rows that the source no longer has.
    """
    made = {encoder.name for encoder in (*encoders.per_item, *encoders.fitted)}
    for encoder in encoders.per_item:
        lacking = np.flatnonzero(ledger.missing(encoder.name)[rows.num_from_source :])
        if len(lacking):
            example = rows.ids[rows.num_from_source + lacking[0]]
            raise StoreError(
                f"{len(lacking)} items of the store, '{example}' among them, are no longer in the "
                f"source, so space '{encoder.name}' can't be made for them: "
                f"leave them out with --prune, or put them back into the source"
            )
    carried = [name for name in old.spaces if name not in made] if old is not None else []
    unknown = [name for name in dropped if old is None or name not in old.spaces]
    if unknown:
        raise StoreError(f"--drop-space {unknown[0]}: the store has no such space")
    carried = [name for name in carried if name not in dropped]
    for name in carried:
        assert old is not None
        num_changed = int(rows.changed(old, old.spaces[name].modality).sum())
        if num_changed:
            raise StoreError(_stale(name, old.spaces[name], num_changed))
    return carried


def require_complete(encoders: Encoders, ledger: Ledger) -> None:
    """Raise StoreError where a row of the store to be has no vector made of the right bytes."""
    for encoder in encoders.per_item:
        num_missing = int(ledger.missing(encoder.name).sum())
        if num_missing:
            raise StoreError(
                f"space '{encoder.name}' lacks {num_missing} items: parts were damaged or removed "
                f"during the run; run the same command again, they will be encoded anew"
            )


def write_store(
    writer: StoreWriter,
    rows: Rows,
    old: Store | None,
    encoders: Encoders,
    carried: Sequence[str],
    ledger: Ledger,
    parts: PartsFolder,
    title_column: str,
) -> None:
    """Write items and spaces: those of this run's encoders, fitted ones, and those carried over."""
    writer.write_items(rows.ids, rows.columns, rows.hashes)
    _write_encoded(writer, len(rows.ids), old, encoders, ledger, parts)
    for fitted_encoder in encoders.fitted:
        space = fitted_encoder.fit_encode(rows.columns[title_column].tolist())
        writer.write_sparse(fitted_encoder.name, space.info, space.vectors, space.fitted)
    for name in carried:
        assert old is not None
        _carry(writer, old, name, rows.before)


def _write_encoded(
    writer: StoreWriter,
    num_rows: int,
    old: Store | None,
    encoders: Encoders,
    ledger: Ledger,
    parts: PartsFolder,
) -> None:
    datasets = {
        encoder.name: writer.create_array(
            encoder.name, encoder.info, *_layout(encoder.info, num_rows)
        )
        for encoder in encoders.per_item
    }
    plans: dict[int, list[tuple[str, Int[np.ndarray, " m"], Int[np.ndarray, " m"]]]] = {}
    for name in datasets:
        for holder, wanted, places in ledger.by_holder(name):
            plans.setdefault(holder, []).append((name, wanted, places))
    for holder, plan in plans.items():
        part = None if holder == IN_STORE else parts.read(ledger.part_names[holder - 1])
        if holder != IN_STORE and part is None:
            raise StoreError(
                f"a part in {parts.path} was damaged while it was being joined: run the same "
                f"command again, its rows will be encoded anew"
            )
        for name, wanted, places in plan:
            if part is not None:
                _write_runs(datasets[name], wanted, part.spaces[name].vectors, places)
            else:
                assert old is not None
                _write_runs(datasets[name], wanted, old.array(name), places)


def _layout(info: SpaceInfo, num_rows: int) -> tuple[tuple[int, int], type]:
    """Shape and dtype of an encoder's space in the store."""
    if info.kind == "binary":
        return (num_rows, info.dim // 8), np.uint8
    return (num_rows, info.dim), np.float32 if info.precision == "fp32" else np.float16


def _write_runs(
    dataset: Any,  # of HDF5, (n, d)
    rows: Int[np.ndarray, " m"],
    vectors: Shaped[np.ndarray, "p d"],
    places: Int[np.ndarray, " m"],
) -> None:
    """dataset[rows] = vectors[places], by runs of neighbouring rows: single ones are slow."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for run, source in zip(np.split(rows, breaks), np.split(places, breaks), strict=True):
        for start in range(0, len(run), ROWS_PER_BLOCK):
            block = slice(start, start + ROWS_PER_BLOCK)
            first = int(run[start])
            dataset[first : first + len(run[block])] = vectors[source[block]]


def _carry(writer: StoreWriter, old: Store, name: str, before: Int[np.ndarray, " n"]) -> None:
    info = old.spaces[name]
    if np.array_equal(before, np.arange(len(old))):
        writer.copy_space(old, name)
        return
    if old.seen(name).any():
        writer.write_seen(name, old.seen(name)[before])
    if info.kind == "sparse":
        writer.write_sparse(name, info, old.sparse(name)[before], old.fitted(name))
    else:
        vectors = old.array(name)
        dataset = writer.create_array(name, info, (len(before), vectors.shape[1]), vectors.dtype)
        _write_runs(dataset, np.arange(len(before)), vectors, before)


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


def _joined_columns(
    columns: Mapping[str, Shaped[np.ndarray, " m"]],
    old: Store,
    stays: Bool[np.ndarray, " o"],
    num_from_source: int,
) -> dict[str, Shaped[np.ndarray, " n"]]:
    """The columns of source and old store, below each other; '' or NaN where one lacks a column."""
    joined: dict[str, Shaped[np.ndarray, " n"]] = {}
    for name in dict.fromkeys([*columns, *old.columns]):
        before = old.column(name)[stays] if name in old.columns else None
        above, below = columns.get(name), before
        if above is None:
            assert below is not None
            above = _blank(num_from_source, below)
        if below is None:
            below = _blank(int(stays.sum()), above)
        if (above.dtype.kind == "O") != (below.dtype.kind == "O"):
            above, below = above.astype(str).astype(object), below.astype(str).astype(object)
        joined[name] = np.concatenate([above, below])
    return joined


def _blank(length: int, like: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " m"]:
    return np.full(length, "", object) if like.dtype.kind == "O" else np.full(length, np.nan)


def _stale(name: str, info: SpaceInfo, num_changed: int) -> str:
    """Why a space can't be carried over, and what to do about it."""
    if info.spec.startswith("head:"):
        mend = f"leave it out with --drop-space {name} and apply the head again afterwards"
    else:
        mend = (
            f"name its encoder in this run as well "
            f"(--{info.modality}-encoder {name}={info.spec}), or leave it out with "
            f"--drop-space {name}"
        )
    return f"space '{name}' lacks {num_changed} items that are new or changed: {mend}"
