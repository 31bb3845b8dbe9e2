"""The hashes that a store keeps of its items, taken from what the items are now."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from embed.errors import SourceError
from embed.store import HASH_BYTES, content_digest


def unknown_hashes(num_items: int) -> UInt8[np.ndarray, "n 16"]:
    """Zeros, which say that it is not known what was encoded."""
    return np.zeros((num_items, HASH_BYTES), np.uint8)


def text_hashes(titles: Sequence[object]) -> UInt8[np.ndarray, "n 16"]:
    """The hash of each title."""
    return _stacked((content_digest(str(title).encode()) for title in titles), len(titles))


def file_hashes(ids: Sequence[str], paths: Sequence[Path]) -> UInt8[np.ndarray, "n 16"]:
    """The hash of each file's bytes.

    Raises:
        SourceError: a file that can't be read; the message names its item.
    """
    pool = ThreadPoolExecutor(thread_name_prefix="reader")
    try:
        return _stacked(pool.map(_file_digest, ids, paths), len(ids))
    finally:
        pool.shutdown(cancel_futures=True)


def _file_digest(item_id: str, path: Path) -> bytes:
    try:
        return content_digest(path.read_bytes())
    except OSError as error:
        raise SourceError(
            f"the image of '{item_id}' can't be read: {path}: {error.strerror}; is --image-root "
            f"right?"
        ) from error


def _stacked(digests: Iterable[bytes], num_rows: int) -> UInt8[np.ndarray, "n 16"]:
    stacked = unknown_hashes(num_rows)
    for row, digest in enumerate(digests):
        stacked[row] = np.frombuffer(digest, np.uint8)
    return stacked
