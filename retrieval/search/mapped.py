"""Reading a mapped file without keeping its pages in memory."""

import mmap
from typing import Any

import numpy as np

PAGE_BYTES = mmap.PAGESIZE
RELEASE_BYTES = 2**25
"""What is read of a mapped file before its pages are handed back: 32 MiB."""


class MappedFile:
    """The file that an array is mapped from, if it is: pages are handed back as it is read."""

    def __init__(self, array: Any) -> None:
        self._mapping = _mapping_of(array)
        self._unreleased_bytes = 0

    def count(self, num_bytes: int) -> None:
        """Take so much of it as read, and hand back all pages once that is a lot."""
        self._unreleased_bytes += num_bytes
        if self._mapping is not None and self._unreleased_bytes > RELEASE_BYTES:
            self._mapping.madvise(mmap.MADV_DONTNEED)
            self._unreleased_bytes = 0


def _mapping_of(array: Any) -> mmap.mmap | None:
    """The mapped file that an array is a view of, where its pages can be handed back."""
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    can_release = isinstance(array, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED")
    return array if can_release else None
