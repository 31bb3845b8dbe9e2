"""Requests that arrive together are worked on together."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Generic, TypeVar

from embed.errors import BusyError

MOST_TOGETHER = 32
MOST_WAITING = 64
"""Well below the threads that requests have: see `server`."""

Input = TypeVar("Input")
Output = TypeVar("Output")


class Batcher(Generic[Input, Output]):
    """One thread that takes whatever has queued up while it was busy, and works on all of it.

    So an input that comes alone waits for nothing, and the more come the larger the batches. What
    goes wrong with a batch goes wrong for each input of it. The thread begins with `prepare`.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[list[Input]], Sequence[Output]],
        most_waiting: int = MOST_WAITING,
        most_together: int = MOST_TOGETHER,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._prepare = prepare
        self.num_batches = self.num_inputs = 0
        self._work, self._most_waiting, self._most_together = work, most_waiting, most_together
        self._waiting: deque[tuple[Input, Future[Output]]] = deque()
        self._changed = Condition()
        self._is_closed = False
        self._thread = Thread(target=self._run, name=f"batches of {name}", daemon=True)
        self._thread.start()

    def __call__(self, given: Input) -> Output:
        """What the work makes of an input.

        Raises:
            BusyError: more are waiting already than ever should.
            Whatever the work raises.
        """
        promise: Future[Output] = Future()
        with self._changed:
            if self._is_closed or len(self._waiting) >= self._most_waiting:
                raise BusyError(
                    f"{len(self._waiting)} queries are waiting already: try again in a second"
                )
            self._waiting.append((given, promise))
            self._changed.notify()
        return promise.result()

    def close(self) -> None:
        """End the thread once what is waiting is done."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _run(self) -> None:
        self._prepare()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                together = min(len(self._waiting), self._most_together)
                taken = [self._waiting.popleft() for _ in range(together)]
            self._serve(taken)

    def _serve(self, taken: list[tuple[Input, "Future[Output]"]]) -> None:
        self.num_batches += 1
        self.num_inputs += len(taken)
        try:
            made = self._work([given for given, _ in taken])
            served = list(zip(taken, made, strict=True))
        # Whatever it is, as of libraries: whoever waits is told, or would wait for ever.
        except BaseException as error:  # noqa: BLE001
            for _, promise in taken:
                promise.set_exception(error)
            return
        for (_, promise), output in served:
            promise.set_result(output)
