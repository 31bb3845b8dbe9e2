from dataclasses import dataclass

import polars as pl

# Columns of the spool beside those of the store, whose names hold no slash.
ID, SHARD, OFFSET, SIZE = "/id", "/shard", "/offset", "/size"


@dataclass(frozen=True)
class Table:
    """A source on its way to the spool: what its rows hold, still to be read.

    `frame` has the ids as text in ID and the store's columns; of shards, also where each image
    lies. `numbers` are columns of text that are to be kept as float64.
    """

    name: str
    frame: pl.LazyFrame
    image_column: str | None
    title_column: str | None
    root: str
    roots: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    numbers: frozenset[str] = frozenset()
