"""Which reader a source goes to."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from embed.errors import SourceError
from embed.files import make_folder
from embed.sources.addresses import is_address, is_fetched, refusal
from embed.sources.catalogue import Catalogue
from embed.sources.folder import read_folder
from embed.sources.manifests import SEPARATORS, as_table, scan_text
from embed.sources.settings import SourceSettings
from embed.sources.spool import write_spool
from embed.sources.table import Table

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")


def read_source(source: str | Path, settings: SourceSettings, spool: Path) -> Catalogue:
    """Read a folder or a manifest to its end, check it, and write its rows to `spool`.

    A spool that stands there is replaced. What is needed meanwhile lies in a folder beside it.

    Raises:
        SourceError: there is nothing there, no row or no image in it, a column is missing, or an id
            is empty or repeated; the message names it.
    """
    with _scratch(spool) as scratch:
        write_spool(_read(str(source), settings, scratch), spool, scratch)
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
    path = Path(source)
    if not path.exists():
        raise SourceError(f"no source at {source}: give a folder of images or a manifest file")
    if path.is_dir():
        return read_folder(path, scratch)
    return as_table(_scan(path), source, _root(path.absolute().parent, settings), settings)


def _scan(path: Path) -> pl.LazyFrame:
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if path.suffix.lower() == ".parquet":
        return pl.scan_parquet(path, glob=False, hive_partitioning=False)
    if suffix in SEPARATORS:
        return scan_text(path, suffix)
    raise SourceError(f"{path}: a manifest ends in {', '.join(SUFFIXES)}")


def _root(own: Path, settings: SourceSettings) -> str:
    """What image paths start from; `own` is the manifest's folder."""
    root = settings.image_root
    if root is None:
        return str(own)
    if is_address(root):
        if not is_fetched(root):
            raise SourceError(f"--image-root {refusal(root)}")
        return root
    if not Path(root).is_dir():
        raise SourceError(f"--image-root {root} is no folder: give the one that paths start from")
    return str(Path(root).absolute())
