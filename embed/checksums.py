"""Checksums of what a store holds in numbers, so that a bit that turned on a disk is noticed."""

from hashlib import blake2b
from typing import Any

import h5py

BLOCK_BYTES = 16 * 2**20
CHECKSUM_BYTES = 16
GROUPS = ("spaces", "hashes", "seen")


def checksums_of(file: h5py.File) -> dict[str, str]:
    """BLAKE2b (16 bytes, hex) of every array of vectors, hashes and seen rows, by its path.

    Texts are left out: titles have hashes of their own, and reading millions of texts takes long.
    """
    arrays: dict[str, Any] = {}

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and h5py.check_string_dtype(node.dtype) is None:
            arrays[name] = node

    for group in GROUPS:
        if group in file:
            file[group].visititems(lambda name, node, group=group: note(f"{group}/{name}", node))
    return {path: _checksum(dataset) for path, dataset in sorted(arrays.items())}


def _checksum(dataset: Any) -> str:
    digest = blake2b(digest_size=CHECKSUM_BYTES)
    row_bytes = max(1, dataset.dtype.itemsize * int(dataset.size // max(1, len(dataset))))
    step = max(1, BLOCK_BYTES // row_bytes)
    for start in range(0, len(dataset), step):
        digest.update(dataset[start : start + step].tobytes())
    return digest.hexdigest()
