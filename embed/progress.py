"""Progress on standard error: a bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 5.0

Advance = Callable[[int], None]


@contextmanager
def show_progress(
    label: str,
    total: int,
    *,
    quiet: bool = False,
    patience_seconds: float = 0.0,
    line_seconds: float = SECONDS_BETWEEN_LINES,
) -> Iterator[Advance]:
    """Show how many of `total` items are done: the block calls what it gets with each number.

    A bar waits `patience_seconds` before it shows; lines are `line_seconds` apart or more.
    """
    if quiet:
        yield lambda count: None
    elif sys.stderr.isatty():
        with _bar(label, total, patience_seconds) as advance:
            yield advance
    else:
        yield _PlainLines(label, total, line_seconds)


@contextmanager
def _bar(label: str, total: int, patience_seconds: float) -> Iterator[Advance]:
    from rich import progress
    from rich.console import Console

    class RateColumn(progress.ProgressColumn):
        def render(self, task: progress.Task) -> str:
            return f"{task.finished_speed or task.speed or 0:,.0f} items/s"

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        RateColumn(),
        progress.TimeRemainingColumn(),
    )
    bars = progress.Progress(*columns, console=Console(stderr=True))
    task = bars.add_task(label, total=total)
    started = time.monotonic()

    def advance(count: int) -> None:
        if not bars.live.is_started and time.monotonic() - started >= patience_seconds:
            bars.start()
        bars.advance(task, count)

    advance(0)
    try:
        yield advance
    finally:
        if bars.live.is_started:
            bars.stop()


class _PlainLines:
    """A line now and then, for logs."""

    def __init__(self, label: str, total: int, line_seconds: float) -> None:
        self._label, self._total, self._done = label, total, 0
        self._line_seconds = line_seconds
        self._started = self._last = time.monotonic()

    def __call__(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._last < self._line_seconds:
            return
        self._last = now
        rate = self._done / (now - self._started)
        print(
            f"{self._label}: {self._done:,} of {self._total:,} items "
            f"({self._done / self._total:.0%}), {rate:,.0f} items/s, "
            f"{(self._total - self._done) / max(rate, 1e-9):,.0f} s left",
            file=sys.stderr,
        )
