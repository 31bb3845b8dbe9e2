"""The file of neighbours: a table of pairs, written block by block, and read where it fits.

    id · neighbour_id · rank · score

Lines go by query, in the order of the store, and by rank from 1 for the nearest. An item's line
with itself is left out: it has no rank, and its score is 1 by definition. A Parquet file keeps in
its own metadata what the neighbours are of, so that it can be read again; a CSV file can't.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int
from polars.io.plugins import register_io_source

from embed.errors import FingerprintError, NeighboursError, SettingsError
from retrieval.search.approximate import ids_digest
from retrieval.search.ranking import NO_ROW, Neighbours
from retrieval.search.sides import Sides, StoreRows

FORMAT = "retrieval-neighbours"
FORMAT_VERSION = 1
SUFFIXES = (".parquet", ".csv")
SCHEMA = {"id": pl.String, "neighbour_id": pl.String, "rank": pl.Int32, "score": pl.Float32}


@dataclass(frozen=True)
class NeighboursInfo:
    """What a file of neighbours says of itself.

    Attributes:
        spaces: the fingerprint of each space that was searched, by name.
        k: neighbours of each item, the item itself counted: the highest rank is k − 1.
        num_queries, num_gallery, query_ids, gallery_ids: how many items looked among how many, and
            a hash of the ids of either side.
        where, query_where, gallery_where, unseen_by: how the items were selected.
        refinements: what was done beyond the plain search; {} for nothing.
        method: "exact", or that of the index.
        recall: the index's measured recall; 1 for an exact search.
        recall_k: the k that this was measured of, the item itself counted; 0 for an exact search.
    """

    spaces: dict[str, str]
    k: int
    num_queries: int
    num_gallery: int
    query_ids: str
    gallery_ids: str
    where: tuple[str, ...] = ()
    query_where: tuple[str, ...] = ()
    gallery_where: tuple[str, ...] = ()
    unseen_by: tuple[str, ...] = ()
    refinements: Mapping[str, Any] = field(default_factory=dict)
    method: str = "exact"
    recall: float = 1.0
    recall_k: int = 0

    def to_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


def fingerprints(side: StoreRows, spaces: Sequence[str]) -> dict[str, str]:
    """The fingerprint of each of these spaces."""
    return {name: side.store.space(name).fingerprint for name in spaces}


def refuse_neighbours_suffix(path: Path) -> None:
    """Raise SettingsError where no file of neighbours ends like this."""
    if path.suffix not in SUFFIXES:
        raise SettingsError(
            f"neighbours are written to .parquet or .csv: found '{path}': rename the output"
        )


def write_pairs(
    path: Path, sides: Sides, blocks: Iterable[tuple[int, Neighbours]], info: NeighboursInfo
) -> int:
    """Write blocks of neighbours, each with the position of its first query; returns the lines.

    Only a block is in memory at a time. Nothing is replaced atomically here: `path` is new.
    """
    lines = _Lines(sides, blocks)
    if path.suffix == ".csv":
        with path.open("wb") as file:
            for number, frame in enumerate(lines):
                frame.write_csv(file, include_header=number == 0)
        return lines.num_written
    source = register_io_source(lambda *_: iter(lines), schema=SCHEMA)
    values = {"format": FORMAT, "format_version": FORMAT_VERSION, **info.to_json()}
    metadata = {FORMAT: json.dumps(values, ensure_ascii=False)}
    source.sink_parquet(path, metadata=metadata, maintain_order=True)
    return lines.num_written


def read_info(path: Path) -> NeighboursInfo:
    """What a file of neighbours says of itself.

    Raises:
        NeighboursError: the file is missing, or is no Parquet file of neighbours.
    """
    try:
        text = pl.read_parquet_metadata(path).get(FORMAT)
    except FileNotFoundError as error:
        raise NeighboursError(
            f"no neighbours at {path}: make them with `python -m retrieval neighbours … -o {path}`"
        ) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise NeighboursError(f"{path} {_NO_FILE}") from error
    if text is None:
        raise NeighboursError(f"{path} {_NO_FILE}")
    try:
        return _info_from_json(path, json.loads(text))
    except (TypeError, ValueError, AttributeError) as error:
        raise NeighboursError(
            f"{path} does not say what its neighbours are of, as `retrieval neighbours` writes it: "
            f"make it again ({error})"
        ) from error


def _info_from_json(path: Path, values: dict[str, Any]) -> NeighboursInfo:
    found = (values.pop("format", None), values.pop("format_version", None))
    if found != (FORMAT, FORMAT_VERSION):
        raise NeighboursError(
            f"{path} should have format {FORMAT} version {FORMAT_VERSION}: found {found[0]} "
            f"version {found[1]}: make it again with `python -m retrieval neighbours`"
        )
    tuples = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    info = NeighboursInfo(**(values | tuples))
    if not (isinstance(info.spaces, dict) and isinstance(info.k, int)):
        raise ValueError(f"spaces are {info.spaces!r} and k is {info.k!r}")
    return info


_NO_FILE = (
    "is no Parquet file of neighbours (a CSV file does not say what it is of): make one with "
    "`python -m retrieval neighbours … -o FILE.parquet`"
)


def read_neighbours(path: Path, sides: Sides, spaces: Sequence[str], k: int) -> Neighbours:
    """The neighbours of a file that `write_pairs` wrote, as `find_neighbours` gives them.

    Args:
        path: a Parquet file.
        sides: the queries and the gallery, which have to be those of the file.
        spaces: the spaces, which have to be those of the file.
        k: the item itself included; a file that has more is cut.

    Raises:
        NeighboursError: the file is missing, damaged, or of other rows, other spaces or a lower k.
        FingerprintError: the spaces hold other vectors now.
    """
    info = read_info(path)
    _refuse_unfit(path, info, sides, spaces, k)
    wanted = min(k, info.k)
    found = _positions(path, sides).filter(pl.col("rank") < wanted)
    try:
        frame = found.collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        raise NeighboursError(
            f"{path} is damaged: make it again with `python -m retrieval neighbours`: {error}"
        ) from error
    return _table(path, frame, sides.own, wanted)


class _Lines:
    """The lines of each block; once only."""

    def __init__(self, sides: Sides, blocks: Iterable[tuple[int, Neighbours]]) -> None:
        self._blocks = blocks
        self._query_ids = pl.Series(sides.queries.ids, dtype=pl.String)
        self._gallery_ids = self._query_ids
        if not sides.is_self_join:
            self._gallery_ids = pl.Series(sides.gallery.ids, dtype=pl.String)
        self.num_written = 0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for start, found in self._blocks:
            is_there = found.rows[:, 1:] != NO_ROW
            queries, places = np.nonzero(is_there)
            frame = pl.DataFrame(
                {
                    "id": self._query_ids.gather(start + queries),
                    "neighbour_id": self._gallery_ids.gather(found.rows[:, 1:][is_there]),
                    "rank": pl.Series(places + 1, dtype=pl.Int32),
                    "score": pl.Series(found.scores[:, 1:][is_there], dtype=pl.Float32),
                }
            )
            self.num_written += len(frame)
            yield frame


def _positions(path: Path, sides: Sides) -> pl.LazyFrame:
    """The lines with positions for ids; null where an id is unknown."""
    lines = pl.scan_parquet(path)
    for column, side in (("id", sides.queries), ("neighbour_id", sides.gallery)):
        places = pl.DataFrame(
            {column: pl.Series(side.ids, dtype=pl.String), f"{column}_place": np.arange(len(side))}
        )
        lines = lines.join(places.lazy(), on=column, how="left")
    return lines.select("id_place", "neighbour_id_place", "rank", "score")


def _table(path: Path, frame: pl.DataFrame, own: Int[np.ndarray, " q"], k: int) -> Neighbours:
    if frame.null_count().sum_horizontal().item() or frame.filter(pl.col("rank") < 1).height:
        raise NeighboursError(f"{path} holds unknown ids or ranks: it was altered: make it again")
    queries, places = frame["id_place"].to_numpy(), frame["rank"].to_numpy()
    rows = np.full((len(own), k), NO_ROW, np.int64)
    scores = np.full((len(own), k), -np.inf, np.float32)
    rows[queries, places] = frame["neighbour_id_place"].to_numpy()
    scores[queries, places] = frame["score"].to_numpy()
    rows[:, 0], scores[:, 0] = own, 1
    others = rows[:, 1:]
    is_altered = (
        int((others != NO_ROW).sum()) != len(frame)  # a rank given twice
        or bool((scores[:, 2:] > scores[:, 1:-1]).any())
        or bool(((others == own[:, None]) & (others != NO_ROW)).any())
    )
    if is_altered:
        raise NeighboursError(f"{path} holds ranks that do not fit: it was altered: make it again")
    return Neighbours(rows, scores)


def _refuse_unfit(
    path: Path, info: NeighboursInfo, sides: Sides, spaces: Sequence[str], k: int
) -> None:
    if set(info.spaces) != set(spaces):
        raise NeighboursError(
            f"{path} holds neighbours in {', '.join(info.spaces)}, not in {', '.join(spaces)}: "
            f"name these spaces, or make neighbours of the others"
        )
    for side in (sides.queries, sides.gallery):
        found = fingerprints(side, spaces)
        other = next((name for name in spaces if found[name] != info.spaces[name]), None)
        if other is not None:
            raise FingerprintError(
                f"{path} was made of space '{other}' with fingerprint {info.spaces[other]}, "
                f"{side.store.path} has {found[other]}: make the neighbours again"
            )
    here = ids_digest(sides.queries), ids_digest(sides.gallery)
    if here != (info.query_ids, info.gallery_ids):
        raise NeighboursError(
            f"{path} holds neighbours of {info.num_queries:,} items among {info.num_gallery:,}, "
            f"not of the {len(sides.queries):,} among {len(sides.gallery):,} that are selected "
            f"here: make them again with the same --where, and --unseen-by for the rows that heads "
            f"have seen"
        )
    if k > info.k and info.k < len(sides.gallery):
        raise NeighboursError(
            f"{path} holds {info.k - 1} neighbours of each item besides itself, and {k - 1} are "
            f"wanted: take a lower --k, or make the neighbours with a higher one"
        )
