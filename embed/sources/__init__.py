"""Where items come from: a folder of images, or a CSV, TSV or Parquet manifest."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Shaped

from embed.errors import SourceError
from embed.images import SUFFIXES

SEPARATORS = {".csv": ",", ".tsv": "\t"}
OTHER_IMAGES = frozenset((".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".raw"))
RESERVED = frozenset(("id", "content_hash"))
INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
MAX_EXACT = 2**53  # integers above are not told apart as float64
DECIMAL = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?$"


@dataclass(frozen=True)
class SourceSettings:
    """Which columns of a manifest hold what, and the folder that image paths start from."""

    id_column: str = "id"
    image_column: str = "image"
    title_column: str = "title"
    image_root: Path | None = None


@dataclass(frozen=True)
class Catalogue:
    """The items of a source, in its order; `images` and `titles` are None where it has none.

    An item whose image cell is empty has None for its path. `columns` holds every column but the
    id, images and titles included.
    """

    ids: list[str]
    images: list[Path | None] | None
    titles: list[str] | None
    columns: Mapping[str, Shaped[np.ndarray, " n"]]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def read_source(source: Path, settings: SourceSettings) -> Catalogue:
    """Read a folder or a manifest.

    Raises:
        SourceError: there is nothing there, no row or no image in it, a column is missing, or an id
            is empty or repeated; the message names it.
    """
    if not source.exists():
        raise SourceError(f"no source at {source}: give a folder of images or a manifest file")
    catalogue = _read_folder(source) if source.is_dir() else _read_manifest(source, settings)
    _check_texts(catalogue, source)
    return catalogue


def _read_folder(folder: Path) -> Catalogue:
    """Every image below the folder, sorted by relative path; the parent folder is the label."""
    files = [
        Path(parent, name).relative_to(folder)
        for parent, _, names in os.walk(folder, onerror=_refuse_folder)
        for name in names
        if not name.startswith(".")
    ]
    paths = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
    others = [path for path in files if path.suffix.lower() in OTHER_IMAGES]
    if not paths:
        raise SourceError(
            f"no image below {folder}: looked for files that end in {', '.join(sorted(SUFFIXES))}"
        )
    ids = [path.as_posix() for path in paths]
    columns = {
        "image": np.array(ids, object),
        "label": np.array([path.parent.name for path in paths], object),
    }
    warnings = (
        (f"{len(others)} images in formats that are not read were passed over: {others[0]}, …",)
        if others
        else ()
    )
    return Catalogue(ids, [folder / path for path in paths], None, columns, warnings)


def _refuse_folder(error: OSError) -> None:
    raise SourceError(f"a folder can't be read: {error.filename}: {error.strerror}") from error


def _read_manifest(path: Path, settings: SourceSettings) -> Catalogue:
    frame = _read_table(path)
    if frame.height == 0:
        raise SourceError(f"{path} has no rows")
    if settings.id_column not in frame.columns:
        raise SourceError(_missing_column(path, frame, settings.id_column, "--id-column"))
    ids = frame[settings.id_column].cast(pl.String).fill_null("").to_list()
    _check_ids(ids, path)
    texts = {
        name: frame[name].cast(pl.String).fill_null("").to_list()
        for name in (settings.image_column, settings.title_column)
        if name in frame.columns
    }
    images = texts.get(settings.image_column)
    others = [name for name in frame.columns if name != settings.id_column]
    _check_names(others, path)
    columns = {
        name: np.array(texts[name], object) if name in texts else _column(frame[name])
        for name in others
    }
    root = settings.image_root or path.parent
    return Catalogue(
        ids,
        images and [root / image if image else None for image in images],
        texts.get(settings.title_column),
        columns,
    )


def require_column(catalogue: Catalogue, modality: str, settings: SourceSettings) -> None:
    """Raise SourceError where encoders of this modality find nothing to encode."""
    is_image = modality == "image"
    if (catalogue.images if is_image else catalogue.titles) is not None:
        return
    column = settings.image_column if is_image else settings.title_column
    option = "--image-column" if is_image else "--title-column"
    found = ", ".join(catalogue.columns) or "none"
    raise SourceError(
        f"the source has no column '{column}' for the {modality} encoders: "
        f"its columns are {found}; name the right one with {option}"
    )


def _read_table(path: Path) -> pl.DataFrame:
    """The manifest as polars reads it; text files as strings, so that no id or label is altered."""
    suffix = path.suffix.lower()
    if suffix not in (*SEPARATORS, ".parquet"):
        raise SourceError(f"{path}: a manifest ends in .csv, .tsv or .parquet")
    try:
        if suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, separator=SEPARATORS[suffix], infer_schema=False)
    except pl.exceptions.NoDataError as error:
        raise SourceError(f"{path} has no rows: it is empty") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise SourceError(f"{path} can't be read: {reason}{_advice(reason)}") from error


def _advice(reason: str) -> str:
    """What to do about the two things that are usually wrong with a text file."""
    if "utf-8" in reason.lower():
        return ": save it as UTF-8 (`iconv -f cp1252 -t utf-8`, or a spreadsheet's 'CSV UTF-8')"
    if "fields" in reason:
        return ": some line has more fields than the header; quote values that hold the separator"
    return ""


def _check_ids(ids: Sequence[str], path: Path) -> None:
    first_row: dict[str, int] = {}
    for row, item_id in enumerate(ids, start=1):
        if not item_id:
            raise SourceError(f"{path}: item {row} has an empty id: give each item one")
        if item_id in first_row:
            raise SourceError(
                f"{path}: id '{item_id}' stands at item {first_row[item_id]} and again at item "
                f"{row}: ids must be unique"
            )
        first_row[item_id] = row


def _check_texts(catalogue: Catalogue, source: Path) -> None:
    """Raise SourceError at a text that HDF5 can't hold: with a NUL, or not to be had as UTF-8."""
    texts = {"id": catalogue.ids} | {
        name: values.tolist()
        for name, values in catalogue.columns.items()
        if values.dtype.kind == "O"
    }
    for name, values in texts.items():
        for row, text in enumerate(values, start=1):
            if "\0" in text or not _is_unicode(text):
                raise SourceError(
                    f"{source}: {name} of item {row} is {text!r}: a store holds UTF-8 text "
                    f"without NUL characters"
                )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a file's name in another encoding
        return False
    return True


def _check_names(names: Sequence[str], path: Path) -> None:
    for name in names:
        if name in RESERVED or "/" in name or not name.strip(". "):
            raise SourceError(
                f"{path}: a column can't be named '{name}' in a store "
                f"(no '/', not {' or '.join(sorted(RESERVED))}): rename it"
            )


def _missing_column(path: Path, frame: pl.DataFrame, name: str, option: str) -> str:
    if len(frame.columns) == 1 and ";" in frame.columns[0]:
        return f"{path} seems to be separated by ';': save it with commas, or as .tsv with tabs"
    return (
        f"{path} has no column '{name}': its columns are {', '.join(frame.columns)}; "
        f"name the right one with {option}"
    )


def _column(series: pl.Series) -> Shaped[np.ndarray, " n"]:
    """A column as the store keeps it: int64, float64 or strings; a missing number is NaN.

    Text becomes numbers only where equal numbers are equal texts, but for trailing zeros: '007' and
    '1e5' stay what they are, and so do integers that a missing one would make inexact.
    """
    if series.dtype == pl.String:
        series = _as_numbers(series)
    if series.dtype.is_integer() and series.dtype not in (pl.UInt64, pl.Int128):
        if not series.null_count():
            return series.cast(pl.Int64).to_numpy()
        if (series.cast(pl.Int64).abs() < MAX_EXACT).all():
            return series.cast(pl.Float64).to_numpy()
    if series.dtype.is_float():
        return series.cast(pl.Float64).to_numpy()
    if series.dtype.is_nested():
        texts = [str(value) for value in series.to_list()]
        return np.array(texts, object)
    return np.array(series.cast(pl.String).fill_null("").to_list(), object)


def _as_numbers(series: pl.Series) -> pl.Series:
    given = series.filter(series.is_not_null() & (series != ""))
    empty_as_null = pl.Series(series.name, [text or None for text in series.to_list()], pl.String)
    if len(given) and given.str.contains(INTEGER).all():
        return empty_as_null.cast(pl.Int64)
    if len(given) and given.str.contains(DECIMAL).all():
        return empty_as_null.cast(pl.Float64)
    return series
