"""What is made ready before it is asked for, so that the first query is as quick as the next."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from threading import Event, Thread

from embed.errors import WorkbenchError
from retrieval.service.service import Service, Snapshot


class WarmUp:
    """A thread that warms the snapshot of a service, while requests are answered already."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._is_over = Event()
        self._thread = Thread(target=self._run, name="warm up")
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and wait for what has begun."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        with self._service.held() as snapshot:  # what goes wrong ends this thread alone
            warm(snapshot, self._is_over.is_set)


def warm(snapshot: Snapshot, is_over: Callable[[], bool] = lambda: False) -> None:
    """Import what searches need, open the spaces and columns, and begin to load the encoders.

    What goes wrong is told to whoever asks for it.
    """
    for step in _steps(snapshot):
        if is_over():
            return
        with suppress(WorkbenchError):
            step()


def _steps(snapshot: Snapshot) -> Iterator[Callable[[], object]]:
    catalogue = snapshot.catalogue
    yield catalogue.know_ids
    for space in snapshot.spaces:
        yield partial(snapshot.searcher.vectors, space)
    for column in snapshot.store.columns:
        yield partial(catalogue.texts, column)
    yield snapshot.encoders.begin
