"""The stream of a run: threads read and decode ahead of the encoders, one writes behind them.

Items come in the order of the source, and every queue is bounded.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby, islice

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8

from embed.decoding import read_pixels
from embed.devices import num_cores
from embed.encoders.base import ImageEncoder, TextEncoder
from embed.encoders.registry import Encoders
from embed.errors import ImageError
from embed.images import ImageTransform
from embed.ledger import Ledger
from embed.part_writer import PartWriter
from embed.parts import EncodedRows, Part, PartsFolder
from embed.progress import Advance
from embed.sources import Catalogue, Fetcher
from embed.store import Failure, content_digest
from embed.units import Unit, UnitResult, read_unit

Report = Callable[[UnitResult], None]


@dataclass(frozen=True)
class Flow:
    """How wide the stream is.

    Where readers and encoders need the same cores they take turns, which is as fast as side by side
    (measured with ViT-S-32 on two) and holds fewer images in memory. `in_flight` batches are begun
    before the first of them is waited for, so that a GPU always has one to go on with.
    """

    batch_size: int
    rows_per_unit: int
    num_readers: int
    takes_turns: bool
    in_flight: int
    max_pixels: int


@dataclass(frozen=True)
class Job:
    """What a worker works with. With `wanted`, rows where it is False are passed over."""

    catalogue: Catalogue
    fetcher: Fetcher
    encoders: Encoders
    modalities: list[str]
    ledger: Ledger
    parts: PartsFolder
    flow: Flow
    wanted: Bool[np.ndarray, " n"] | None = None


@dataclass
class Item:
    """A row that has been read: what it was made of, and what it lacks.

    `place` is its row within the unit. `is_new` says that the sealed store lacks some vector of it;
    `missing` are the spaces whose vector no finished part has either.
    """

    unit: Unit
    place: int
    digests: dict[str, bytes] = field(default_factory=dict)
    is_new: bool = False
    missing: frozenset[str] = frozenset()
    pixels: dict[ImageTransform, UInt8[np.ndarray, "h w c"]] = field(default_factory=dict)
    failure: Failure | None = None

    @property
    def row(self) -> int:
        """Its row in the catalogue."""
        return self.unit.start + self.place


def encode_units(job: Job, starts: Iterable[int], report: Report, advance: Advance) -> None:
    """Read every item of the units, encode what the ledger lacks, and leave it in parts.

    `report` is called from another thread with each unit whose vectors are safe in parts.

    Batches are packed from the rows that the sealed store lacks, whether a part has them or not: so
    a run that goes on after a kill makes the same batches, and with them the same vectors to the
    last bit, as one that was never killed.
    """
    reader = _Reader(job)
    units = (
        read_unit(job.catalogue, start, job.flow.rows_per_unit, job.modalities) for start in starts
    )
    with (
        ThreadPoolExecutor(job.flow.num_readers, "reader") as pool,
        PartWriter(job.parts, report) as writer,
        # Closed first, so that after an error nothing is read that nobody waits for.
        closing(_read_all(pool, reader, units, job.flow)) as items,
    ):
        batches = _batches(_noted(items, advance), job.flow.batch_size)
        begun = (_begin(batch, job.encoders) for batch in batches)
        for batch in _behind(begun, job.flow.in_flight):
            if batch.items:
                writer.add(batch.part())
                batch.unit.num_encoded += len(batch.items)
            if batch.ends_unit:
                writer.end_unit(batch.unit.result)


class _Reader:
    """Reads one item: its bytes, their hash and, where a vector is missing, its pixels."""

    def __init__(self, job: Job) -> None:
        self._job, self._ledger, self._encoders = job, job.ledger, job.encoders
        # More threads may wait for a network than there is memory for whole photographs.
        self._decoding = threading.Semaphore(num_cores())

    def items(self, units: Iterable[Unit]) -> Iterator[Item]:
        """The items of the units that are to be read, as yet unread."""
        wanted = self._job.wanted
        for unit in units:
            for place in range(len(unit.ids)):
                if wanted is None or wanted[unit.start + place]:
                    yield Item(unit, place)

    def read(self, item: Item) -> Item:
        """The item, filled in; what can't be read or decoded is told in `failure`."""
        stage = "read"
        try:
            data = self._image_bytes(item) if "image" in self._job.modalities else b""
            self._note_digests(item, data)
            stage = "decode"
            self._decode(item, data)
        except ImageError as error:
            item.failure = Failure(item.unit.ids[item.place], stage, str(error))
        return item

    def _image_bytes(self, item: Item) -> bytes:
        location = item.unit.locations[item.place] if item.unit.locations else None
        if location is None:
            raise ImageError("the manifest names no image")
        return self._job.fetcher.read(location)

    def _note_digests(self, item: Item, data: bytes) -> None:
        if "image" in self._job.modalities:
            item.digests["image"] = content_digest(data)
        if item.unit.titles is not None:
            item.digests["text"] = content_digest(item.unit.titles[item.place].encode())
        per_item = self._encoders.per_item
        item.is_new = any(
            not self._is_known(self._ledger.holds_in_store, encoder, item) for encoder in per_item
        )
        item.missing = frozenset(
            encoder.name
            for encoder in per_item
            if not self._is_known(self._ledger.holds, encoder, item)
        )

    def _is_known(
        self,
        holds: Callable[[str, int, bytes], bool],
        encoder: ImageEncoder | TextEncoder,
        item: Item,
    ) -> bool:
        return holds(encoder.name, item.row, item.digests[encoder.info.modality])

    def _decode(self, item: Item, data: bytes) -> None:
        """One decode, one resize for each distinct transform, whatever the number of encoders."""
        transforms = {e.transform for e in self._encoders.image if e.name in item.missing}
        if transforms:
            with self._decoding:
                item.pixels = read_pixels(data, transforms, self._job.flow.max_pixels)


def _read_all(
    pool: ThreadPoolExecutor, reader: _Reader, units: Iterable[Unit], flow: Flow
) -> Generator[Item]:
    """The items of the units in order, read by the pool.

    It reads at most two batches ahead of the consumer or, where both take turns, one batch each
    time that the consumer has used up what there was.
    """
    items = reader.items(units)
    if flow.takes_turns:
        while block := list(islice(items, flow.batch_size)):
            yield from pool.map(reader.read, block)
        return
    pending: deque[Future[Item]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(reader.read, item))
            if len(pending) > 2 * flow.batch_size:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _noted(items: Iterable[Item], advance: Advance) -> Iterator[Item]:
    """Pass the items on, after noting the hashes or the failure of each in its unit."""
    for item in items:
        advance(1)
        item.unit.num_read += 1
        if item.failure is not None:
            item.unit.failures[item.row] = item.failure
        else:
            for modality, digest in item.digests.items():
                item.unit.hashes[modality][item.place] = np.frombuffer(digest, np.uint8)
        yield item


@dataclass
class _Batch:
    """Items that are encoded together, none across the end of a unit; the last one says so."""

    unit: Unit
    items: list[Item]
    ends_unit: bool = False


def _batches(items: Iterable[Item], size: int) -> Iterator[_Batch]:
    for _, of_unit in groupby(items, key=lambda item: item.unit.start):
        new: list[Item] = []
        for item in of_unit:
            unit = item.unit
            if item.is_new and item.failure is None:
                new.append(item)
            if len(new) == size:
                yield _Batch(unit, new)
                new = []
        yield _Batch(unit, new, ends_unit=True)


@dataclass(frozen=True)
class _BegunRows:
    """Rows of a batch that an encoder is at work on."""

    fingerprint: str
    rows: Int[np.ndarray, " m"]
    finish: Callable[[], Shaped[np.ndarray, "m d"]]

    def finished(self) -> EncodedRows:
        return EncodedRows(self.fingerprint, self.rows, self.finish())


@dataclass
class _BegunBatch:
    """A batch whose encoding has begun: `vectors` waits for each space's."""

    unit: Unit
    items: list[Item]
    ends_unit: bool
    vectors: dict[str, _BegunRows]

    def part(self) -> Part:
        """The finished rows."""
        spaces = {name: begun.finished() for name, begun in self.vectors.items()}
        digests = [item.digests for item in self.items]
        hashes = {
            modality: np.stack([np.frombuffer(digest[modality], np.uint8) for digest in digests])
            for modality in digests[0]
        }
        return Part([item.unit.ids[item.place] for item in self.items], hashes, spaces)


def _begin(batch: _Batch, encoders: Encoders) -> _BegunBatch:
    """Begin to encode what the batch lacks, which may be nothing."""
    items = [item for item in batch.items if item.missing]
    vectors: dict[str, _BegunRows] = {}
    for encoder in encoders.per_item:
        rows = [place for place, item in enumerate(items) if encoder.name in item.missing]
        if rows:
            finish = _start(encoder, [items[place] for place in rows])
            vectors[encoder.name] = _BegunRows(encoder.info.fingerprint, np.array(rows), finish)
    for item in items:
        item.pixels = {}
    return _BegunBatch(batch.unit, items, batch.ends_unit, vectors)


def _start(
    encoder: ImageEncoder | TextEncoder, items: list[Item]
) -> Callable[[], Shaped[np.ndarray, "m d"]]:
    if isinstance(encoder, ImageEncoder):
        return encoder.start(np.stack([item.pixels[encoder.transform] for item in items]))
    return encoder.start([(item.unit.titles or [])[item.place] for item in items])


def _behind(begun: Iterable[_BegunBatch], num_in_flight: int) -> Iterator[_BegunBatch]:
    """The batches in order, each when `num_in_flight` others have been begun after it."""
    pending: deque[_BegunBatch] = deque()
    for batch in begun:
        pending.append(batch)
        if len(pending) > num_in_flight:
            yield pending.popleft()
    yield from pending
