"""A store that is replaced on disk is served anew, without a restart.

A file that is renamed over the store leaves the one before whole until its last answer is sent. One
that is written in place can't be served at all: what is mapped changes under the answers.
"""

import sys
from threading import Event, Thread

from retrieval.service.marks import Marks, marks_of
from retrieval.service.service import Service
from retrieval.service.warming import warm

SECONDS_BETWEEN = 1.0

IN_PLACE = "the store was written in place, so that what is served may be wrong: replace it by \
another file of the same name (`mv`), and start the service again if it fails"


class Watch:
    """Looks once a second whether a file of the service is another one, and opens it then.

    A file's number, size and time of change tell it, and it is opened when two looks see the same.
    What can't be opened leaves all as it is, and is told on standard error and by `/store`.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._refused: Marks | None = None
        self._is_over = Event()
        self._thread = Thread(target=self._run, name="reload", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        before: Marks | None = None
        while not self._is_over.wait(SECONDS_BETWEEN):
            served = self._service.snapshot
            found = marks_of(served.settings)
            if found == before and found != self._refused:
                self._follow(found, served.marks)
            before = found

    def _follow(self, found: Marks, served: Marks) -> None:
        if found != served:
            self._take_up(found)
        elif self._refused is not None:  # all is as it was
            self._refused, self._service.warnings = None, ()

    def _take_up(self, found: Marks) -> None:
        """Serve the files as they are now, or say why not."""
        try:
            if self._is_in_place(found):
                self._refuse(found, IN_PLACE)
                return
            self._service.reload(lambda snapshot: warm(snapshot, self._is_over.is_set))
        # Of what is wrong with a file, h5py, numpy and json each raise what they like; the watch
        # has to outlive it, as the next file may do.
        except Exception as error:  # noqa: BLE001
            store = self._service.settings.store
            told = str(error).replace(str(store), store.name) or type(error).__name__
            self._refuse(found, f"a file was replaced or removed, and can't be served: {told}")
            return
        self._refused, self._service.warnings = None, ()

    def _is_in_place(self, found: Marks) -> bool:
        """Whether the store that is open has been written to.

        HDF5 has one view of a file, however often it is opened: what was read before and what is
        read now would not be of one store.
        """
        store = self._service.settings.store
        served, now = self._service.snapshot.marks.get(store), found[store]
        return served != now and served is not None and now is not None and served.is_same_file(now)

    def _refuse(self, found: Marks, warning: str) -> None:
        print(f"warning: {warning}", file=sys.stderr, flush=True)
        self._refused, self._service.warnings = found, (warning,)
