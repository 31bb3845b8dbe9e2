"""`embed export`: a store becomes a folder of files that other programs read.

Nothing is held in memory but blocks, and the folder is there whole or not at all.
"""

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Shaped
from polars.io.plugins import register_io_source

from embed.errors import OutputExistsError, SettingsError
from embed.exchange.folders import CLIP_METADATA, replacing_folder, require_export
from embed.exchange.record import (
    FAILURES,
    ITEMS,
    ROW_COLUMN,
    Record,
    SpaceRecord,
    array_hash,
    block_starts,
    sparse_hash,
    write_record,
)
from embed.store import ROWS_PER_BLOCK, Modality, SpaceInfo, SparseParts, Store

Format = Literal["folder", "clip-retrieval"]


@dataclass(frozen=True)
class Exported:
    """What was written, and where."""

    folder: Path
    num_items: int
    spaces: Mapping[str, SpaceInfo]


def export_store(
    store_path: Path,
    folder: Path,
    *,
    spaces: Sequence[str] = (),
    layout: Format = "folder",
    force: bool = False,
) -> Exported:
    """Write a store, or only some of its spaces, as .npy, .npz and Parquet files.

    The layout `folder` is that of `embed.exchange`, from which `embed import` gets everything back.
    `clip-retrieval` is that of the program of this name, with the one dense space of images and the
    one of texts that there may be.

    Raises:
        StoreError: the store can't be read, or has no such space.
        OutputExistsError: the folder exists already and not `force`, or is no export and nothing
            else.
        SettingsError: spaces that the layout has no place for.
    """
    with Store(store_path) as store:
        chosen = {name: store.space(name) for name in spaces or store.spaces}
        roles = _roles(chosen) if layout == "clip-retrieval" else {}
        _refuse_existing(folder, force=force)
        with replacing_folder(folder) as temporary:
            if layout == "clip-retrieval":
                _write_clip_retrieval(store, temporary, roles)
            else:
                _write_folder(store, temporary, chosen)
        return Exported(folder, len(store), chosen)


def _refuse_existing(folder: Path, *, force: bool) -> None:
    """Raise OutputExistsError where something is there that may not be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not force:
        raise OutputExistsError(
            f"{folder} exists already: give another name, or --force to replace it"
        )
    require_export(folder)


def _write_folder(store: Store, folder: Path, spaces: Mapping[str, SpaceInfo]) -> None:
    row_column = ROW_COLUMN
    while row_column in store.columns:
        row_column = f"_{row_column}"
    names = {name: name for name in ("id", *store.columns)}
    _sink(_items(store, names, row_column), folder / ITEMS)
    failures = [asdict(failure) for failure in store.failures]
    schema = dict.fromkeys(("id", "stage", "reason"), pl.String)
    pl.DataFrame(failures, schema=schema).write_parquet(folder / FAILURES)
    for modality in store.modalities:
        _save(folder / "hashes" / f"{modality}.npy", store.modality_hash(modality))
    records = {name: _write_space(store, folder, name) for name in spaces}
    modalities = tuple(store.modalities)
    write_record(folder, Record(len(store), row_column, modalities, store.versions, records))


def _write_space(store: Store, folder: Path, name: str) -> SpaceRecord:
    info = store.space(name)
    if store.seen(name).any():
        _save(folder / "seen" / f"{name}.npy", store.seen(name).astype(np.uint8))
    if info.kind != "sparse":
        vectors = store.array(name)
        _save(folder / f"{name}.npy", vectors)
        return SpaceRecord(info, array_hash(vectors.dtype, vectors.shape, _blocks(vectors)))
    parts = store.sparse_parts(name)
    _save_sparse(folder / f"{name}.npz", parts)
    fitted = store.fitted(name)
    for key, values in fitted.items():
        pl.DataFrame({key: _series(key, values)}).write_parquet(folder / f"{name}.{key}.parquet")
    return SpaceRecord(info, sparse_hash(parts), tuple(fitted))


def _roles(spaces: Mapping[str, SpaceInfo]) -> dict[Modality, str]:
    """The space of each modality, of those that the layout has a place for."""
    roles: dict[Modality, str] = {}
    for name, info in spaces.items():
        if info.kind != "dense" or info.modality == "fused":
            raise SettingsError(
                f"clip-retrieval keeps dense spaces of images or texts: '{name}' is {info.kind}, "
                f"of modality {info.modality}; choose others with --space"
            )
        if info.modality in roles:
            raise SettingsError(
                f"clip-retrieval keeps one space of each modality: '{roles[info.modality]}' and "
                f"'{name}' are both {info.modality}; choose one with --space"
            )
        roles[info.modality] = name
    return roles


def _write_clip_retrieval(store: Store, folder: Path, roles: Mapping[Modality, str]) -> None:
    renamed = {"image": "image_path", "title": "caption"}
    names = {"id": "id"} | {
        name: renamed[name] if renamed.get(name, name) not in store.columns else name
        for name in store.columns
        if name in renamed
    }
    names |= {name: name for name in store.columns if name not in names}
    for modality, name in roles.items():
        short = "img_emb" if modality == "image" else "text_emb"
        _save(folder / short / f"{short}_0.npy", store.array(name))
    (folder / CLIP_METADATA).parent.mkdir()
    _sink(_items(store, names, None), folder / CLIP_METADATA)


def _items(store: Store, names: Mapping[str, str], row_column: str | None) -> pl.LazyFrame:
    """The ids and columns, each under its name outside, read block by block as they are written."""

    def block(start: int, stop: int) -> pl.DataFrame:
        columns = [_series(new, store.values(old, start, stop)) for old, new in names.items()]
        if row_column is not None:
            columns.append(pl.Series(row_column, np.arange(start, stop), pl.Int64))
        return pl.DataFrame(columns)

    def blocks(
        wanted: list[str] | None, predicate: Any, num_rows: int | None, batch_rows: int | None
    ) -> Iterator[pl.DataFrame]:
        for start in range(0, len(store), ROWS_PER_BLOCK):
            frame = block(start, min(start + ROWS_PER_BLOCK, len(store)))
            yield frame if wanted is None else frame.select(wanted)

    return register_io_source(blocks, schema=block(0, 0).schema)


def _sink(frame: pl.LazyFrame, path: Path) -> None:
    frame.sink_parquet(path, row_group_size=ROWS_PER_BLOCK)


def _series(name: str, values: Shaped[np.ndarray, " m"]) -> pl.Series:
    if values.dtype.kind in "OU":
        return pl.Series(name, values.tolist(), pl.String)
    return pl.Series(name, values)


def _save(path: Path, values: Shaped[np.ndarray, "n ..."]) -> None:
    """An .npy file, written block by block."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        _write_npy(file, values.dtype, values.shape, _blocks(values))


def _save_sparse(path: Path, parts: SparseParts) -> None:
    """An .npz file such as scipy.sparse.save_npz writes, but block by block and not packed."""
    arrays: dict[str, Shaped[np.ndarray, ...]] = {
        "indices": parts.indices,
        "indptr": parts.indptr,
        "format": np.array(b"csr"),
        "shape": np.array(parts.shape, np.int64),
        "data": parts.data,
        "_is_array": np.array(True),
    }
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                blocks = _blocks(values) if values.ndim else (values,)
                _write_npy(file, values.dtype, values.shape, blocks)


def _write_npy(
    file: Any,  # opened for bytes: on the disk, or within a zip
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    blocks: Iterable[Shaped[np.ndarray, "..."]],
) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, header)
    for block in blocks:
        file.write(block.tobytes())


def _blocks(values: Shaped[np.ndarray, "n ..."]) -> Iterator[Shaped[np.ndarray, "b ..."]]:
    row_bytes = values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=np.int64))
    return (values[rows] for rows in block_starts(len(values), row_bytes))
