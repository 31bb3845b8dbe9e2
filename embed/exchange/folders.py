"""How a folder of files is written: beside its place, then renamed, so none is ever half there."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embed.errors import OutputError, OutputExistsError, SourceError, StoreError
from embed.exchange.record import FAILURES, ITEMS, RECORD, read_record
from embed.files import flush_to_disk, make_folder

CLIP_METADATA = "metadata/metadata_0.parquet"
CLIP_VECTORS = ("img_emb/img_emb_0.npy", "text_emb/text_emb_0.npy")


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


def require_export(folder: Path) -> None:
    """Raise OutputExistsError where a folder is no export, or holds anything besides one.

    It may be deleted then, since all that is lost can be exported again.
    """
    files = _exported_files(folder)
    if not files:
        raise OutputExistsError(
            f"{folder} holds no export that this program knows, so --force does not replace it: "
            f"give another name"
        )
    folders = {parent for file in files for parent in file.parents}
    for path in sorted(folder.rglob("*")):
        name, is_folder = path.relative_to(folder), path.is_dir() and not path.is_symlink()
        if name not in (folders if is_folder else files):
            raise OutputExistsError(
                f"{folder} holds '{name}', which is no part of the export in it, so --force does "
                f"not replace it: move that away, or give another name"
            )


def _exported_files(folder: Path) -> set[Path]:
    """The files that the export in a folder consists of; none where there is no export."""
    if (folder / RECORD).is_file():
        try:
            record = read_record(folder)
        except (SourceError, StoreError):
            return set()
        names = [RECORD, ITEMS, FAILURES, *(f"hashes/{name}.npy" for name in record.modalities)]
        for name, space in record.spaces.items():
            names += [space.file_name(name), f"seen/{name}.npy"]
            names += [f"{name}.{key}.parquet" for key in space.fitted]
        return {Path(name) for name in names}
    if (folder / CLIP_METADATA).is_file():
        return {Path(name) for name in (CLIP_METADATA, *CLIP_VECTORS)}
    return set()


def _create(temporary: Path, folder: Path) -> None:
    try:
        temporary.mkdir()
    except OSError as error:
        raise OutputError(f"can't write {folder}: {error.strerror}") from error
