"""The spool: the rows of a source in one Parquet file, of which every process reads slices.

A source of any format is read once, through polars' streaming engine; what is held of it in memory
does not grow with its rows, but for some 24 bytes each while ids are compared.
"""

import errno
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from embed.errors import OutputError, SourceError
from embed.files import replacing
from embed.sources.addresses import NETWORK_PROTOCOLS, is_address, protocol_of
from embed.sources.batches import ROWS_PER_BLOCK, scan_in_blocks, scan_rows
from embed.sources.columns import Kind
from embed.sources.remote import open_filesystem
from embed.sources.survey import Survey, survey_rows
from embed.sources.table import Table

FORMAT = "embedding-source"
FORMAT_VERSION = "1"
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Header:
    """What a spool says of its rows; `kinds` are the store's columns in order."""

    num_rows: int
    kinds: dict[str, Kind]
    image_column: str | None
    title_column: str | None
    root: str
    roots: tuple[str, ...]
    is_remote: bool
    num_empty_titles: int
    warnings: tuple[str, ...]


def write_spool(table: Table, spool: Path, scratch: Path) -> None:
    """Read a table to its end, check it and write it to `spool`.

    Raises:
        SourceError: it can't be read, or a store can't hold it.
        OutputError: nothing can be written there.
    """
    rows_path = scratch / "rows.parquet"
    try:
        _sink(table.frame, rows_path, {})
    except (pl.exceptions.PolarsError, OSError) as error:
        if any(f"os error {number}" in str(error) for number in _DISK_IS_FULL):
            raise OutputError(f"can't write {spool}: {_reason(error)}") from error
        raise unreadable(table.name, error) from error
    rows = scan_rows(rows_path)
    header = _header(table, survey_rows(rows, table))
    # What the rows are is known at their end, and a Parquet file says it with its columns.
    with replacing(spool) as temporary:
        metadata = {FORMAT: FORMAT_VERSION, "header": json.dumps(asdict(header))}
        _sink(scan_in_blocks([rows_path]), temporary, metadata)


def _header(table: Table, found: Survey) -> Header:
    protocols = _network_protocols(table, found)
    for protocol in protocols:
        open_filesystem(protocol)  # what is not installed is told now, not once for each image
    return Header(
        found.num_rows,
        found.kinds,
        table.image_column,
        table.title_column,
        table.root,
        table.roots,
        bool(protocols),
        found.num_empty_titles,
        table.warnings,
    )


def _network_protocols(table: Table, found: Survey) -> frozenset[str]:
    """The protocols that images come by, of those that are fetched."""
    if table.image_column is None:
        return frozenset()
    root = {protocol_of(table.root)} if is_address(table.root) else set()
    return NETWORK_PROTOCOLS & (found.protocols | root)


def read_header(spool: Path) -> Header:
    """What a spool says of its rows.

    Raises:
        SourceError: there is none at that path.
    """
    try:
        metadata = pl.read_parquet_metadata(spool)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"{spool} is no spool of a source: {_reason(error)}") from error
    if metadata.get(FORMAT) != FORMAT_VERSION:
        raise SourceError(
            f"{spool} is no spool of a source of version {FORMAT_VERSION}: run the command again"
        )
    fields = json.loads(metadata["header"])
    lists = {name: tuple(fields[name]) for name in ("roots", "warnings")}
    return Header(**(fields | lists))


def unreadable(source: str, error: Exception) -> SourceError:
    """The error for a source that polars or the system can't read, with what to do about it."""
    if isinstance(error, pl.exceptions.NoDataError):
        return SourceError(f"{source} has no rows: it is empty")
    reason = _reason(error)
    return SourceError(f"{source} can't be read: {reason}{_advice(reason)}")


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _advice(reason: str) -> str:
    """What to do about what is usually wrong with a text file."""
    if "utf-8" in reason.lower():
        return ": save it as UTF-8 (`iconv -f cp1252 -t utf-8`, or a spreadsheet's 'CSV UTF-8')"
    if "could not parse" in reason:
        return ": a quote is opened and never closed there, or a line is cut"
    if "fields" in reason:
        return ": some line has more fields than the header; quote values that hold the separator"
    return ""


def _sink(frame: pl.LazyFrame, path: Path, metadata: dict[str, str]) -> None:
    frame.sink_parquet(
        path,
        compression="zstd",
        compression_level=1,
        statistics=False,
        row_group_size=ROWS_PER_BLOCK,
        metadata=metadata,
    )
