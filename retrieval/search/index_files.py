"""The file of an index: FAISS's own bytes, and behind them what the workbench knows of it.

    FAISS's index · JSON · length of the JSON (8 bytes) · BLAKE2b of all before (16) · mark (8)

FAISS reads such a file as it is, since it stops where its index ends. Format version 1.
"""

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import faiss

from embed.errors import NeighboursError, SettingsError
from embed.files import refuse_existing, replacing
from retrieval.search.approximate import ApproximateIndex, IndexInfo
from retrieval.search.indexes import Effort

FORMAT = "retrieval-index"
FORMAT_VERSION = 1
SUFFIX = ".faiss"
MARK = b"\x89RINDEX\n"
LENGTH_BYTES = 8
DIGEST_BYTES = 16
END_BYTES = LENGTH_BYTES + DIGEST_BYTES + len(MARK)
COPY_BYTES = 2**20


def index_path(store: Path, space: str, method: str) -> Path:
    """Where the index of a space lies if no other place is named: beside the store."""
    return store.with_name(f"{store.stem}.{space}.{method}{SUFFIX}")


def refuse_index_suffix(path: Path) -> None:
    """Raise SettingsError where no index ends like this."""
    if path.suffix != SUFFIX:
        raise SettingsError(f"an index is a {SUFFIX} file: found {path}: rename the output")


def save_index(index: ApproximateIndex, path: Path, *, force: bool = False) -> None:
    """Write an index to one file.

    Raises:
        OutputExistsError: the file exists and `force` was not given.
        OutputError: it can't be written.
    """
    refuse_existing(path, force=force)
    values = {"format": FORMAT, "format_version": FORMAT_VERSION, **index.info.to_json()}
    text = json.dumps(values, ensure_ascii=False).encode()
    with replacing(path) as temporary:
        faiss.write_index(index.faiss_index, str(temporary))
        with temporary.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(text + len(text).to_bytes(LENGTH_BYTES, "little"))
            file.write(_digest(file, file.tell()) + MARK)


def load_index(path: Path) -> ApproximateIndex:
    """Read an index that `save_index` wrote.

    Raises:
        NeighboursError: the file is missing, is no such index, or is not as it was written.
    """
    try:
        with path.open("rb") as file:
            values = _read_values(file, path)
    except FileNotFoundError as error:
        raise NeighboursError(
            f"no index at {path}: make one with `python -m retrieval index STORE -o {path}`"
        ) from error
    found = (values.pop("format", None), values.pop("format_version", None))
    if found != (FORMAT, FORMAT_VERSION):
        raise NeighboursError(
            f"{path} should have format {FORMAT} version {FORMAT_VERSION}: found {found[0]} "
            f"version {found[1]}: make it again with `python -m retrieval index`"
        )
    info = IndexInfo(**(values | {"effort": Effort(**values["effort"])}))
    return ApproximateIndex(faiss.read_index(str(path)), info, str(path))


def _read_values(file: BinaryIO, path: Path) -> dict[str, Any]:
    """The JSON, once all bytes before the end are known to be those that were written."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_BYTES))
    end = file.read()
    if size < END_BYTES or not end.endswith(MARK):
        raise NeighboursError(
            f"{path} is no index of the workbench, or its end is missing ({size:,} bytes): make it "
            f"again with `python -m retrieval index`"
        )
    file.seek(0)
    covered = size - DIGEST_BYTES - len(MARK)
    if _digest(file, covered) != end[LENGTH_BYTES : LENGTH_BYTES + DIGEST_BYTES]:
        raise NeighboursError(
            f"{path} is damaged: its bytes are not those that were written: make it again with "
            f"`python -m retrieval index`"
        )
    length = int.from_bytes(end[:LENGTH_BYTES], "little")
    file.seek(covered - LENGTH_BYTES - length)
    values: dict[str, Any] = json.loads(file.read(length))
    return values


def _digest(file: BinaryIO, num_bytes: int) -> bytes:
    """BLAKE2b of the first bytes of a file, which is left at their end."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    file.seek(0)
    while num_bytes:
        block = file.read(min(COPY_BYTES, num_bytes))
        digest.update(block)
        num_bytes -= len(block)
    return digest.digest()
