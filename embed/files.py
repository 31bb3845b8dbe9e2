"""How every file is written: beside its place, then renamed over, so none is ever half there."""

import errno
import glob
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embed.errors import OutputError, OutputExistsError

HDF5_MARK = b"\x89HDF\r\n\x1a\n"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def refuse_existing(path: Path, *, force: bool, is_store: bool = False) -> None:
    """Refuse what must not be replaced by the output `path`.

    Raises:
        OutputExistsError: it exists and `force` was not given, or it is an HDF5 file such as a
            store, and what is to be written is no store.
        OutputError: it exists and is no plain file, but a folder or a device.
    """
    if not path.exists():
        return
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no plain file"
        raise OutputError(f"{path} is {kind} and can't be replaced: give another name")
    if not force:
        raise OutputExistsError(
            f"{path} exists already: give another name, or --force to replace it"
        )
    if not is_store and _is_hdf5(path):
        raise OutputExistsError(
            f"{path} is an HDF5 file such as a store, and what is to be written is none: give "
            f"another name, or delete it first"
        )


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(HDF5_MARK)) == HDF5_MARK


@contextmanager
def replacing(path: Path, *errors: type[Exception]) -> Iterator[Path]:
    """Yield a new path beside `path`; what is written there replaces `path` when the block ends.

    The file is flushed to disk before the rename and the folder after it, so that a crash at any
    instant leaves either the old file or the new one. Where the block raises, `path` is untouched.

    Raises:
        OutputError: nothing can be written there, or no more; `errors` are those in which a library
            wraps what the system says of that, beside OSError and RuntimeError (HDF5, FAISS).
    """
    # The suffix stays last: some writers choose their format by it.
    name = f".{path.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp{path.suffix}"
    temporary = path.with_name(name)
    make_folder(path.parent)
    of_writing: tuple[type[Exception], ...] = (OSError, RuntimeError, *errors)
    try:
        temporary.touch()
        yield temporary
        flush_to_disk(temporary)
        temporary.replace(path)
        flush_to_disk(path.parent)
    except of_writing as error:
        failed = _failed_write(error, temporary, path)
        if failed is None:
            raise
        raise failed from error
    finally:
        temporary.unlink(missing_ok=True)


def _failed_write(error: Exception, temporary: Path, path: Path) -> OutputError | None:
    """What to raise where `path` can't be written; None where `error` is about something else."""
    number = _number_of(error)
    filename = getattr(error, "filename", None)
    if number is None or (filename is not None and Path(os.fsdecode(filename)) != temporary):
        return None
    what = "make room there" if number in FULL else "look after that disk or folder"
    return OutputError(
        f"can't write {path}: {os.strerror(number)}: {what}, or write it to another place"
    )


def _number_of(error: Exception) -> int | None:
    """The system's number of an error in writing, which libraries have in their messages alone."""
    numbers = (*FULL, *REFUSED)
    if isinstance(error, OSError) and (error.errno in numbers or error.filename is not None):
        return error.errno
    return next((number for number in numbers if os.strerror(number) in str(error)), None)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        OutputError: it can't be made; the message says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"can't make the folder {folder}: {error.strerror}") from error


def remove_leftovers(path: Path) -> None:
    """Delete what processes that were killed while they replaced `path` have left beside it."""
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.*.tmp{path.suffix}"):
        process = leftover.name.removeprefix(f".{path.stem}.").partition("-")[0]
        if process.isdigit() and not _is_running(int(process)):
            leftover.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as somebody else
        return True
    return True


def flush_to_disk(path: Path) -> None:
    """Wait until the file or folder at `path` is on the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
