"""Rows that come one by one, gathered into Parquet files so that few are in memory at once."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from embed.errors import OutputError, SourceError
from embed.sources.batches import ROWS_PER_BLOCK, as_lazy
from embed.sources.survey import bad_text
from embed.sources.table import ID

Row = Mapping[str, str | int | None]


class Blocks:
    """Takes rows of texts, and of integers in the columns named so; a row may lack some."""

    def __init__(
        self,
        folder: Path,
        source: str,
        columns: Sequence[str],
        integers: Collection[str] = frozenset(),
    ) -> None:
        self._folder, self._source = folder, source
        self._folder.mkdir()
        self._schema = {name: pl.Int64() if name in integers else pl.String() for name in columns}
        self._rows: list[Row] = []
        self._paths: list[Path] = []

    def add(self, row: Row) -> None:
        """Append a row; columns that were not there before are text.

        Raises:
            SourceError: a name or a text is not to be had as UTF-8.
        """
        for name in row:
            if name not in self._schema:
                self._schema[name] = pl.String()
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_BLOCK:
            self._write()

    def scan(self) -> pl.LazyFrame:
        """All rows in order, with the columns of all in the order of their first appearance."""
        if self._rows:
            self._write()
        return as_lazy(self._read, self._empty())

    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self._schema)

    def _read(self) -> Iterator[pl.DataFrame]:
        """The files, early ones with the columns that came later."""
        for path in self._paths:
            yield pl.concat([self._empty(), pl.read_parquet(path, glob=False)], how="diagonal")

    def _write(self) -> None:
        path = self._folder / f"{len(self._paths):06d}.parquet"
        try:
            frame = pl.DataFrame(self._rows, schema=self._schema)
        except UnicodeEncodeError as error:
            raise SourceError(self._bad_text()) from error
        try:
            frame.write_parquet(path, compression="lz4")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise OutputError(f"can't write {path}: {error}") from error
        self._paths.append(path)
        self._rows = []

    def _bad_text(self) -> str:
        """Which text it was; rare enough to be looked for only then."""
        first_row = len(self._paths) * ROWS_PER_BLOCK + 1
        return next(
            bad_text(self._source, name.replace(ID, "id"), row, text)
            for row, fields in enumerate(self._rows, start=first_row)
            for name, value in fields.items()
            for text in (name, value)
            if isinstance(text, str) and not _is_unicode(text)
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a file's name in another encoding, half a character in JSON
        return False
    return True
