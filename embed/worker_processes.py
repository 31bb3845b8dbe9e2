"""A process for each device, and the talk between them and their parent.

A worker asks for its next unit when it has room for it, writes its own parts, and reports each unit
whose vectors are safe. One that dies is started once more, and what it had not reported is handed
out again.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from embed.devices import num_cores
from embed.errors import SettingsError, WorkbenchError, WorkerError
from embed.pipeline import Report
from embed.progress import Advance
from embed.store import SpaceInfo
from embed.units import UnitResult
from embed.workers import Order, OwnProcess, Workers

NUM_STARTS = 2
GOES_ON = "finished rows are kept, and the same command goes on from them"
SECONDS_TO_END = 30.0
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


@dataclass(frozen=True)
class _Ready:
    """A worker has loaded its encoders."""

    infos: dict[str, SpaceInfo]
    batch_size: int


@dataclass(frozen=True)
class _Wanted:
    """A worker wants the start of its next unit, or None where there is none."""


@dataclass(frozen=True)
class _Ended:
    """A worker has reported all its units."""


@dataclass
class _Worker:
    """A process as its parent sees it."""

    device: str
    process: BaseProcess
    connection: Connection
    assigned: set[int] = field(default_factory=set)

    def send(self, message: int | None) -> None:
        """Send a batch size or a unit; if it has died, that is seen at the next wait."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)


class WorkerProcesses(Workers):
    """Encodes in one process for each device; units go to whoever asks first."""

    def __init__(self, order: Order, devices: Sequence[str]) -> None:
        self._order, self._devices = order, devices
        self._context = multiprocessing.get_context("spawn")
        self._starts_left = dict.fromkeys(range(len(devices)), NUM_STARTS)
        self._workers: dict[int, _Worker] = {}
        self.warnings = []
        try:
            for number in range(len(devices)):
                self._start(number)
            ready = [self._wait_until_ready(number) for number in range(len(devices))]
            self.infos = ready[0].infos
            self.batch_size = min(message.batch_size for message in ready)
            for number, message in enumerate(ready):
                self._require_equal(number, message.infos)
        except BaseException:
            self._end(0.0)  # none has anything to write yet
            raise

    def encode(
        self, starts: Sequence[int], batch_size: int, report: Report, advance: Advance
    ) -> None:
        """Hand out the units until every one has been reported.

        Raises:
            WorkerError: a worker has died for the second time.
        """
        queue = deque(starts)
        for worker in self._workers.values():
            worker.send(batch_size)
        while self._workers:
            numbers: dict[Any, int] = {w.connection: n for n, w in self._workers.items()}
            for connection in wait(list(numbers)):
                number = numbers[connection]
                try:
                    message = self._workers[number].connection.recv()
                except (EOFError, ConnectionResetError):
                    self._start_again(number, queue)
                    continue
                if isinstance(message, _Ready):  # one that was started again
                    self._require_equal(number, message.infos)
                    self._workers[number].send(batch_size)
                else:
                    self._answer(number, message, queue, report, advance)

    def stop(self) -> None:
        """Let the workers write what they have, and end them."""
        self._end(SECONDS_TO_END)

    def _end(self, seconds: float) -> None:
        for worker in self._workers.values():
            worker.connection.close()
        deadline = time.monotonic() + seconds
        for worker in self._workers.values():
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers = {}

    def _start(self, number: int) -> None:
        self._starts_left[number] -= 1
        connection, theirs = self._context.Pipe()
        device, cores = self._devices[number], max(1, num_cores() // len(self._devices))
        process = self._context.Process(
            target=_work, args=(self._order, device, cores, theirs, os.getpid()), daemon=True
        )
        with _interrupts_held():  # by the worker for good: its parent hears them, and ends it
            process.start()
        theirs.close()  # so that its death is seen as the end of the connection
        self._workers[number] = _Worker(device, process, connection)

    def _wait_until_ready(self, number: int) -> _Ready:
        worker = self._workers[number]
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionResetError) as error:
            message = _death_of(worker, "while it loaded its encoders")
            raise WorkerError(f"{message}; {GOES_ON}") from error
        if isinstance(message, BaseException):
            raise message
        assert isinstance(message, _Ready)
        return message

    def _start_again(self, number: int, queue: deque[int]) -> None:
        worker = self._workers.pop(number)
        worker.process.join()
        queue.extendleft(sorted(worker.assigned, reverse=True))
        if not self._starts_left[number]:
            raise WorkerError(f"{_death_of(worker, 'for the second time')}; {GOES_ON}")
        self.warnings.append(_death_of(worker, "and was started again"))
        self._start(number)

    def _answer(
        self, number: int, message: Any, queue: deque[int], report: Report, advance: Advance
    ) -> None:
        worker = self._workers[number]
        if isinstance(message, _Wanted):
            start = queue.popleft() if queue else None
            if start is not None:
                worker.assigned.add(start)
            with suppress(
                BrokenPipeError, ConnectionResetError
            ):  # its end is seen at the next wait
                worker.connection.send(start)
        elif isinstance(message, UnitResult):
            worker.assigned.remove(message.start)
            report(message)
            advance(message.num_read)
        elif isinstance(message, BaseException):
            raise message
        else:
            assert isinstance(message, _Ended)
            worker.process.join()
            del self._workers[number]

    def _require_equal(self, number: int, infos: dict[str, SpaceInfo]) -> None:
        """Vectors of one space must not depend on which worker made them."""
        if infos != self.infos:
            raise SettingsError(
                f"--device: {self._devices[number]} would make other vectors than "
                f"{self._devices[0]}: name devices of one kind, or the same --precision for all"
            )


def _death_of(worker: _Worker, when: str) -> str:
    worker.process.join()
    code = worker.process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return f"the worker on {worker.device} died ({how}) {when}"


def _work(order: Order, device: str, cores: int, connection: Connection, parent: int) -> None:
    """The whole life of a worker process."""
    _die_with(parent)
    channel = _Channel(connection)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent wants no more
        try:
            os.environ["OMP_NUM_THREADS"] = str(cores)  # read when torch is imported, from here on
            crew = OwnProcess(order, device, cores)
            channel.send(_Ready(crew.infos, crew.batch_size))
            batch_size = connection.recv()
            crew.encode(channel.starts(), batch_size, channel.send, lambda count: None)
            channel.send(_Ended())
        except (WorkbenchError, OSError) as error:
            if isinstance(error, BrokenPipeError | ConnectionResetError):
                raise
            channel.send(error)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM from this thread, and for good from what it starts."""
    resource_tracker.ensure_running()  # or it would start with the first process, and let it go
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Channel:
    """A worker's line to its parent; several threads may send, one receives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: Any) -> None:
        """Send one message whole."""
        with self._lock:
            self._connection.send(message)

    def starts(self) -> Iterator[int]:
        """The units that the parent hands out, asked for one at a time."""
        while True:
            self.send(_Wanted())
            start = self._connection.recv()
            if start is None:
                return
            yield start


def _die_with(parent: int) -> None:
    """Have Linux kill this process when its parent dies, so that no orphan goes on working."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # it had died before
            os._exit(1)
