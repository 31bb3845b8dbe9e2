"""How every file is written: beside its place, then renamed over, so none is ever half there."""

import glob
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embed.errors import OutputError, OutputExistsError


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise OutputExistsError where `path` exists and `force` was not given."""
    if path.exists() and not force:
        raise OutputExistsError(
            f"{path} exists already: give another name, or --force to replace it"
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new path beside `path`; what is written there replaces `path` when the block ends.

    The file is flushed to disk before the rename and the folder after it, so that a crash at any
    instant leaves either the old file or the new one. Where the block raises, `path` is untouched.

    Raises:
        OutputError: nothing can be written there.
    """
    # The suffix stays last: some writers choose their format by it.
    name = f".{path.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp{path.suffix}"
    temporary = path.with_name(name)
    make_folder(path.parent)
    try:
        _create(temporary, path)
        yield temporary
        flush_to_disk(temporary)
        temporary.replace(path)
        flush_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        OutputError: it can't be made; the message says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"can't make the folder {folder}: {error.strerror}") from error


def _create(temporary: Path, path: Path) -> None:
    try:
        temporary.touch()
    except OSError as error:
        raise OutputError(f"can't write {path}: {error.strerror}") from error


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
