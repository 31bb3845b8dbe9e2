"""Parts: immutable files with finished rows, from which a run that died goes on.

A part is a safetensors file whose name ends in a hash of its bytes, so that one that was cut short
or altered is recognised and thrown away. It holds ids, the hashes of what was encoded, and for each
space the vectors of the rows that were encoded for it.
"""

import fcntl
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Int, Shaped, UInt8
from safetensors.numpy import load, save

from embed.errors import StoreError
from embed.files import make_folder, replacing

SUFFIX = ".part"
LOCK = "lock"
PLAN = "plan.json"


@dataclass(frozen=True)
class EncodedRows:
    """Rows that an encoder has finished: positions within the part's ids, and their vectors."""

    fingerprint: str
    rows: Int[np.ndarray, " m"]
    vectors: Shaped[np.ndarray, "m d"]


@dataclass(frozen=True)
class Part:
    """Finished rows: ids, a hash of what was encoded by modality, vectors by space."""

    ids: list[str]
    hashes: Mapping[str, UInt8[np.ndarray, "m 16"]]
    spaces: Mapping[str, EncodedRows]


class PartsFolder:
    """The folder of parts beside a store, `STORE.parts/`."""

    def __init__(self, store_path: Path) -> None:
        self.path = store_path.with_name(f"{store_path.name}.parts")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs off this store; the lock ends with the process, however it ends.

        Raises:
            StoreError: another run holds it.
        """
        with self._open_lock() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreError(
                    f"another run is writing {self.path.with_suffix('')}: wait until it has ended"
                ) from error
            try:
                yield
            finally:
                if {path.name for path in self.path.iterdir()} <= {LOCK, PLAN}:
                    self.remove()
                    (self.path / LOCK).unlink()
                    self.path.rmdir()

    def _open_lock(self) -> IO[str]:
        make_folder(self.path)
        return (self.path / LOCK).open("w")

    def write(self, part: Part) -> None:
        """Write a part; it is there whole, or not at all."""
        data = _dump(part)
        with replacing(self.path / f"{_digest(data)}{SUFFIX}") as path:
            path.write_bytes(data)

    @property
    def planned_batch_size(self) -> int | None:
        """What a run that did not end had found best; others would change the last bits."""
        plan = self.path / PLAN
        return int(json.loads(plan.read_text())["batch_size"]) if plan.exists() else None

    def plan_batch_size(self, batch_size: int) -> None:
        """Keep what was found best for the run that goes on from these parts."""
        with replacing(self.path / PLAN) as path:
            path.write_text(json.dumps({"batch_size": batch_size}))

    def names(self) -> list[str]:
        """The names of the parts that are there, oldest first."""
        paths = self.path.glob(f"[!.]*{SUFFIX}")
        return [path.name for path in sorted(paths, key=lambda p: (p.stat().st_mtime_ns, p.name))]

    def read(self, name: str) -> Part | None:
        """A part; None where it is damaged: it is deleted, so that its rows are encoded again."""
        path = self.path / name
        data = path.read_bytes()
        if _digest(data) == path.stem:
            return _load(data)
        path.unlink()
        return None

    def remove(self, kept: Collection[str] = ()) -> None:
        """Delete the parts, once a store holds their rows, but for those that are to be kept."""
        for path in self.path.iterdir():
            if path.name not in kept and path.name != LOCK:
                path.unlink()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _dump(part: Part) -> bytes:
    # Fixed-width text would cut long ids: JSON keeps them whole.
    fingerprints = {name: rows.fingerprint for name, rows in part.spaces.items()}
    metadata = {"ids": json.dumps(part.ids), "fingerprints": json.dumps(fingerprints)}
    tensors = {f"hash/{modality}": hashes for modality, hashes in part.hashes.items()}
    for name, encoded in part.spaces.items():
        tensors[f"rows/{name}"] = encoded.rows
        tensors[f"vectors/{name}"] = np.ascontiguousarray(encoded.vectors)
    return save(tensors, metadata)


def _load(data: bytes) -> Part:
    tensors = load(data)
    header_length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + header_length])["__metadata__"]
    spaces = {
        name: EncodedRows(fingerprint, tensors[f"rows/{name}"], tensors[f"vectors/{name}"])
        for name, fingerprint in json.loads(metadata["fingerprints"]).items()
    }
    hashes = {
        key.removeprefix("hash/"): values
        for key, values in tensors.items()
        if key.startswith("hash/")
    }
    return Part(json.loads(metadata["ids"]), hashes, spaces)
