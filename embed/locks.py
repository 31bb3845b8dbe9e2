"""One writer at a time: the lock of a store, which lies in the folder of its parts."""

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from embed.errors import StoreError
from embed.files import make_folder

LOCK = "lock"


def parts_path(store_path: Path) -> Path:
    """The folder of a store's parts, beside it: `STORE.parts/`."""
    return store_path.with_name(f"{store_path.name}.parts")


@contextmanager
def locked(store_path: Path, leftovers: Collection[str] = ()) -> Iterator[None]:
    """Keep other writers off this store; the lock ends with the process, however it ends.

    The folder is removed at the end where nothing is left in it but the lock and `leftovers`.

    Raises:
        StoreError: another process holds it.
    """
    folder = parts_path(store_path)
    with _lock_file(folder, store_path):
        try:
            yield
        finally:
            names = {path.name for path in folder.iterdir()}
            if names <= {LOCK, *leftovers}:
                for name in names:
                    (folder / name).unlink()
                with suppress(OSError):  # who waited for it has made a lock of its own
                    folder.rmdir()


def _lock_file(folder: Path, store_path: Path) -> IO[str]:
    """The lock's file, opened and locked."""
    while True:
        make_folder(folder)
        try:
            file = (folder / LOCK).open("w")
        except FileNotFoundError:  # whoever ended just now has removed the folder
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise StoreError(
                f"another run is writing {store_path}: wait until it has ended"
            ) from error
        if _is_still(folder / LOCK, file):
            return file
        file.close()


def _is_still(path: Path, file: IO[str]) -> bool:
    """Whether the file that was opened still has its name: it may have been removed meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
