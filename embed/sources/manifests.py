"""Manifests: CSV and TSV, also compressed by gzip, and Parquet."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from embed.errors import SourceError
from embed.sources.settings import SourceSettings
from embed.sources.spool import unreadable
from embed.sources.table import ID, Table

SEPARATORS = {".csv": ",", ".tsv": "\t"}
RESERVED = frozenset(("id", "content_hash"))


def scan_text(path: Path, suffix: str) -> pl.LazyFrame:
    """A CSV or TSV file, every cell as text, so that no id or label is altered."""
    return pl.scan_csv(path, separator=SEPARATORS[suffix], infer_schema=False, glob=False)


def as_table(frame: pl.LazyFrame, name: str, root: str, settings: SourceSettings) -> Table:
    """The table of a manifest's rows, whose image paths start from `root`.

    Raises:
        SourceError: it can't be read, has no ids, or a column whose name a store can't have.
    """
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
        f"{source} has no column '{wanted}': its columns are {', '.join(names)}; "
        f"name the right one with --id-column"
    )
