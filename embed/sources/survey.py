"""One pass over the rows of a source: what the columns are, and whether a store can hold them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from jaxtyping import UInt64

from embed.errors import SourceError
from embed.sources.addresses import PROTOCOL
from embed.sources.batches import row_blocks
from embed.sources.columns import ColumnSurvey, Kind, texts
from embed.sources.table import ID, Table


@dataclass
class Survey:
    """What the rows of a source are."""

    num_rows: int = 0
    kinds: dict[str, Kind] = field(default_factory=dict)
    num_empty_titles: int = 0
    protocols: set[str] = field(default_factory=set)


def survey_rows(rows: pl.LazyFrame, table: Table) -> Survey:
    """Look at every row once, in blocks.

    Raises:
        SourceError: there is no row; an id is empty or repeated; a text can't be held by a store.
    """
    found, hashes = Survey(), []
    columns = {
        series.name: ColumnSurvey(series)
        for series in rows.head(0).collect()
        if "/" not in series.name
    }
    for start, block in row_blocks(rows):
        hashes.append(_id_hashes(block[ID], start, table.name))
        for name, column in columns.items():
            column.add(block[name])
            _check_texts(block[name], column, start, table.name)
        _survey_texts(block, table, found)
        found.num_rows += block.height
    if not found.num_rows:
        raise SourceError(f"{table.name} has no rows")
    _check_unique(np.concatenate(hashes), rows, table.name)
    found.kinds = {name: _kind(name, column, table) for name, column in columns.items()}
    return found


def _kind(name: str, column: ColumnSurvey, table: Table) -> Kind:
    if name in (table.image_column, table.title_column):
        return "object"
    return "float64" if name in table.numbers else column.kind


def _survey_texts(block: pl.DataFrame, table: Table, found: Survey) -> None:
    if table.title_column is not None:
        found.num_empty_titles += int((texts(block[table.title_column]) == "").sum())
    if table.image_column is not None:
        protocols = texts(block[table.image_column]).str.extract(PROTOCOL).drop_nulls().unique()
        found.protocols |= set(protocols.str.to_lowercase())


def _id_hashes(ids: pl.Series, start: int, source: str) -> UInt64[np.ndarray, " m"]:
    empty = (ids == "").arg_true()
    if len(empty):
        row = start + empty[0] + 1
        raise SourceError(f"{source}: item {row} has an empty id: give each item one")
    _refuse_nul(ids, "id", start, source)
    return ids.hash().to_numpy()


def _check_texts(series: pl.Series, column: ColumnSurvey, start: int, source: str) -> None:
    """Raise SourceError at a text that HDF5 can't hold; numbers and printed lists are fine."""
    if column.kind != "object" or series.dtype.is_nested():
        return
    try:
        _refuse_nul(texts(series), series.name, start, source)
    except pl.exceptions.PolarsError as error:
        raise SourceError(
            f"{source}: column '{series.name}' ({series.dtype}) can't be kept as text: "
            f"{str(error).splitlines()[0]}: leave it out"
        ) from error


def _refuse_nul(values: pl.Series, name: str, start: int, source: str) -> None:
    rows = values.str.contains("\0", literal=True).arg_true()
    if len(rows):
        raise SourceError(bad_text(source, name, start + rows[0] + 1, values[rows[0]]))


def bad_text(source: str, name: str, row: int, text: str) -> str:
    """What is wrong with a text that HDF5 can't hold: with a NUL, or not to be had as UTF-8."""
    return (
        f"{source}: {name} of item {row} is {text!r}: a store holds UTF-8 text "
        f"without NUL characters"
    )


def _check_unique(hashes: UInt64[np.ndarray, " n"], rows: pl.LazyFrame, source: str) -> None:
    ids = rows.select(ID)
    repeat = find_repeat(hashes, lambda row: ids.slice(row, 1).collect().item())
    if repeat is not None:
        first, again, item_id = repeat
        raise SourceError(
            f"{source}: id '{item_id}' stands at item {first + 1} and again at item {again + 1}: "
            f"ids must be unique"
        )


def find_repeat(
    hashes: UInt64[np.ndarray, " n"], id_of: Callable[[int], str]
) -> tuple[int, int, str] | None:
    """The first row whose id an earlier row has, as (earlier, row, id); None where all differ.

    Hashes of 8 bytes a row are all that is held. Rows of equal hash are compared by their ids,
    which `id_of` gives, so two ids that hash alike are told apart.
    """
    order = np.argsort(hashes, kind="stable")
    is_repeat = hashes[order[1:]] == hashes[order[:-1]]
    for again in np.sort(order[1:][is_repeat]).tolist():
        item_id = id_of(again)
        for first in np.flatnonzero(hashes[:again] == hashes[again]).tolist():
            if id_of(first) == item_id:
                return first, again, item_id
    return None
