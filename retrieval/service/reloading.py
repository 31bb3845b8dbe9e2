"""A store that is replaced on disk is served anew, without a restart.

A file that is renamed over the store leaves the one before whole until its last answer is sent. One
that is written in place can't: it is taken up once nobody writes to it any more.
"""

import sys
from pathlib import Path
from threading import Event, Thread

from embed.errors import WorkbenchError
from retrieval.service.service import Service, Snapshot
from retrieval.service.warming import warm

SECONDS_BETWEEN = 1.0

Mark = tuple[int, int, int] | None


class Watch:
    """Looks once a second whether a file of the service is another one, and opens it then.

    A file's number, size and time of change tell it, and it is opened when two looks see the same.
    What can't be opened leaves all as it is, and is told on standard error and by `/store`.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._marks = self._now()
        self._is_over = Event()
        self._thread = Thread(target=self._run, name="reload", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        before = self._marks
        while not self._is_over.wait(SECONDS_BETWEEN):
            found = self._now()
            if found == before and found != self._marks:
                self._marks = found
                self._reload()
            before = found

    def _reload(self) -> None:
        service = self._service
        try:
            snapshot = Snapshot(service.settings, service.encoders)
        except (WorkbenchError, OSError) as error:
            told = str(error).replace(str(service.settings.store), service.settings.store.name)
            service.warnings = (f"the store was replaced by one that can't be served: {told}",)
            print(f"warning: {service.warnings[0]}", file=sys.stderr, flush=True)
            return
        warm(snapshot, self._is_over.is_set)
        service.warnings = ()
        service.replace(snapshot)

    def _now(self) -> tuple[Mark, ...]:
        settings = self._service.settings
        is_file = self._service.snapshot.threshold is not None
        files = [settings.store, *([Path(settings.threshold or "")] if is_file else [])]
        return tuple(_mark(path) for path in files)


def _mark(path: Path) -> Mark:
    """What changes when a file is replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
