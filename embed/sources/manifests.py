"""Manifests: CSV, TSV and JSON lines, also compressed by gzip, and Parquet."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from embed.errors import SourceError
from embed.sources.batches import scan_in_blocks, scan_rows
from embed.sources.json_lines import SUFFIXES as JSON_SUFFIXES
from embed.sources.json_lines import scan_json_lines
from embed.sources.settings import SourceSettings
from embed.sources.spool import unreadable
from embed.sources.table import ID, Table

SEPARATORS = {".csv": ",", ".tsv": "\t"}
RESERVED = frozenset(("id", "content_hash"))


def read_manifest(
    paths: Sequence[Path], source: str, root: str, settings: SourceSettings, scratch: Path
) -> Table:
    """A manifest of any kind; Parquet may be in several files of the same columns.

    Every cell of CSV and TSV is read as text, so that no id or label is altered.

    Raises:
        SourceError: it can't be read, has no ids, or a column whose name a store can't have.
    """
    suffix, numbers = manifest_suffix(paths[0].name).removesuffix(".gz"), frozenset[str]()
    if suffix == ".parquet":
        frame = _scan_parquet(paths, source)
    elif suffix in JSON_SUFFIXES:
        frame, numbers = scan_json_lines(paths[0], source, scratch)
    else:
        separator = SEPARATORS[suffix]
        frame = pl.scan_csv(paths[0], separator=separator, infer_schema=False, glob=False)
    return _as_table(frame, source, root, settings, numbers)


def _scan_parquet(paths: Sequence[Path], source: str) -> pl.LazyFrame:
    try:
        examples = [scan_rows(path).head(0).collect() for path in paths]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(source, error) from error
    for path, example in zip(paths, examples, strict=True):
        if example.schema != examples[0].schema:
            raise SourceError(
                f"{path} has other columns than {paths[0]}: {_shown(example)}, not "
                f"{_shown(examples[0])}; write them alike, or read them apart"
            )
    return scan_in_blocks(paths)


def _shown(example: pl.DataFrame) -> str:
    return ", ".join(f"{series.name} ({series.dtype})" for series in example)


def manifest_suffix(name: str) -> str:
    """The end of a manifest's name that tells its kind, with .gz where it is compressed.

    Raises:
        SourceError: it is none of a manifest.
    """
    for suffix in (*SEPARATORS, *JSON_SUFFIXES, ".parquet"):
        for ending in (suffix, f"{suffix}.gz"):
            if name.lower().endswith(ending) and ending != ".parquet.gz":
                return ending
    raise SourceError(
        f"{name or 'an address without a name'} is no manifest: {_advice(name.lower())}"
    )


def _advice(name: str) -> str:
    if name.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")):
        return "images are read from their places in a shard: unpack it to a plain .tar"
    if name.endswith(".tar"):
        return "shards are read from a disk: copy them to one first"
    suffixes = ", ".join((*SEPARATORS, *JSON_SUFFIXES))
    return f"a manifest ends in {suffixes} (also with .gz) or .parquet, a shard in .tar"


def _as_table(
    frame: pl.LazyFrame, name: str, root: str, settings: SourceSettings, numbers: frozenset[str]
) -> Table:
    try:
        names = frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(name, error) from error
    if settings.id_column not in names:
        raise SourceError(_missing_column(name, names, settings.id_column))
    others = [column for column in names if column != settings.id_column]
    check_names(others, name)
    ids = pl.col(settings.id_column).cast(pl.String).fill_null("").alias(ID)
    places = {settings.id_column: ID} | {other: other for other in others}  # an id may be a path
    return Table(
        name,
        frame.select(ids, *(pl.col(other) for other in others)),
        places.get(settings.image_column),
        places.get(settings.title_column),
        root,
        (root,),
        numbers=numbers,
    )


def check_names(names: Sequence[str], source: str) -> None:
    """Raise SourceError at a column that a store can't have under its name."""
    for name in names:
        if name in RESERVED or "/" in name or "\0" in name or not name.strip(". "):
            raise SourceError(
                f"{source}: a column can't be named '{name}' in a store "
                f"(no '/', not {' or '.join(sorted(RESERVED))}): rename it"
            )


def _missing_column(source: str, names: Sequence[str], wanted: str) -> str:
    if len(names) == 1 and ";" in names[0]:
        return f"{source} seems to be separated by ';': save it with commas, or as .tsv with tabs"
    return (
        f"{source} has no column '{wanted}': its columns are {', '.join(names) or 'none'}; "
        f"name the right one with --id-column"
    )
