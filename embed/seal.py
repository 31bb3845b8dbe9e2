"""Sealing: the finished rows of a run, of its parts and of the store before become one store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from embed.encoders.base import FittedTextEncoder
from embed.errors import StoreError
from embed.joining import SealedRows
from embed.ledger import IN_STORE, Ledger
from embed.parts import PartsFolder
from embed.store import ROWS_PER_BLOCK, SpaceInfo, Store, StoreWriter
from embed.wording import agreeing, counted


@dataclass(frozen=True)
class MadeSpaces:
    """The spaces that a run makes: those of its encoders, and those that are fitted at the end."""

    encoded: Mapping[str, SpaceInfo]
    fitted: tuple[FittedTextEncoder, ...]

    @property
    def names(self) -> set[str]:
        """The names of all of them."""
        return {*self.encoded, *(encoder.name for encoder in self.fitted)}


def check_spaces(rows: SealedRows, made: MadeSpaces, dropped: Sequence[str]) -> list[str]:
    """The spaces that the old store hands on: those that this run neither makes nor drops.

    Raises:
        StoreError: a carried space lacks rows that are new or changed; or a space of this run lacks
            rows that the source no longer has.
    """
    old = rows.old
    before = old.spaces if old is not None else {}
    for name, info in made.encoded.items():
        is_known = name in before and before[name].fingerprint == info.fingerprint
        if len(rows.stays) and not is_known:
            example = rows.ids(rows.num_from_source, rows.num_from_source + 1)[0]
            raise StoreError(
                f"{counted(len(rows.stays), 'item')} of the store, '{example}' among them, "
                f"{agreeing(len(rows.stays), 'are')} no longer in the source, so space '{name}' "
                f"can't be made for them: leave them out with --prune, or put them back into the "
                f"source"
            )
    unknown = [name for name in dropped if name not in before]
    if unknown:
        raise StoreError(f"--drop-space {unknown[0]}: the store has no such space")
    carried = [name for name in before if name not in made.names and name not in dropped]
    for name in carried:
        num_changed = int(rows.changed(before[name].modality).sum())
        if num_changed:
            raise StoreError(_stale(name, before[name], num_changed))
    return carried


def require_known_origin(old: Store, carried: Sequence[str], modalities: Sequence[str]) -> None:
    """Raise StoreError where a space is to be kept of which it is not known what it was made of.

    That is so for vectors that were imported without the images: the run, which reads these, could
    not tell whether they are still the ones.
    """
    for name in carried:
        modality = old.spaces[name].modality
        if modality in modalities and not old.modality_hash(modality).any():
            raise StoreError(
                f"space '{name}' was imported, and of which {modality}s is not known: import it "
                f"again with {'--image-root' if modality == 'image' else '--title-column'}, or "
                f"leave it out with --drop-space {name}"
            )


def require_complete(made: MadeSpaces, ledger: Ledger) -> None:
    """Raise StoreError where a row of the store to be has no vector made of the right bytes."""
    for name in made.encoded:
        num_missing = int(ledger.missing(name).sum())
        if num_missing:
            raise StoreError(
                f"space '{name}' lacks {counted(num_missing, 'item')}: parts were damaged or "
                f"removed during the run; run the same command again, they will be encoded anew"
            )


def write_store(
    writer: StoreWriter,
    rows: SealedRows,
    made: MadeSpaces,
    carried: Sequence[str],
    ledger: Ledger,
    parts: PartsFolder,
    title_column: str,
) -> None:
    """Write items and spaces: those of this run's encoders, fitted ones, and those carried over."""
    _write_items(writer, rows)
    _write_encoded(writer, rows, made.encoded, ledger, parts)
    for encoder in made.fitted:
        space = encoder.fit_encode(list(rows.titles(title_column)))
        writer.write_sparse(encoder.name, space.info, space.vectors, space.fitted)
    for name in carried:
        assert rows.old is not None
        _carry(writer, rows.old, name, rows.before)


def _write_items(writer: StoreWriter, rows: SealedRows) -> None:
    columns = rows.columns
    writer.create_items(len(rows), columns)
    for start in range(0, len(rows), ROWS_PER_BLOCK):
        stop = min(start + ROWS_PER_BLOCK, len(rows))
        block = {name: rows.column(name, start, stop) for name in ("id", *columns)}
        writer.fill_items(start, block)
    writer.write_hashes(len(rows), rows.hashes)


def _write_encoded(
    writer: StoreWriter,
    rows: SealedRows,
    infos: Mapping[str, SpaceInfo],
    ledger: Ledger,
    parts: PartsFolder,
) -> None:
    datasets = {
        name: writer.create_array(name, info, *_layout(info, len(rows)))
        for name, info in infos.items()
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
                assert rows.old is not None
                _write_runs(datasets[name], wanted, rows.old.array(name), places)


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


def _stale(name: str, info: SpaceInfo, num_changed: int) -> str:
    """Why a space can't be carried over, and what to do about it."""
    if info.spec.startswith("head:"):
        mend = f"leave it out with --drop-space {name} and apply the head again afterwards"
    elif info.spec.startswith("imported:"):
        mend = f"leave it out with --drop-space {name} and import it again afterwards"
    else:
        mend = (
            f"name its encoder in this run as well "
            f"(--{info.modality}-encoder {name}={info.spec}), or leave it out with "
            f"--drop-space {name}"
        )
    lacking = f"{counted(num_changed, 'item')} that {agreeing(num_changed, 'are')} new or changed"
    return f"space '{name}' lacks {lacking}: {mend}"
