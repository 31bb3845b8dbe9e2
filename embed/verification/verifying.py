"""`embed verify`: is a store what it says it is? First its structure, then a sample of its vectors.

Every check has a name, a result and a detail, and none keeps the others from being made.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int, UInt8

from embed.errors import SettingsError, StoreError, WorkbenchError
from embed.exchange.record import UNIT_TOLERANCE, block_starts, row_lengths
from embed.ids import find_repeat
from embed.store import HASH_BYTES, ROWS_PER_BLOCK, SpaceInfo, Store, combined_hash
from embed.verification.reencoding import check_encoders
from embed.verification.sampling import Source
from embed.wording import counted

SPARSE_ROWS_PER_BLOCK = 8192
DAMAGED = (WorkbenchError, OSError, KeyError, RuntimeError, ValueError, TypeError, IndexError)
"""What h5py and numpy raise, besides ourselves, for a file that is not what it was."""

Result = Literal["ok", "failed", "changed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One check: `changed` is a source that is no longer what was encoded, not a damaged store."""

    name: str
    result: Result
    detail: str


@dataclass(frozen=True)
class VerifySettings:
    """Everything that `embed verify` can be told. `sample` rows are encoded again; 0 is none."""

    store: Path
    source: Source = field(default_factory=Source)
    sample: int = 64
    seed: int = 0
    device: str = "auto"


def verify(settings: VerifySettings) -> list[Check]:
    """Every check of a store, and what came of it.

    Structure is read block by block: counts, ids, hashes, and each space as its kind asks for. Then
    a seeded sample of rows is read from the source again, hashed, encoded and compared.

    Raises:
        SettingsError: a sample below 0, or a device that this machine lacks.
    """
    if settings.sample < 0:
        raise SettingsError(f"--sample is a number of rows from 0: found {settings.sample}")
    try:
        store = Store(settings.store)
    except DAMAGED as error:
        return [Check("format", "failed", one_line(error))]
    with store:
        checks = list(_structure(store))
        if settings.sample and all(check.result == "ok" for check in checks[:3]):
            rows = _sample(len(store), settings.sample, settings.seed)
            damaged = {check.name for check in checks if check.result == "failed"}
            sound = [name for name in store.spaces if f"{name}: vectors" not in damaged]
            found = check_encoders(store, sound, rows, settings.source, settings.device)
            checks += [Check(*parts) for parts in found]
    return checks


def one_line(error: BaseException) -> str:
    """The message of an error, without what follows its first line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _structure(store: Store) -> Iterator[Check]:
    yield Check("format", "ok", f"embedding-store version {store.attributes['format_version']}")
    yield _checked("counts", lambda: _counts(store))
    yield _checked("ids", lambda: _ids(store))
    yield _checked("checksums", lambda: _checksums(store))
    yield _checked("hashes", lambda: _hashes(store))
    yield _checked("failures", lambda: _failures(store))
    kinds = {"dense": _dense, "binary": _binary, "sparse": _sparse}
    for name, info in store.spaces.items():
        check = kinds.get(info.kind, _unknown_kind)
        yield _checked(f"{name}: vectors", partial(check, store, name, info))


def _checked(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", check())
    except DAMAGED as error:
        return Check(name, "failed", one_line(error))


def _counts(store: Store) -> str:
    others = {path: n for path, n in store.lengths().items() if n != len(store)}
    if others:
        path, length = next(iter(others.items()))
        raise StoreError(f"{path} has {length:,} rows for {len(store):,} ids")
    counts = {"item": len(store), "column": len(store.columns), "space": len(store.spaces)}
    return ", ".join(counted(number, noun) for noun, number in counts.items())


def _ids(store: Store) -> str:
    repeat = find_repeat(_given_ids(store))
    if repeat is not None:
        item_id = store.values("id", repeat.row, repeat.row + 1)[0]
        raise StoreError(
            f"id '{item_id}' stands in row {repeat.row} and again in row {repeat.later_row} "
            f"({repeat.num_repeated} are repeated)"
        )
    return "unique, none empty"


def _given_ids(store: Store) -> Iterator[list[str]]:
    """The blocks of ids, none of them empty."""
    num_before = 0
    for ids in store.id_blocks():
        if "" in ids:
            raise StoreError(f"the id of row {num_before + ids.index('')} is empty")
        num_before += len(ids)
        yield ids


def _checksums(store: Store) -> str:
    damaged = store.damaged
    if damaged:
        raise StoreError(
            f"{', '.join(sorted(damaged))}: not the bytes that were written; make it again from "
            f"its source, or take it from a copy"
        )
    return "every array is as it was written"


def _hashes(store: Store) -> str:
    """content_hash must follow from the hashes by modality, image first."""
    kept = [name for name in ("image", "text") if name in store.modalities]
    parts = [store.modality_hash(name) for name in kept]
    whole = store.content_hash
    if whole.shape != (len(store), HASH_BYTES):
        raise StoreError(f"items/content_hash has shape {whole.shape}")
    for start in range(0, len(store), ROWS_PER_BLOCK):
        rows = slice(start, min(start + ROWS_PER_BLOCK, len(store)))
        expected = combined_hash([part[rows] for part in parts], rows.stop - rows.start)
        different = np.flatnonzero((expected != whole[rows]).any(axis=1))
        if len(different):
            raise StoreError(
                f"items/content_hash of {_item(store, start + int(different[0]))} does not follow "
                f"from hashes/{', hashes/'.join(kept)}"
            )
    unknown = [f"{n}: {_num_zero(p):,} not known" for n, p in zip(kept, parts, strict=True)]
    return f"of {' and '.join(kept)}; {', '.join(unknown)}"


def _num_zero(hashes: UInt8[np.ndarray, "n 16"]) -> int:
    return int((~hashes.any(axis=1)).sum())


def _failures(store: Store) -> str:
    failed = {failure.id for failure in store.failures}
    for row, item_id in enumerate(chain.from_iterable(store.id_blocks())):
        if item_id in failed:
            raise StoreError(f"'{item_id}' stands in row {row} and among those left out")
    return f"{len(failed):,} left out, none of them an item"


def _dense(store: Store, name: str, info: SpaceInfo) -> str:
    vectors = store.array(name)
    expected = "float32" if info.precision == "fp32" else "float16"
    if vectors.dtype.name != expected or vectors.shape[1:] != (info.dim,):
        raise StoreError(
            f"{vectors.dtype} of shape {vectors.shape} where it says {info.dim} dimensions in "
            f"{info.precision} ({expected})"
        )
    num_zero, largest = 0, 0.0
    for rows in block_starts(len(vectors), 8 * info.dim):
        lengths = row_lengths(vectors[rows])
        _require_finite(store, lengths, rows.start)
        num_zero += int((lengths == 0).sum())
        if info.normalized:
            error = _require_unit(store, lengths, rows.start, UNIT_TOLERANCE[expected])
            largest = max(largest, error)
    lengths_said = f"length 1 ± {largest:.1e}" if info.normalized else "not of unit length"
    return f"finite, {lengths_said}, {num_zero} zero"


def _binary(store: Store, name: str, info: SpaceInfo) -> str:
    codes = store.array(name)
    if codes.dtype != np.uint8 or codes.shape[1:] != (-(-info.dim // 8),):
        raise StoreError(f"{codes.dtype} of shape {codes.shape} where it says {info.dim} bits")
    surplus = (1 << (-info.dim % 8)) - 1  # bits that only fill up the last byte
    for rows in block_starts(len(codes), codes.shape[1]):
        used = np.flatnonzero(codes[rows, -1] & surplus)
        if len(used):
            raise StoreError(
                f"the code of {_item(store, rows.start + int(used[0]))} has bits beyond {info.dim}"
            )
    return f"{info.dim} bits"


def _sparse(store: Store, name: str, info: SpaceInfo) -> str:
    data, indices, indptr, shape = store.sparse_parts(name)
    if shape != (len(store), info.dim) or len(indptr) != len(store) + 1:
        raise StoreError(f"shape {shape} and {len(indptr)} row ends where it says {info.dim} terms")
    if indptr[0] != 0 or indptr[-1] != len(data) or len(data) != len(indices):
        raise StoreError(
            f"rows end at {indptr[-1]}, with {len(indices)} indices and {len(data)} components"
        )
    if (np.diff(indptr) < 0).any():
        raise StoreError(f"row {int(np.flatnonzero(np.diff(indptr) < 0)[0])} ends before it begins")
    for start in range(0, len(store), SPARSE_ROWS_PER_BLOCK):
        ends = np.asarray(indptr[start : start + SPARSE_ROWS_PER_BLOCK + 1])
        rows = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        block = slice(int(ends[0]), int(ends[-1]))
        _check_indices(store, np.asarray(indices[block]), rows, start, info.dim)
        values = data[block].astype(np.float64)
        lengths = np.sqrt(np.bincount(rows, values**2, minlength=len(ends) - 1))
        _require_finite(store, lengths, start)
        if info.normalized:
            _require_unit(store, lengths, start, UNIT_TOLERANCE["float32"])
    return f"{len(data):,} components, indices in range and told apart"


def _check_indices(
    store: Store, indices: Int[np.ndarray, " e"], rows: Int[np.ndarray, " e"], start: int, dim: int
) -> None:
    """No index may lie outside, nor stand twice in a row; their order is left to the encoder."""
    outside = np.flatnonzero((indices < 0) | (indices >= dim))
    if len(outside):
        item = _item(store, start + int(rows[outside[0]]))
        raise StoreError(f"{item} has index {indices[outside[0]]} of {dim} terms")
    places = np.sort(rows * dim + indices)
    repeated = np.flatnonzero(np.diff(places) == 0)
    if len(repeated):
        row, index = divmod(int(places[repeated[0]]), dim)
        raise StoreError(f"{_item(store, start + row)} has index {index} twice")


def _unknown_kind(store: Store, name: str, info: SpaceInfo) -> str:
    raise StoreError(f"kind '{info.kind}' where dense, sparse or binary was expected")


def _require_finite(store: Store, lengths: Float64[np.ndarray, " b"], start: int) -> None:
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        raise StoreError(
            f"the vector of {_item(store, start + int(bad[0]))} holds NaN or infinity "
            f"({len(bad)} do in its block)"
        )


def _require_unit(
    store: Store, lengths: Float64[np.ndarray, " b"], start: int, tolerance: float
) -> float:
    """How far the worst length is from 1; vectors of zeros are let pass."""
    errors = np.where(lengths > 0, np.abs(lengths - 1), 0)
    row = int(errors.argmax())
    if errors[row] > tolerance:
        item = _item(store, start + row)
        raise StoreError(f"the vector of {item} has length {lengths[row]:.6g}, not 1")
    return float(errors[row])


def _item(store: Store, row: int) -> str:
    """An item as messages name it: by its row and, where it can be read, its id."""
    return f"'{store.values('id', row, row + 1)[0]}' (row {row})"


def _sample(num_rows: int, size: int, seed: int) -> Int[np.ndarray, " m"]:
    generator = np.random.default_rng(seed)
    return np.sort(generator.choice(num_rows, min(size, num_rows), replace=False))
