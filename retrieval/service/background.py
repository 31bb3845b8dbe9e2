"""Work that takes long: each computed once, in a thread of its own, and told how far it is."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

POLL_SECONDS = 0.05
"""How often who waits for other work tells how far that is."""

MOST_KEPT = 16
"""Results of one kind that are kept, such as maps; the one that was asked for longest ago goes."""


class Cancelled(Exception):  # noqa: N818 - an end, no error
    """The result is not wanted any more: the store was closed or replaced."""


Report = Callable[[float], None]
"""Says which share of the work is done, 0 to 1. Raises Cancelled where nobody wants it any more."""


class Background(Generic[Result]):
    """Some work that began in a thread of its own, and its result once it is there.

    The thread does not keep the process from ending.
    """

    def __init__(self, work: Callable[[Report], Result], name: str) -> None:
        self._work = work
        self._future: Future[Result] = Future()
        self._done = 0.0
        self._is_cancelled = False
        Thread(target=self._run, name=name, daemon=True).start()

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

    def followed(self, report: Report, share: float) -> Result:
        """Wait for the result as a part of other work, which is done to a share when this is.

        Raises:
            What `result` raises, and Cancelled where the other work is not wanted any more.
        """
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

    def _run(self) -> None:
        with _Settled(self._future):
            self._future.set_result(self._work(self._report))

    def _report(self, share: float) -> None:
        if self._is_cancelled:
            raise Cancelled
        self._done = share


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


class Works:
    """What was begun for one snapshot of a store, by name: each once, until all is cancelled."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._works: OrderedDict[tuple[str, ...], Background[Any]] = OrderedDict()
        self._is_closed = False

    def once(self, name: tuple[str, ...], work: Callable[[Report], Result]) -> Background[Result]:
        """The work of this name, which begins where nobody has asked for it before.

        Those whose names begin alike are of one kind; of each kind `MOST_KEPT` are kept.

        Raises:
            Cancelled: all was cancelled.
        """
        with self._lock:
            if self._is_closed:
                raise Cancelled
            if name not in self._works:
                self._drop_oldest(name[0])
                self._works[name] = Background(work, "-".join(name))
            self._works.move_to_end(name)
            return self._works[name]

    def close(self) -> None:
        """Give up all of it, and begin no more."""
        with self._lock:
            self._is_closed = True
            for work in self._works.values():
                work.cancel()
            self._works.clear()

    def _drop_oldest(self, kind: str) -> None:
        of_kind = [name for name in self._works if name[0] == kind]
        for name in of_kind[: max(0, len(of_kind) + 1 - MOST_KEPT)]:
            self._works.pop(name).cancel()
