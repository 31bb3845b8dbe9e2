"""How a folder of files is written: beside its place, then renamed, so none is ever half there."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embed.errors import OutputError
from embed.files import flush_to_disk, make_folder


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`; it takes that place when the block ends.

    All that is in it is flushed to disk before the rename. Where the block raises, `folder` is
    untouched. A folder that was there is first moved aside, to be deleted last: a crash between the
    two renames leaves it whole beside its place, under a name that begins with a dot.

    Raises:
        OutputError: nothing can be written there.
    """
    folder = folder.resolve()
    mark = f".{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary, aside = folder.with_name(f"{mark}.tmp"), folder.with_name(f"{mark}.old")
    make_folder(folder.parent)
    try:
        _create(temporary, folder)
        yield temporary
        for path in (*temporary.rglob("*"), temporary):
            flush_to_disk(path)
        if folder.exists():
            folder.rename(aside)
        temporary.rename(folder)
        flush_to_disk(folder.parent)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _create(temporary: Path, folder: Path) -> None:
    try:
        temporary.mkdir()
    except OSError as error:
        raise OutputError(f"can't write {folder}: {error.strerror}") from error
