"""The stream of a run: threads read and decode ahead of the encoders, one writes behind them.

Items come in the order of the source, and every queue is bounded.
"""

import hashlib
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Shaped, UInt8

from embed.encoders.base import ImageEncoder, TextEncoder
from embed.encoders.registry import Encoders
from embed.errors import ImageError
from embed.images import ImageTransform, decode_image
from embed.ledger import Ledger
from embed.parts import EncodedRows, Part, PartsFolder
from embed.progress import Advance
from embed.sources import Catalogue
from embed.store import HASH_BYTES, Failure

PART_BYTES = 64 * 2**20
PART_SECONDS = 5.0
PENDING_PARTS = 2


@dataclass(frozen=True)
class Flow:
    """How wide the stream is: rows a batch, reading threads."""

    batch_size: int
    num_workers: int


@dataclass
class Outcome:
    """What the stream did: hashes of what it read by modality, failures, rows that it encoded."""

    hashes: Mapping[str, UInt8[np.ndarray, "n 16"]]
    failures: dict[int, Failure] = field(default_factory=dict)
    num_encoded: int = 0


@dataclass
class Item:
    """A row that has been read: what it was made of, and what it lacks.

    `is_new` says that the sealed store lacks some vector of it; `missing` are the spaces whose
    vector no finished part has either.
    """

    row: int
    digests: dict[str, bytes] = field(default_factory=dict)
    is_new: bool = False
    missing: frozenset[str] = frozenset()
    pixels: dict[ImageTransform, UInt8[np.ndarray, "h w c"]] = field(default_factory=dict)
    failure: Failure | None = None


def encode_missing(
    catalogue: Catalogue,
    encoders: Encoders,
    ledger: Ledger,
    parts: PartsFolder,
    flow: Flow,
    advance: Advance,
) -> Outcome:
    """Read every item, encode what the ledger lacks, and leave it in parts.

    Batches are packed from the rows that the sealed store lacks, whether a part has them or not: so
    a run that goes on after a kill makes the same batches, and with them the same vectors to the
    last bit, as one that was never killed.
    """
    reader = _Reader(catalogue, encoders, ledger)
    num_rows = len(catalogue)
    hashes = {name: np.zeros((num_rows, HASH_BYTES), np.uint8) for name in reader.modalities}
    outcome = Outcome(hashes)
    with (
        # Here and not where images are decoded, since filters belong to all threads.
        warnings.catch_warnings(),
        ThreadPoolExecutor(flow.num_workers, "reader") as pool,
        _PartWriter(parts) as writer,
    ):
        # Odd metadata and large sizes warn; what can't be decoded fails all the same.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        items = _in_order(pool, reader.read, range(num_rows), 2 * flow.batch_size)
        for batch in _batches(_noted(items, outcome, advance), flow.batch_size):
            part = _encode(batch, catalogue, encoders)
            if part is not None:
                writer.add(part)
                outcome.num_encoded += len(part.ids)
    return outcome


class _Reader:
    """Reads one item: its bytes, their hash and, where a vector is missing, its pixels."""

    def __init__(self, catalogue: Catalogue, encoders: Encoders, ledger: Ledger) -> None:
        self._catalogue, self._encoders, self._ledger = catalogue, encoders, ledger
        self.modalities = [
            modality
            for modality, used in (
                ("image", encoders.image),
                ("text", (*encoders.text, *encoders.fitted)),
            )
            if used
        ]

    def read(self, row: int) -> Item:
        """The item of a row; what can't be read or decoded is told in `failure`."""
        item = Item(row)
        stage = "read"
        try:
            data = self._image_bytes(row) if "image" in self.modalities else b""
            self._note_digests(item, data)
            stage = "decode"
            self._decode(item, data)
        except (ImageError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            item.failure = Failure(self._catalogue.ids[row], stage, str(reason))
        return item

    def _image_bytes(self, row: int) -> bytes:
        path: Path | None = self._catalogue.images[row] if self._catalogue.images else None
        if path is None:
            raise ImageError("the manifest names no image")
        return path.read_bytes()

    def _note_digests(self, item: Item, data: bytes) -> None:
        if "image" in self.modalities:
            item.digests["image"] = _digest(data)
        if "text" in self.modalities and self._catalogue.titles is not None:
            item.digests["text"] = _digest(self._catalogue.titles[item.row].encode())
        per_item = self._encoders.per_item
        item.is_new = any(
            not self._is_known(self._ledger.holds_in_store, e, item) for e in per_item
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
            image = decode_image(data)
            item.pixels = {transform: transform.apply(image) for transform in transforms}


def _in_order(
    pool: ThreadPoolExecutor, read: Callable[[int], Item], rows: Iterable[int], num_ahead: int
) -> Iterator[Item]:
    """The items in order, read by the pool at most `num_ahead` rows ahead of the consumer."""
    pending: deque[Future[Item]] = deque()
    try:
        for row in rows:
            pending.append(pool.submit(read, row))
            if len(pending) > num_ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _noted(items: Iterable[Item], outcome: Outcome, advance: Advance) -> Iterator[Item]:
    """Pass on the items that are new, after noting hashes and failures of all."""
    for item in items:
        advance(1)
        if item.failure is not None:
            outcome.failures[item.row] = item.failure
            continue
        for modality, digest in item.digests.items():
            outcome.hashes[modality][item.row] = np.frombuffer(digest, np.uint8)
        if item.is_new:
            yield item


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _encode(batch: list[Item], catalogue: Catalogue, encoders: Encoders) -> Part | None:
    """The vectors that the batch lacks, or None where it lacks none."""
    batch = [item for item in batch if item.missing]
    if not batch:
        return None
    spaces: dict[str, EncodedRows] = {}
    for encoder in encoders.per_item:
        rows = [index for index, item in enumerate(batch) if encoder.name in item.missing]
        if rows:
            vectors = _vectors(encoder, [batch[index] for index in rows], catalogue)
            spaces[encoder.name] = EncodedRows(encoder.info.fingerprint, np.array(rows), vectors)
    hashes = {
        modality: np.stack([np.frombuffer(item.digests[modality], np.uint8) for item in batch])
        for modality in batch[0].digests
    }
    return Part([catalogue.ids[item.row] for item in batch], hashes, spaces)


def _vectors(
    encoder: ImageEncoder | TextEncoder, items: list[Item], catalogue: Catalogue
) -> Shaped[np.ndarray, "m d"]:
    if isinstance(encoder, ImageEncoder):
        return encoder.encode(np.stack([item.pixels[encoder.transform] for item in items]))
    titles = catalogue.titles or []
    return encoder.encode([titles[item.row] for item in items])


class _PartWriter:
    """Gathers encoded batches and writes them as parts, in a thread of its own."""

    def __init__(self, parts: PartsFolder) -> None:
        self._parts = parts
        self._pool = ThreadPoolExecutor(1, "writer")
        self._pending: deque[Future[None]] = deque()
        self._gathered: list[Part] = []
        self._num_bytes = 0
        self._last_write = time.monotonic()

    def __enter__(self) -> "_PartWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left, also where the run was interrupted, so that nothing is lost."""
        try:
            self._write()
            while self._pending:
                self._pending.popleft().result()
        finally:
            self._pool.shutdown()

    def add(self, part: Part) -> None:
        """Take a batch over; a failed write is raised at the next call."""
        self._gathered.append(part)
        self._num_bytes += sum(encoded.vectors.nbytes for encoded in part.spaces.values())
        is_due = time.monotonic() - self._last_write >= PART_SECONDS
        if is_due or self._num_bytes >= PART_BYTES:
            self._write()

    def _write(self) -> None:
        while len(self._pending) >= PENDING_PARTS:
            self._pending.popleft().result()
        if self._gathered:
            joined = _joined(self._gathered)
            self._pending.append(self._pool.submit(self._parts.write, joined))
        self._gathered, self._num_bytes = [], 0
        self._last_write = time.monotonic()


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


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=HASH_BYTES).digest()
