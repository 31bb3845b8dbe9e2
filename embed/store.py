"""The store: one HDF5 file with a catalogue's items and their spaces (format version 1).

ARCHITECTURE.md describes the layout. A store is never changed in place: `StoreWriter` writes a new
file beside it and renames it over, so a `Store` that is open keeps showing what it showed.
"""

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from embed.checksums import checksums_of
from embed.errors import IdError, StoreError
from embed.files import replacing
from embed.wording import counted

FORMAT = "embedding-store"
FORMAT_VERSION = 1
HASH_BYTES = 16
ROWS_PER_BLOCK = 65_536
ALL_ROWS = slice(None)

SpaceKind = Literal["dense", "sparse", "binary"]
Modality = Literal["image", "text", "fused"]


@dataclass(frozen=True)
class SpaceInfo:
    """What a space says of itself, beside its vectors.

    `dim` counts components: columns of a dense or sparse space, bits of a binary one. `training`
    is JSON: a list with the split of every head that the space went through, [] for an encoder's.
    """

    kind: SpaceKind
    modality: Modality
    spec: str
    fingerprint: str
    precision: str
    normalized: bool
    dim: int
    training: str = "[]"


@dataclass(frozen=True)
class Failure:
    """An item that was left out of the store, at which stage, and why."""

    id: str
    stage: str
    reason: str


class SparseParts(NamedTuple):
    """The arrays of a sparse space: `indices` and `data` of row i lie at indptr[i] to indptr[i+1].

    `shape` is (n, d).
    """

    data: Float[np.ndarray, " e"]
    indices: Int[np.ndarray, " e"]
    indptr: Int[np.ndarray, " m"]
    shape: tuple[int, int]


class Store:
    """A store, open for reading. Use it in a `with` block or call `close`.

    Dense and binary spaces come as arrays mapped from the file: nothing is copied until it is used.

    Raises:
        StoreError: the file is missing, is not a store, or has another format version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = _open_for_reading(self.path)
        self.spaces: dict[str, SpaceInfo] = {
            name: _read_info(node) for name, node in self._file["spaces"].items()
        }
        self.columns: list[str] = [
            name for name in self._file["items"] if name not in ("id", "content_hash")
        ]

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._file["items/id"].shape[0])

    def close(self) -> None:
        """Close the file; arrays already mapped from it stay valid."""
        self._file.close()

    @property
    def attributes(self) -> dict[str, Any]:
        """The root's attributes: format, format_version, created_utc, command, versions."""
        return dict(self._file.attrs)

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the libraries that its encoders ran on."""
        return dict(json.loads(self._file.attrs["versions"]))

    @property
    def images(self) -> dict[str, Any] | None:
        """Where the images of its items came from, as ARCHITECTURE.md says; None: not known."""
        recorded = self._file.attrs.get("images")
        return None if recorded is None else dict(json.loads(recorded))

    @property
    def damaged(self) -> list[str]:
        """The arrays, by path, whose bytes are not those that were written; all are read."""
        recorded = json.loads(self._file.attrs.get("checksums", "{}"))
        found = checksums_of(self._file)
        return [path for path in {*recorded, *found} if recorded.get(path) != found.get(path)]

    @cached_property
    def ids(self) -> Shaped[np.ndarray, " n"]:
        """The items' ids as Python strings, in the store's order."""
        return self._strings("items/id")

    @property
    def content_hash(self) -> UInt8[np.ndarray, "n 16"]:
        """A 128-bit hash of the bytes that were encoded for each item."""
        return np.asarray(self._file["items/content_hash"])

    def id_blocks(self) -> Iterator[list[str]]:
        """The ids in the store's order, in blocks: few of them are in memory at a time."""
        for start in range(0, len(self), ROWS_PER_BLOCK):
            yield list(self.values("id", start, start + ROWS_PER_BLOCK))

    def modality_hash(self, modality: str, rows: slice = ALL_ROWS) -> UInt8[np.ndarray, "m 16"]:
        """The hash of the image bytes or of the title alone; zeros where none was encoded."""
        if f"hashes/{modality}" not in self._file:
            return np.zeros((len(range(len(self))[rows]), HASH_BYTES), np.uint8)
        return np.asarray(self._file[f"hashes/{modality}"][rows])

    def column_dtype(self, name: str) -> np.dtype[Any]:
        """What a column holds: int64, float64 or, for Python strings, object."""
        dtype = self._file[f"items/{name}"].dtype
        return np.dtype(object) if h5py.check_string_dtype(dtype) else dtype

    def column(self, name: str) -> Shaped[np.ndarray, " n"]:
        """A column of the catalogue: Python strings, int64 or float64.

        Raises:
            StoreError: there is no such column; the message names those that there are.
        """
        if name == "id":
            return self.ids
        if name not in self.columns:
            raise StoreError(
                f"{self.path} has no column '{name}': it has {', '.join(self.columns) or 'none'}"
            )
        return _decoded(self._file[f"items/{name}"])

    def space(self, name: str) -> SpaceInfo:
        """What the space says of itself.

        Raises:
            StoreError: there is no such space; the message names those that there are.
        """
        if name not in self.spaces:
            raise StoreError(
                f"{self.path} has no space '{name}': it has {', '.join(self.spaces) or 'none'}"
            )
        return self.spaces[name]

    def array(self, name: str) -> Float[np.ndarray, "n d"] | UInt8[np.ndarray, "n bytes"]:
        """The vectors of a dense or binary space, mapped from the file, read-only."""
        if self.space(name).kind == "sparse":
            raise StoreError(f"space '{name}' is sparse: read it with Store.sparse")
        return self._mapped(f"spaces/{name}")

    def sparse(self, name: str) -> scipy.sparse.csr_array:
        """The vectors of a sparse space, in memory, (n, d)."""
        if self.space(name).kind != "sparse":
            raise StoreError(f"space '{name}' is {self.space(name).kind}: read it with Store.array")
        group = self._file[f"spaces/{name}"]
        parts = tuple(np.asarray(group[key]) for key in ("data", "indices", "indptr"))
        return scipy.sparse.csr_array(parts, shape=tuple(group.attrs["shape"]))

    def sparse_parts(self, name: str) -> SparseParts:
        """What a sparse space is made of, as it stands in the file, mapped and unchecked."""
        if self.space(name).kind != "sparse":
            raise StoreError(f"space '{name}' is {self.space(name).kind}: read it with Store.array")
        data, indices, indptr = (
            self._mapped(f"spaces/{name}/{key}") for key in ("data", "indices", "indptr")
        )
        num_rows, dim = self._file[f"spaces/{name}"].attrs["shape"]
        return SparseParts(data, indices, indptr, (int(num_rows), int(dim)))

    def seen(self, name: str) -> Bool[np.ndarray, " n"]:
        """True at the rows that a head of this space has seen in training; an encoder saw none."""
        if f"seen/{name}" not in self._file:
            return np.zeros(len(self), bool)
        return np.asarray(self._file[f"seen/{name}"]).astype(bool)

    def fitted(self, name: str) -> dict[str, Shaped[np.ndarray, " m"]]:
        """What an encoder that is fitted on the catalogue keeps with its space (its vocabulary)."""
        group = self._file[f"spaces/{name}"]
        keys = [key for key in group if key not in ("data", "indices", "indptr")]
        return {key: _decoded(group[key]) for key in keys}

    @property
    def failures(self) -> list[Failure]:
        """Every item that was left out, and why."""
        columns = (self._strings(f"failures/{key}") for key in ("id", "stage", "reason"))
        return [Failure(*row) for row in zip(*columns, strict=True)]

    @property
    def modalities(self) -> list[str]:
        """Those of which the store keeps a hash for each item: image, text."""
        return list(self._file["hashes"])

    def lengths(self) -> dict[str, int]:
        """How many rows each dataset has that should have one for each item, by its path."""
        groups = [name for name in ("items", "hashes", "seen") if name in self._file]
        datasets = {
            f"{group}/{name}": self._file[group][name]
            for group in groups
            for name in self._file[group]
        }
        lengths = {path: int(dataset.shape[0]) for path, dataset in datasets.items()}
        for name, info in self.spaces.items():
            node = self._file[f"spaces/{name}"]
            shape = node.attrs["shape"] if info.kind == "sparse" else node.shape
            lengths[f"spaces/{name}"] = int(shape[0])
        return lengths

    def values(self, name: str, start: int, stop: int) -> Shaped[np.ndarray, " m"]:
        """Rows `start` to `stop` of a column, or of the ids, without reading the others."""
        if name != "id" and name not in self.columns:
            return self.column(name)  # says which columns there are
        return _decoded(self._file[f"items/{name}"], slice(start, stop))

    def rows_of(self, ids: Sequence[str]) -> Int[np.ndarray, " m"]:
        """The row of each id.

        Raises:
            IdError: an id that the store does not have, or that is asked for twice.
        """
        row_of = {item_id: row for row, item_id in enumerate(self.ids)}
        missing = [item_id for item_id in ids if item_id not in row_of]
        if missing:
            raise IdError(
                f"{self.path} has no item '{missing[0]}' ({counted(len(missing), 'id', 'are')} "
                f"missing)"
            )
        if len(set(ids)) < len(ids):
            repeated = next(item_id for item_id in ids if list(ids).count(item_id) > 1)
            raise IdError(f"id '{repeated}' is asked for more than once: give each id once")
        return np.array([row_of[item_id] for item_id in ids], np.int64)

    def _strings(self, path: str) -> Shaped[np.ndarray, " n"]:
        return _decoded(self._file[path])

    def _mapped(self, path: str) -> Shaped[np.ndarray, "..."]:
        dataset = self._file[path]
        offset = dataset.id.get_offset()
        if offset is None:  # nothing was allocated: there are no values
            return np.zeros(dataset.shape, dataset.dtype)
        return np.ndarray(dataset.shape, dataset.dtype, self._mapping, offset)

    @cached_property
    def _mapping(self) -> mmap.mmap:
        """The file that was opened, even where another has been renamed over it since."""
        return mmap.mmap(self._file.id.get_vfd_handle(), 0, access=mmap.ACCESS_READ)


class StoreWriter:
    """Writes a store to a new file that replaces `path` when the `with` block ends well."""

    def __init__(self, path: Path, command: str, versions: Mapping[str, str]) -> None:
        self._replacing = replacing(path)
        self._attributes = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
            "versions": json.dumps(dict(versions)),
        }

    def __enter__(self) -> "StoreWriter":
        self._file = h5py.File(self._replacing.__enter__(), "w", libver=("v108", "latest"))
        self._file.attrs.update(self._attributes)
        for group in ("items", "hashes", "spaces", "failures"):
            self._file.create_group(group, track_order=True)
        self.write_failures([])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ending = ExitStack()
        ending.push(self._replacing)
        ending.callback(self._file.close)
        if error is not None:
            ending.__exit__(kind, error, trace)
            return
        with ending:
            self._file.attrs["checksums"] = json.dumps(checksums_of(self._file))

    def write_items(
        self,
        ids: Shaped[np.ndarray, " n"],
        columns: Mapping[str, Shaped[np.ndarray, " n"]],
        hashes: Mapping[str, UInt8[np.ndarray, "n 16"]],
    ) -> None:
        """Write ids, the catalogue's columns and, by modality, the hashes of what was encoded."""
        self.create_items(len(ids), {name: values.dtype for name, values in columns.items()})
        self.fill_items(0, {"id": ids, **columns})
        self.write_hashes(len(ids), hashes)

    def create_items(self, num_items: int, columns: Mapping[str, np.dtype[Any]]) -> None:
        """Ids and columns of the catalogue, to be filled by slices."""
        for name, dtype in {"id": np.dtype(object), **columns}.items():
            stored = h5py.string_dtype() if dtype.kind in "OU" else dtype
            self._file.create_dataset(f"items/{name}", (num_items,), stored)

    def fill_items(self, start: int, columns: Mapping[str, Shaped[np.ndarray, " m"]]) -> None:
        """Fill rows from `start` on: `id` and any columns."""
        for name, values in columns.items():
            data = values.astype(object) if values.dtype.kind == "U" else values
            self._file[f"items/{name}"][start : start + len(values)] = data

    def write_hashes(self, num_items: int, hashes: Mapping[str, UInt8[np.ndarray, "n 16"]]) -> None:
        """The hashes of what was encoded, by modality, and one of all for each item."""
        self._write_array("items/content_hash", combined_hash(list(hashes.values()), num_items))
        for modality, values in hashes.items():
            self._write_array(f"hashes/{modality}", values)

    def create_array(self, name: str, info: SpaceInfo, shape: tuple[int, int], dtype: Any) -> Any:
        """An empty dense or binary space, contiguous, to be filled by slices.

        Space is allocated at once, so that a disk that is too small says so at the start.
        """
        check_space_name(name)
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        h5py.h5d.create(
            self._file["spaces"].id,
            name.encode(),
            h5py.h5t.py_create(np.dtype(dtype), logical=True),
            h5py.h5s.create_simple(shape),
            dcpl=plist,
        )
        self._describe(name, info)
        return self._file[f"spaces/{name}"]

    def write_array(self, name: str, info: SpaceInfo, vectors: Shaped[np.ndarray, "n d"]) -> None:
        """A whole dense or binary space."""
        self.create_array(name, info, vectors.shape, vectors.dtype)[...] = vectors

    def write_sparse(
        self,
        name: str,
        info: SpaceInfo,
        matrix: scipy.sparse.csr_array,
        fitted: Mapping[str, Shaped[np.ndarray, " m"]],
    ) -> None:
        """A whole sparse space, and what its encoder learnt from the catalogue."""
        check_space_name(name)
        group = self._file["spaces"].create_group(name)
        group.attrs["shape"] = matrix.shape
        for key in ("data", "indices", "indptr"):
            group[key] = getattr(matrix, key)
        for key, values in fitted.items():
            self._write_array(f"spaces/{name}/{key}", values)
        self._describe(name, info)

    def write_seen(self, name: str, seen: Bool[np.ndarray, " n"]) -> None:
        """The rows that a head of this space was trained or chosen on."""
        self._file.require_group("seen")
        self._write_array(f"seen/{name}", seen.astype(np.uint8))

    def write_images(self, origin: Mapping[str, Any] | None) -> None:
        """Where the images of the items came from; None where that is not known."""
        if origin is not None:
            self._file.attrs["images"] = json.dumps(dict(origin))

    def write_failures(self, failures: Sequence[Failure]) -> None:
        """Every item that was left out, and why."""
        for key in ("id", "stage", "reason"):
            path = f"failures/{key}"
            if path in self._file:
                del self._file[path]
            self._write_array(path, np.array([getattr(f, key) for f in failures], object))

    def copy_items(self, store: Store) -> None:
        """Take over items, hashes and failures of another store, byte for byte."""
        self.write_images(store.images)
        for group in ("items", "hashes", "failures"):
            del self._file[group]
            store._file.copy(store._file[group], self._file, group)

    def copy_space(self, store: Store, name: str) -> None:
        """Take over a space of another store, byte for byte."""
        store._file.copy(store._file[f"spaces/{name}"], self._file["spaces"], name)
        if f"seen/{name}" in store._file:
            self.write_seen(name, store.seen(name))

    def _write_array(self, path: str, values: Shaped[np.ndarray, "..."]) -> None:
        is_text = values.dtype.kind in "OU"
        data = values.astype(object) if is_text else values
        self._file.create_dataset(path, data=data, dtype=h5py.string_dtype() if is_text else None)

    def _describe(self, name: str, info: SpaceInfo) -> None:
        self._file[f"spaces/{name}"].attrs.update(asdict(info))


def content_digest(data: bytes) -> bytes:
    """The 128-bit hash of what was encoded: the bytes of an image file, or of a title in UTF-8."""
    return blake2b(data, digest_size=HASH_BYTES).digest()


def check_space_name(name: str) -> None:
    """Raise StoreError where a space can't have this name in an HDF5 file."""
    if not name.strip(".") or "/" in name or "\0" in name:
        raise StoreError(
            f"a space can't be named '{name}': a name has no '/', and is not only dots"
        )


def combined_hash(
    hashes: Sequence[UInt8[np.ndarray, "n 16"]], num_items: int
) -> UInt8[np.ndarray, "n 16"]:
    """One hash an item from the hash of each modality: itself where there is one, else of all.

    Raises:
        StoreError: there is no modality at all.
    """
    if not hashes:
        raise StoreError(f"{num_items} items without a hash: a store keeps one of what was encoded")
    if len(hashes) == 1:
        return hashes[0]
    combined = np.empty((num_items, HASH_BYTES), np.uint8)
    for row, digests in enumerate(zip(*hashes, strict=True)):
        joined = b"".join(digest.tobytes() for digest in digests)
        combined[row] = np.frombuffer(content_digest(joined), np.uint8)
    return combined


def _open_for_reading(path: Path) -> h5py.File:
    if not path.is_file():
        raise StoreError(
            f"no store at {path}: make one with `python -m embed run SOURCE -o {path}`"
        )
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise StoreError(f"{path} is not a store: {_seems(path)}; {_MAKE_ONE}") from error
    found = (file.attrs.get("format"), int(file.attrs.get("format_version", 0)))
    if found != (FORMAT, FORMAT_VERSION):
        groups = ", ".join(list(file)[:5])
        file.close()
        if found[0] is None:
            raise StoreError(
                f"{path} is not a store: it is an HDF5 file of something else, with "
                f"{groups or 'nothing in it'}; {_MAKE_ONE}"
            )
        raise StoreError(
            f"{path} has format {found[0]} version {found[1]}: this program reads "
            f"{FORMAT} version {FORMAT_VERSION}"
        )
    return file


_MAKE_ONE = (
    "make one with `python -m embed run SOURCE -o STORE.h5`, or of vectors that you have with "
    "`python -m embed import`"
)
_SEEMING = {
    ".csv": "it seems to be a table",
    ".parquet": "it seems to be a table",
    ".faiss": "it seems to be an index",
    ".json": "it seems to be a threshold",
    ".safetensors": "it seems to be a head, or weights",
}


def _seems(path: Path) -> str:
    return _SEEMING.get(path.suffix, "it is not an HDF5 file, or it is damaged")


def _read_info(node: Any) -> SpaceInfo:
    values = {key: node.attrs[key] for key in SpaceInfo.__dataclass_fields__}
    return SpaceInfo(
        **values | {"dim": int(values["dim"]), "normalized": bool(values["normalized"])}
    )


def _decoded(dataset: Any, rows: slice = ALL_ROWS) -> Shaped[np.ndarray, " m"]:
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    return np.asarray(dataset.asstr()[rows] if is_text else dataset[rows])
