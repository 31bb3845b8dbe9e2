"""The folder in which spaces travel, and what both sides of it must agree on.

items.parquet            id, every column, and `_row`: the row of the arrays, from 0
NAME.npy                 a dense space as stored, or a binary one as uint8 (n, bytes)
NAME.npz                 a sparse space, as scipy.sparse.save_npz writes it
NAME.KEY.parquet         what the encoder of a sparse space learnt: its vocabulary, its idf
hashes/MODALITY.npy      uint8 (n, 16), of what was encoded
seen/NAME.npy            uint8 (n,), 1 where a head of this space was trained or chosen
failures.parquet         id, stage, reason of every item that was left out
spaces.json              what each space says of itself, with a hash of its vectors
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from embed.errors import SourceError
from embed.store import SpaceInfo, SparseParts, check_space_name

FORMAT = "embedding-export"
FORMAT_VERSION = 1
RECORD, ITEMS, FAILURES = "spaces.json", "items.parquet", "failures.parquet"
ROW_COLUMN = "_row"
WITHOUT_ENCODER = ("head:", "imported:")
"""How the specs of spaces begin that no encoder made: a run hands them on, but makes none."""
BLOCK_BYTES = 16 * 2**20
UNIT_TOLERANCE: Mapping[str, float] = {"float16": 1e-3, "float32": 1e-5}
"""How far from 1 the length of a vector may lie that was scaled to 1 and rounded, by dtype."""


@dataclass(frozen=True)
class SpaceRecord:
    """A space in the folder: what it says of itself, the hash of its vectors, what was fitted."""

    info: SpaceInfo
    vectors: str
    fitted: tuple[str, ...] = ()

    def file_name(self, name: str) -> str:
        """The file of its vectors."""
        return f"{name}.npz" if self.info.kind == "sparse" else f"{name}.npy"


@dataclass(frozen=True)
class Record:
    """All of spaces.json. `row_column` is the column of items.parquet that counts the rows."""

    num_items: int
    row_column: str
    modalities: tuple[str, ...]
    versions: Mapping[str, str]
    spaces: Mapping[str, SpaceRecord]


def write_record(folder: Path, record: Record) -> None:
    """Write spaces.json."""
    spaces = {
        name: asdict(space.info) | {"vectors": space.vectors, "fitted": list(space.fitted)}
        for name, space in record.spaces.items()
    }
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "num_items": record.num_items,
        "row_column": record.row_column,
        "modalities": list(record.modalities),
        "versions": dict(record.versions),
        "spaces": spaces,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> Record:
    """Read spaces.json, taking nothing in it on trust.

    Raises:
        SourceError: it is not what `write_record` writes, or has another format version.
        StoreError: a space's name that is none, such as one that leads out of the folder.
    """
    path = folder / RECORD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = (content["format"], content["format_version"])
        if found != (FORMAT, FORMAT_VERSION):
            raise SourceError(
                f"{path} has format {found[0]} version {found[1]}: this program reads {FORMAT} "
                f"version {FORMAT_VERSION}"
            )
        return Record(
            int(content["num_items"]),
            str(content["row_column"]),
            tuple(_modality(name) for name in content["modalities"]),
            {str(key): str(value) for key, value in content["versions"].items()},
            {name: _space_record(name, fields) for name, fields in content["spaces"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"{path} is not what `embed export` writes ({type(error).__name__}: {error}): "
            f"export the store again"
        ) from error


def _modality(name: object) -> str:
    if name not in ("image", "text"):
        raise ValueError(f"modality {name!r}")
    return str(name)


def _space_record(name: str, fields: Mapping[str, Any]) -> SpaceRecord:
    check_space_name(name)
    info = SpaceInfo(**{key: fields[key] for key in SpaceInfo.__dataclass_fields__})
    types = {"dim": int, "normalized": bool}
    for key, value in asdict(info).items():
        if type(value) is not types.get(key, str):
            raise TypeError(f"{key} of space '{name}' is {value!r}")
    if info.kind not in ("dense", "sparse", "binary"):
        raise ValueError(f"kind of space '{name}' is {info.kind!r}")
    if info.modality not in ("image", "text", "fused"):
        raise ValueError(f"modality of space '{name}' is {info.modality!r}")
    for key in fields["fitted"]:
        check_space_name(key)
    return SpaceRecord(info, str(fields["vectors"]), tuple(fields["fitted"]))


def block_starts(num_rows: int, row_bytes: int) -> Iterator[slice]:
    """Slices over all rows, each of some 16 MiB."""
    rows = max(1, BLOCK_BYTES // max(1, row_bytes))
    return (slice(start, min(start + rows, num_rows)) for start in range(0, num_rows, rows))


def array_hash(
    dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterable[Shaped[np.ndarray, "..."]]
) -> str:
    """A 128-bit hash (hex) of a dense or binary space: dtype, shape, rows in order."""
    digest = hashlib.blake2b(f"{np.dtype(dtype).name} {shape}".encode(), digest_size=16)
    for block in blocks:
        digest.update(np.ascontiguousarray(block, dtype).tobytes())
    return digest.hexdigest()


def sparse_hash(parts: SparseParts) -> str:
    """A 128-bit hash (hex) of a sparse space; the width of its indices does not count."""
    digest = hashlib.blake2b(f"sparse {parts.shape}".encode(), digest_size=16)
    arrays = ((parts.data, np.float32), (parts.indices, np.int64), (parts.indptr, np.int64))
    for values, dtype in arrays:
        for block in block_starts(len(values), 8):
            digest.update(np.ascontiguousarray(values[block], dtype).tobytes())
    return digest.hexdigest()


def row_lengths(vectors: Shaped[np.ndarray, "b d"]) -> Float64[np.ndarray, " b"]:
    """The length of each row, exact enough for every tolerance here."""
    wide = vectors.astype(np.float64)
    with np.errstate(over="ignore"):  # a length that is infinite is not 1 either
        return np.asarray(np.sqrt(np.einsum("bd,bd->b", wide, wide)), np.float64)
