"""Parts: immutable files with finished rows, from which a run that died goes on.

A part is a safetensors file whose name ends in a hash of its bytes, so that one that was cut short
or altered is recognised and thrown away. It holds ids, the hashes of what was encoded, and for each
space the vectors of the rows that were encoded for it.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped, UInt8
from safetensors.numpy import load, save

from embed.errors import OutputError
from embed.files import replacing
from embed.locks import LOCK, locked, parts_path
from embed.store import SpaceInfo

SUFFIX = ".part"
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
        self._store_path = store_path
        self.path = parts_path(store_path)

    def locked(self) -> AbstractContextManager[None]:
        """Keep other writers off this store, as `embed.locks.locked` does."""
        return locked(self._store_path, leftovers=(PLAN,))

    def write(self, part: Part) -> None:
        """Write a part; it is there whole, or not at all.

        Raises:
            OutputError: it can't be written, as where the disk is full.
        """
        data = _dump(part)
        try:
            with replacing(self.path / f"{_digest(data)}{SUFFIX}") as path:
                path.write_bytes(data)
        except OSError as error:
            raise OutputError(
                f"can't write finished rows to {self.path}: {error.strerror}; those before are "
                f"kept: mend this, and run the same command again"
            ) from error

    def planned_batch_size(self, spaces: Collection[SpaceInfo], device: str) -> int | None:
        """What a run of these encoders on this device, which did not end, had found best.

        Rows that go on in batches of another size would differ in their last bits.
        """
        with suppress(FileNotFoundError, json.JSONDecodeError):
            plan = json.loads((self.path / PLAN).read_text())
            if plan["for"] == _plan_key(spaces, device):
                return int(plan["batch_size"])
        return None

    def plan_batch_size(self, batch_size: int, spaces: Collection[SpaceInfo], device: str) -> None:
        """Keep what was found best for the run that goes on from these parts."""
        plan = {"for": _plan_key(spaces, device), "batch_size": batch_size}
        with replacing(self.path / PLAN) as path:
            path.write_text(json.dumps(plan))

    def names(self) -> list[str]:
        """The names of the parts that are there, oldest first."""
        times = {}
        for path in self.path.glob(f"[!.]*{SUFFIX}"):
            with suppress(FileNotFoundError):  # another worker has found it damaged
                times[path.name] = path.stat().st_mtime_ns
        return sorted(times, key=lambda name: (times[name], name))

    def read(self, name: str) -> Part | None:
        """A part; None where it is damaged: it is deleted, so that its rows are encoded again."""
        path = self.path / name
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # another worker has found it damaged
            return None
        if _digest(data) == path.stem:
            return _load(data)
        path.unlink(missing_ok=True)
        return None

    def remove(self, kept: Collection[str] = ()) -> None:
        """Delete the parts, once a store holds their rows, but for those that are to be kept."""
        for path in self.path.iterdir():
            if path.name not in kept and path.name != LOCK:
                path.unlink()


def _plan_key(spaces: Collection[SpaceInfo], device: str) -> list[str]:
    return [*sorted(info.fingerprint for info in spaces), device]


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
