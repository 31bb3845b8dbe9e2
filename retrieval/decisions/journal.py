"""The append-only file of decisions beside a store, which several processes may write.

A line is appended by one write and is on the disk before anybody is told so. A crash can only cut
the end of the file short: readers pass over that, and the next append says on a line of its own
that it did. Whatever else is damaged is an error: decisions must not get lost in silence.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from threading import Lock

from embed.errors import DecisionsError, OutputError
from embed.files import flush_to_disk
from retrieval.decisions.lines import Lines
from retrieval.decisions.records import Decision, Pair, Record, Repair, Undo, to_line


def decisions_path(store_path: Path) -> Path:
    """Where the decisions of a store lie: `store.decisions.jsonl` beside `store.h5`."""
    return store_path.with_name(f"{store_path.stem}.decisions.jsonl")


def new_id() -> str:
    """An id that no other decision has."""
    return uuid.uuid4().hex[:16]


def now_utc() -> str:
    """The time, as it is written."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Decisions:
    """What stands of a file: of each pair the last decision that was not taken back.

    `num_torn` lines were cut short by a crash, and nothing has said so yet.
    """

    path: Path
    standing: Mapping[Pair, Decision]
    num_torn: int = 0

    def __len__(self) -> int:
        return len(self.standing)

    @property
    def digest(self) -> str:
        """The same for the same decisions."""
        ids = " ".join(made.id for made in self.standing.values())
        return blake2b(ids.encode(), digest_size=8).hexdigest()

    @property
    def warnings(self) -> tuple[str, ...]:
        """That the end of the file is cut short, where it is."""
        if not self.num_torn:
            return ()
        return (f"the last line of {self.path} was cut short, as by a crash, and is left out",)


def read_decisions(path: Path) -> Decisions:
    """What stands of a file of decisions.

    Raises:
        DecisionsError: there is no such file, or a line is damaged; the message names it.
    """
    if not path.is_file():
        raise DecisionsError(
            f"no decisions at {path}: `python -m retrieval serve` writes them as people review "
            f"pairs; leave --decisions out, or give another file"
        )
    return Journal(path).read()


class Journal:
    """A file of decisions that is read and appended to, by any number of threads and processes.

    What was read once is not read again: the file only grows. A file that does not exist is one
    without decisions; the first append makes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._forget(None)

    @property
    def is_writable(self) -> bool:
        """Whether decisions can be kept, as far as the file and its folder allow it."""
        if self.path.exists():
            return self.path.is_file() and os.access(self.path, os.W_OK)
        return os.access(self.path.absolute().parent, os.W_OK | os.X_OK)

    def read(self) -> Decisions:
        """What stands now.

        Raises:
            DecisionsError: a line is damaged, or the file can't be read.
        """
        with self._lock:
            try:
                with self._opened(os.O_RDONLY, fcntl.LOCK_SH) as file:
                    self._catch_up(file)
            except FileNotFoundError:
                self._forget(None)
            except OSError as error:
                raise DecisionsError(f"can't read {self.path}: {error.strerror}") from error
            return self._decisions()

    def append(self, decision: Decision) -> Decisions:
        """Keep a decision: it is on the disk when this returns what stands then.

        Raises:
            OutputError: it can't be written; the file is as it was.
            DecisionsError: a line of the file is damaged.
        """
        with self._lock, self._writing() as file:
            self._write(file, decision)
            return self._decisions()

    def undo(self, by: str) -> tuple[Decision, Decisions]:
        """Take back the last decision of somebody that stands: that one, and what stands then.

        Raises:
            OutputError: it can't be written; the file is as it was.
            DecisionsError: there is none, or a line of the file is damaged.
        """
        with self._lock, self._writing() as file:
            last = next(
                (made for made in reversed(self._lines.made.values()) if made.by == by), None
            )
            if last is None:
                raise DecisionsError(f"'{by}' has decided nothing that could be taken back")
            self._write(file, Undo(now_utc(), by, last.id))
            return last, self._decisions()

    def _decisions(self) -> Decisions:
        standing = {decision.pair: decision for decision in self._lines.made.values()}
        return Decisions(self.path, standing, len(self._lines.torn))

    def _forget(self, identity: tuple[int, int] | None) -> None:
        """Begin at the start of the file."""
        self._identity = identity
        self._lines = Lines(self.path)

    @contextmanager
    def _opened(self, flags: int, lock: int) -> Iterator[int]:
        file = os.open(self.path, flags | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, lock)  # ends with the file, however the process does
            yield file
        finally:
            os.close(file)

    @contextmanager
    def _writing(self) -> Iterator[int]:
        try:
            with self._opened(os.O_RDWR | os.O_APPEND | os.O_CREAT, fcntl.LOCK_EX) as file:
                self._catch_up(file)
                yield file
        except OSError as error:
            raise OutputError(
                f"can't write {self.path}: {error.strerror}: decisions lie beside the store, or "
                f"where --decisions says: see that this file can be written"
            ) from error

    def _write(self, file: int, record: Record) -> None:
        size = os.fstat(file).st_size
        data = to_line(record)
        if self._lines.torn:
            data = to_line(Repair(now_utc(), len(self._lines.torn))) + data
        if size and os.pread(file, 1, size - 1) != b"\n":
            data = b"\n" + data
        try:
            if os.write(file, data) < len(data):
                raise OSError(0, "there is no room left")
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)  # nobody was told that it is kept
            raise
        if size == 0:
            flush_to_disk(self.path.parent)
        self._catch_up(file)

    def _catch_up(self, file: int) -> None:
        """Read what was appended since the last time."""
        status = os.fstat(file)
        identity = status.st_dev, status.st_ino
        if identity != self._identity or status.st_size < self._lines.offset:
            self._forget(identity)
        data = os.pread(file, status.st_size - self._lines.offset, self._lines.offset)
        try:
            self._lines.take(data)
        except DecisionsError:
            self._forget(None)
            raise
