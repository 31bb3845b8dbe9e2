"""Work that takes long: each computed once, by few threads, and told how far it is."""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Generic, TypeVar

from embed.errors import BusyError

Result = TypeVar("Result")

POLL_SECONDS = 0.05
"""How often who waits for other work tells how far that is."""

NUM_THREADS = 2
"""Works of one snapshot that are done at once."""

MOST_KEPT = 4
"""Works of one kind that wait, are done or are kept, such as maps; of those that are done the one
that was asked for longest ago makes room."""


class Cancelled(BusyError):  # noqa: N818 - an end, no error
    """The result is not wanted any more: the store was closed or replaced."""

    def __init__(self) -> None:
        super().__init__("the store was replaced or closed meanwhile: ask again in a second")


Report = Callable[[float], None]
"""Says which share of the work is done, 0 to 1. Raises Cancelled where nobody wants it any more."""


class Background(Generic[Result]):
    """Some work that is done in a thread of `Works`, and its result once it is there."""

    def __init__(self, work: Callable[[Report], Result]) -> None:
        self._work: Callable[[Report], Result] | None = work
        self._future: Future[Result] = Future()
        self._begun = Lock()
        self._done = 0.0
        self._is_cancelled = False

    @property
    def is_ready(self) -> bool:
        """True where there is a result, or the error that came in its place."""
        return self._future.done()

    @property
    def progress(self) -> float:
        """Which share of the work is done: below 1 until it is ready."""
        return 1.0 if self.is_ready else min(self._done, 0.99)

    def result(self, timeout_seconds: float | None = None) -> Result:
        """Wait for the result.

        Raises:
            TimeoutError: it is not there in time.
            Cancelled: the work was given up.
            Whatever the work has raised.
        """
        return self._future.result(timeout_seconds)

    def is_ready_within(self, seconds: float) -> bool:
        """Whether it is ready, now or after a moment."""
        return bool(wait([self._future], seconds).done)

    def run(self) -> None:
        """Do the work here, unless it has begun already."""
        self._run(lambda done: None)

    def followed(self, report: Report, share: float) -> Result:
        """Wait for the result as a part of other work, which is done to a share when this is.

        What still waits for a thread is done in this one, so that no thread waits for another.

        Raises:
            What `result` raises, and Cancelled where the other work is not wanted any more.
        """
        self._run(lambda done: report(share * done))
        while not self.is_ready:
            report(share * self.progress)
            try:
                return self.result(POLL_SECONDS)
            except TimeoutError:
                if self.is_ready:  # the work's own
                    raise
        return self.result()

    def cancel(self) -> None:
        """Give the work up, at the next share that it reports."""
        self._is_cancelled = True

    def _run(self, tell: Report) -> None:
        if not self._begun.acquire(blocking=False):
            return

        def report(share: float) -> None:
            if self._is_cancelled:
                raise Cancelled
            self._done = share
            tell(share)

        work, self._work = self._work, None  # which may hold a whole snapshot
        assert work is not None
        with _Settled(self._future):
            report(0.0)
            self._future.set_result(work(report))


class _Settled:
    """Hands what is raised within to those who wait for a result."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is not None:
            self._future.set_exception(error)
        return True


NOTHING: Mapping[tuple[str, ...], Background[Any]] = {}


class Works:
    """What was begun for one snapshot of a store, by name: each once, until all is cancelled.

    `NUM_THREADS` threads do it, in the order in which it was asked for. They do not keep the
    process from ending, and end themselves when nothing waits. `known` has been done before.
    """

    def __init__(self, known: Mapping[tuple[str, ...], Background[Any]] = NOTHING) -> None:
        self._lock = Lock()
        self._works: OrderedDict[tuple[str, ...], Background[Any]] = OrderedDict(known)
        self._waiting: deque[Background[Any]] = deque()
        self._num_threads = 0
        self._is_closed = False

    def once(self, name: tuple[str, ...], work: Callable[[Report], Result]) -> Background[Result]:
        """The work of this name, which is queued where nobody has asked for it before.

        Those whose names begin alike are of one kind; of each kind `MOST_KEPT` are kept.

        Raises:
            BusyError: as many of this kind are waiting or being done.
            Cancelled: all was cancelled.
        """
        with self._lock:
            if self._is_closed:
                raise Cancelled
            if name not in self._works:
                self._make_room(name[0])
                self._works[name] = Background(work)
                self._queue(self._works[name])
            self._works.move_to_end(name)
            return self._works[name]

    def known(self, name: tuple[str, ...]) -> Background[Any] | None:
        """The work of this name; None where nobody has asked for it, or it had to make room."""
        with self._lock:
            return self._works.get(name)

    def close(self) -> None:
        """Give up all of it, and begin no more."""
        with self._lock:
            self._is_closed = True
            for work in self._works.values():
                work.cancel()
            self._works.clear()

    def _make_room(self, kind: str) -> None:
        of_kind = [name for name in self._works if name[0] == kind]
        if len(of_kind) < MOST_KEPT:
            return
        # What somebody still waits for is never given up.
        oldest = next((name for name in of_kind if self._works[name].is_ready), None)
        if oldest is None:
            raise BusyError(
                f"{len(of_kind)} different {kind} are being computed: try again in some seconds"
            )
        del self._works[oldest]

    def _queue(self, work: Background[Any]) -> None:
        self._waiting.append(work)
        if self._num_threads < NUM_THREADS:
            self._num_threads += 1
            Thread(target=self._run, name="works", daemon=True).start()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work.run()

    def _next(self) -> Background[Any] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._num_threads -= 1
            return None
