"""Which reader a source goes to."""

import glob
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from embed.errors import OutputError, SourceError
from embed.files import make_folder
from embed.sources.addresses import file_name, is_address, is_fetched, parent, refusal
from embed.sources.catalogue import Catalogue
from embed.sources.folder import holds_images, read_folder
from embed.sources.manifests import manifest_suffix, read_manifest
from embed.sources.patterns import is_pattern, matching_files
from embed.sources.remote import RemoteFiles
from embed.sources.settings import SourceSettings
from embed.sources.shards import read_shards
from embed.sources.spool import write_spool
from embed.sources.table import Table

RETRIES = 3
STALL_SECONDS = 60.0
SOURCES = "a folder of images, a manifest file, or tar shards"


def read_source(source: str | Path, settings: SourceSettings, spool: Path) -> Catalogue:
    """Read a folder, a manifest or tar shards to the end, check it, and write it to `spool`.

    A spool that stands there is replaced. What is needed meanwhile lies in a folder beside it.

    Raises:
        SourceError: there is nothing there, no row or no image in it, a column is missing, or an id
            is empty or repeated; the message names it.
        OutputError: the spool can't be written.
    """
    with _scratch(spool) as scratch:
        try:
            write_spool(_read(str(source), settings, scratch), spool, scratch)
        except OSError as error:  # readers tell theirs as a SourceError
            raise OutputError(f"can't write {spool}: {error.strerror or error}") from error
    return Catalogue.open(spool)


@contextmanager
def _scratch(spool: Path) -> Iterator[Path]:
    """A new folder beside the spool; one of a run that was killed is removed first."""
    folder = spool.with_name(f".{spool.name}.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(source: str, settings: SourceSettings, scratch: Path) -> Table:
    if is_address(source):
        return _read_remote(source, settings, scratch)
    if is_pattern(source):
        return _read_files(matching_files(source), source, settings, scratch)
    path = Path(source)
    if not path.exists():
        raise SourceError(f"no source at {source}: give {SOURCES}")
    if path.is_dir():
        if any(path.glob("*.parquet")) and not holds_images(path):
            return _read(f"{glob.escape(source)}/*.parquet", settings, scratch)
        return read_folder(path, scratch)
    return _read_files([path], source, settings, scratch)


def _read_files(
    paths: Sequence[Path], source: str, settings: SourceSettings, scratch: Path
) -> Table:
    """One file, or several that are tar shards or Parquet files."""
    suffix = _common_suffix(paths, source)
    if suffix == ".tar":
        return read_shards(paths, source, settings, scratch)
    root = _root(str(paths[0].absolute().parent), settings)
    if suffix != ".parquet" and len(paths) > 1:
        raise SourceError(f"{source}: several files are tar shards or Parquet, found {suffix}")
    return read_manifest(paths, source, root, settings, scratch)


def _read_remote(source: str, settings: SourceSettings, scratch: Path) -> Table:
    """A manifest on a network, copied to this machine first."""
    if not is_fetched(source):
        raise SourceError(refusal(source))
    path = scratch / f"manifest{manifest_suffix(file_name(source))}"
    try:
        RemoteFiles(RETRIES, STALL_SECONDS).download(source, path)
    except OSError as error:
        raise SourceError(f"{source} can't be read: {error}") from error
    return read_manifest([path], source, _root(parent(source), settings), settings, scratch)


def _common_suffix(paths: Sequence[Path], source: str) -> str:
    suffixes = sorted({path.suffix.lower() for path in paths})
    if len(suffixes) > 1:
        raise SourceError(f"{source}: files of one kind were expected, found {suffixes}")
    return suffixes[0]


def _root(own: str, settings: SourceSettings) -> str:
    """What image paths start from; `own` is the manifest's folder."""
    root = settings.image_root
    if root is None:
        return own
    if is_address(root):
        if not is_fetched(root):
            raise SourceError(f"--image-root {refusal(root)}")
        return root
    if not Path(root).is_dir():
        raise SourceError(f"--image-root {root} is no folder: give the one that paths start from")
    return str(Path(root).absolute())
