"""Gathers encoded batches into parts and writes them, in a thread of its own."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np

from embed.parts import EncodedRows, Part, PartsFolder
from embed.units import UnitResult

PART_BYTES = 64 * 2**20
PART_SECONDS = 5.0
PENDING_PARTS = 2


class PartWriter:
    """Writes parts of some seconds or megabytes each, and reports the units that are safe.

    A unit is reported, from the writing thread, once every batch that was added before its end
    lies in a part on the disk.
    """

    def __init__(self, parts: PartsFolder, report: Callable[[UnitResult], None]) -> None:
        self._parts, self._report = parts, report
        self._pool = ThreadPoolExecutor(1, "writer")
        self._pending: deque[Future[None]] = deque()
        self._gathered: list[Part] = []
        self._ended: list[UnitResult] = []
        self._num_bytes = 0
        self._last_write = time.monotonic()

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left, also where the run was interrupted, so that nothing is lost."""
        try:
            self._hand_over()
            while self._pending:
                self._pending.popleft().result()
        finally:
            self._pool.shutdown()

    def add(self, part: Part) -> None:
        """Take a batch over; a failed write is raised at the next call."""
        self._gathered.append(part)
        self._num_bytes += sum(encoded.vectors.nbytes for encoded in part.spaces.values())
        if self._is_due or self._num_bytes >= PART_BYTES:
            self._hand_over()

    def end_unit(self, result: UnitResult) -> None:
        """Report the unit when all that was added so far is safe."""
        self._ended.append(result)
        if self._is_due or not self._gathered:
            self._hand_over()

    @property
    def _is_due(self) -> bool:
        return time.monotonic() - self._last_write >= PART_SECONDS

    def _hand_over(self) -> None:
        while len(self._pending) >= PENDING_PARTS:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._write, self._gathered, self._ended))
        self._gathered, self._ended, self._num_bytes = [], [], 0
        self._last_write = time.monotonic()

    def _write(self, gathered: list[Part], ended: list[UnitResult]) -> None:
        if gathered:
            self._parts.write(_joined(gathered))
        for result in ended:
            self._report(result)


def _joined(parts: list[Part]) -> Part:
    """One part from many."""
    starts = np.cumsum([0] + [len(part.ids) for part in parts])
    hashes = {
        modality: np.concatenate([part.hashes[modality] for part in parts])
        for modality in parts[0].hashes
    }
    spaces: dict[str, EncodedRows] = {}
    for name in {name: None for part in parts for name in part.spaces}:
        having = [
            (start, part.spaces[name])
            for start, part in zip(starts, parts, strict=False)
            if name in part.spaces
        ]
        spaces[name] = EncodedRows(
            having[0][1].fingerprint,
            np.concatenate([encoded.rows + start for start, encoded in having]),
            np.concatenate([encoded.vectors for _, encoded in having]),
        )
    return Part([item_id for part in parts for item_id in part.ids], hashes, spaces)
