"""The items that vectors are imported for: a table, an exported folder, clip-retrieval's output."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Shaped, UInt8

from embed.errors import IdError, SourceError
from embed.exchange.foreign_files import map_npy
from embed.exchange.foreign_vectors import ArrayVectors, Fitted, ForeignVectors, open_vectors
from embed.exchange.record import FAILURES, ITEMS, RECORD, Record, SpaceRecord, read_record
from embed.ids import find_repeat
from embed.sources import SourceSettings, read_source
from embed.sources.columns import MAX_EXACT
from embed.sources.manifests import check_names
from embed.store import HASH_BYTES, Failure, Modality


@dataclass(frozen=True)
class ForeignItems:
    """Ids and columns by row; hashes and failures where an exported store tells them."""

    ids: list[str]
    columns: Mapping[str, Shaped[np.ndarray, " n"]]
    hashes: Mapping[str, UInt8[np.ndarray, "n 16"]] | None = None
    failures: Sequence[Failure] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ForeignSpace:
    """A space to import. `record` and `fitted` are those of an exported store, where it is one."""

    vectors: ForeignVectors
    modality: Modality
    record: SpaceRecord | None = None
    fitted: Fitted = field(default_factory=dict)
    seen: Bool[np.ndarray, " n"] | None = None


def read_table(path: Path, settings: SourceSettings) -> ForeignItems:
    """The items of a CSV, TSV or Parquet file, with columns typed as `embed run` types them.

    Raises:
        SourceError: it can't be read, or an id is missing, empty or repeated.
    """
    with tempfile.TemporaryDirectory() as folder:
        catalogue = read_source(str(path), settings, Path(folder, "catalogue"))
        num_rows = len(catalogue)
        columns = {name: catalogue.column(name, 0, num_rows) for name in catalogue.columns}
        return ForeignItems(catalogue.ids(0, num_rows), columns)


def read_folder(
    folder: Path, id_column: str | None
) -> tuple[ForeignItems, dict[str, ForeignSpace]]:
    """Items and spaces of a folder that `embed export` or clip-retrieval wrote.

    Raises:
        SourceError: it is neither, something in it can't be read, or row counts differ.
        IdError: an id is missing, empty or repeated.
    """
    if (folder / RECORD).is_file():
        return _read_export(folder)
    if (folder / "metadata").is_dir():
        return _read_clip_retrieval(folder, id_column)
    raise SourceError(
        f"{folder} should be what `embed export` wrote (with {RECORD}) or clip-retrieval's output "
        f"(with metadata/ and img_emb/ or text_emb/): it is neither"
    )


def _read_export(folder: Path) -> tuple[ForeignItems, dict[str, ForeignSpace]]:
    record = read_record(folder)
    frame = _in_row_order(_read_parquet(folder / ITEMS), record, folder / ITEMS)
    hashes = {
        modality: _rows_of(folder / "hashes" / f"{modality}.npy", (record.num_items, HASH_BYTES))
        for modality in record.modalities
    }
    failures = [Failure(*row) for row in _failures(folder).iter_rows()]
    ids = _ids(frame, "id", folder / ITEMS)
    columns = _columns(frame.drop("id"), folder / ITEMS)
    spaces = {
        name: _exported_space(folder, name, space, record.num_items)
        for name, space in record.spaces.items()
    }
    return ForeignItems(ids, columns, hashes, failures, record.versions), spaces


def _in_row_order(frame: pl.DataFrame, record: Record, path: Path) -> pl.DataFrame:
    """The items by the row of the arrays that is theirs, however the table was sorted since."""
    if record.row_column not in frame.columns:
        raise SourceError(
            f"{path} has no column '{record.row_column}', which says which row of the arrays is "
            f"an item's: export the store again"
        )
    frame = frame.sort(record.row_column)
    if not np.array_equal(frame[record.row_column].to_numpy(), np.arange(record.num_items)):
        raise SourceError(
            f"{path}: '{record.row_column}' should hold each of 0 to {record.num_items - 1} once, "
            f"as {RECORD} has it: found {frame.height} rows; export the store again"
        )
    return frame.drop(record.row_column)


def _failures(folder: Path) -> pl.DataFrame:
    keys = ("id", "stage", "reason")
    frame = _read_parquet(folder / FAILURES)
    if any(frame.schema.get(key) != pl.String for key in keys):
        raise SourceError(f"{folder / FAILURES} should have the columns {', '.join(keys)}")
    return frame.select(pl.col(keys).fill_null(""))


def _exported_space(folder: Path, name: str, record: SpaceRecord, num_items: int) -> ForeignSpace:
    vectors = open_vectors(folder / record.file_name(name))
    fitted = {}
    for key in record.fitted:
        path = folder / f"{name}.{key}.parquet"
        frame = _read_parquet(path)
        if frame.columns != [key]:
            raise SourceError(f"{path} should have one column, '{key}'")
        fitted[key] = _plain(frame[key])
    seen_path = folder / "seen" / f"{name}.npy"
    seen = _rows_of(seen_path, (num_items,)).astype(bool) if seen_path.exists() else None
    return ForeignSpace(vectors, record.info.modality, record, fitted, seen)


def _rows_of(path: Path, shape: tuple[int, ...]) -> UInt8[np.ndarray, "n ..."]:
    values = map_npy(path)
    if values.dtype != np.uint8 or values.shape != shape:
        raise SourceError(f"{path} should hold uint8 of shape {shape}: export the store again")
    return np.array(values)


def _read_clip_retrieval(
    folder: Path, id_column: str | None
) -> tuple[ForeignItems, dict[str, ForeignSpace]]:
    """clip-retrieval's folder: the shards of arrays and metadata have the same numbers."""
    tables = _shards(folder / "metadata", "metadata", "parquet")
    frames = [_read_parquet(path) for path in tables.values()]
    spaces: dict[str, ForeignSpace] = {}
    kinds: tuple[tuple[str, str, Modality], ...] = (
        ("image", "img_emb", "image"),
        ("text", "text_emb", "text"),
    )
    for name, short, modality in kinds:
        if (folder / short).is_dir():
            paths = _shards(folder / short, short, "npy")
            vectors = _sharded(folder, paths, tables, [frame.height for frame in frames])
            spaces[name] = ForeignSpace(vectors, modality)
    if not spaces:
        raise SourceError(f"{folder} has neither img_emb/ nor text_emb/: there are no vectors")
    frame = pl.concat(frames, how="diagonal_relaxed")
    id_column = id_column or ("id" if "id" in frame.columns else "image_path")
    ids = _ids(frame, id_column, folder / "metadata")
    # A path is more than an id: it stays a column as well.
    others = frame if id_column == "image_path" else frame.drop(id_column)
    return ForeignItems(ids, _columns(others, folder / "metadata")), spaces


def _shards(folder: Path, name: str, suffix: str) -> dict[int, Path]:
    """The files NAME_0.SUFFIX, NAME_1.SUFFIX, … in the order of their numbers, 2 before 10.

    Raises:
        SourceError: there are none, or two of the same number, such as 1 and 01.
    """
    shards: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if not (numbered := re.fullmatch(rf"{name}_([0-9]+)\.{suffix}", path.name)):
            continue
        number = int(numbered[1])
        if number in shards:
            raise SourceError(f"{folder} has {shards[number].name} and {path.name}: which is it?")
        shards[number] = path
    if not shards:
        raise SourceError(f"{folder} should hold {name}_0.{suffix}, …: found no such file")
    return dict(sorted(shards.items()))


def _sharded(
    folder: Path, paths: Mapping[int, Path], tables: Mapping[int, Path], heights: Sequence[int]
) -> ArrayVectors:
    if paths.keys() != tables.keys():
        lone = min(paths.keys() ^ tables.keys())
        found = paths.get(lone) or tables[lone]
        raise SourceError(
            f"{found} has no counterpart of its number: each shard of vectors in {folder} needs "
            f"one of metadata, and the other way round"
        )
    vectors = ArrayVectors(list(paths.values()))
    for number, length, height in zip(paths, vectors.shard_lengths, heights, strict=True):
        if length != height:
            raise SourceError(
                f"{paths[number]} has {length} rows and {tables[number]} {height}: they should "
                f"have the same items, row by row"
            )
    return vectors


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise SourceError(f"{path} can't be read: {reason}") from error


def _ids(frame: pl.DataFrame, column: str, path: Path) -> list[str]:
    if column not in frame.columns:
        raise SourceError(
            f"{path} has no column '{column}': its columns are {', '.join(frame.columns)}; name "
            f"the one with the ids with --id-column"
        )
    ids: list[str] = frame[column].cast(pl.String).fill_null("").to_list()
    for row, item_id in enumerate(ids):
        if not item_id or "\0" in item_id:
            raise IdError(f"{path}: '{column}' of row {row} is {item_id!r}: each item needs an id")
    repeat = find_repeat([ids])
    if repeat is not None:
        raise IdError(
            f"{path}: id '{ids[repeat.row]}' stands in row {repeat.row} and again in row "
            f"{repeat.later_row}: ids must be unique; name another column with --id-column"
        )
    return ids


def _columns(frame: pl.DataFrame, path: Path) -> dict[str, Shaped[np.ndarray, " n"]]:
    check_names(frame.columns, str(path))
    columns = {name: _column(frame[name]) for name in frame.columns}
    for name, values in columns.items():
        if values.dtype == object and any("\0" in text for text in values):
            raise SourceError(
                f"{path}: column '{name}' has texts with NUL: a store can't hold them"
            )
    return columns


def _column(series: pl.Series) -> Shaped[np.ndarray, " n"]:
    """A column of a Parquet file as the store keeps it, by its type there; text stays text."""
    if series.dtype.is_integer():
        numbers = series.cast(pl.Int64, strict=False)
        if numbers.null_count() == 0:
            return numbers.to_numpy()
        if numbers.null_count() == series.null_count() and (numbers.abs() < MAX_EXACT).all():
            return numbers.cast(pl.Float64).fill_null(np.nan).to_numpy()
    if series.dtype.is_float():
        return series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return _plain(series)


def _plain(series: pl.Series) -> Shaped[np.ndarray, " m"]:
    """The values as they are: numbers of their own width, all else as text."""
    if series.dtype.is_numeric() and not series.null_count():
        numbers: Any = series.to_numpy()
        return np.array(numbers)
    if series.dtype.is_nested():
        return np.array([str(value) for value in series.to_list()], object)
    return np.array(series.cast(pl.String).fill_null("").to_list(), object)
