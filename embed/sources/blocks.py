"""Rows that come one by one, gathered into Parquet files so that few are in memory at once."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import polars as pl

from embed.sources.spool import scan_rows
from embed.sources.survey import ROWS_PER_BLOCK

Row = Mapping[str, str | int | None]


class Blocks:
    """Takes rows of texts, and of integers in the columns named so; a row may lack some."""

    def __init__(
        self, folder: Path, columns: Sequence[str], integers: Collection[str] = frozenset()
    ) -> None:
        self._folder = folder
        self._folder.mkdir()
        self._schema = {name: pl.Int64() if name in integers else pl.String() for name in columns}
        self._rows: list[Row] = []
        self._frames: list[pl.LazyFrame] = []

    def add(self, row: Row) -> None:
        """Append a row; columns that were not there before are text."""
        for name in row:
            if name not in self._schema:
                self._schema[name] = pl.String()
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_BLOCK:
            self._write()

    def scan(self) -> pl.LazyFrame:
        """All rows in order, with the columns of all in the order of their first appearance."""
        self._write()
        names = list(self._schema)
        return pl.concat(self._frames, how="diagonal").select(names)

    def _write(self) -> None:
        if not self._rows and self._frames:
            return
        path = self._folder / f"{len(self._frames):06d}.parquet"
        pl.DataFrame(self._rows, schema=self._schema).write_parquet(path, compression="lz4")
        self._frames.append(scan_rows(path))
        self._rows = []
