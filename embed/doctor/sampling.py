"""A sample of a catalogue: what is measured on it takes no longer the more rows there are."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from embed.errors import ImageError, SourceError
from embed.pipeline import Flow
from embed.sources import Catalogue, Fetcher, FetchSettings, Location
from embed.sources.batches import scan_rows
from embed.sources.spool import FORMAT, FORMAT_VERSION, read_header
from embed.units import read_unit

ROWS_PER_STRETCH = 2048
NUM_STRETCHES = 32
UNITS_READ = 4


@dataclass(frozen=True)
class Sample:
    """Some items of a catalogue, spread over it, with the bytes of their images.

    `files` are those that could be read; `read_rate` is in images a second, 0 where there are none.
    """

    ids: list[str]
    titles: list[str]
    files: list[bytes]
    read_rate: float
    num_unreadable: int


def spread(num_rows: int, size: int, count: int) -> list[int]:
    """Where up to `count` stretches of `size` rows begin, from the first row to the last."""
    starts = range(0, num_rows, size)
    places = np.linspace(0, len(starts) - 1, min(count, len(starts)))
    return [starts[int(place)] for place in places]


def cut_sample(
    catalogue: Catalogue,
    spool: Path,
    rows_per_stretch: int = ROWS_PER_STRETCH,
    num_stretches: int = NUM_STRETCHES,
) -> Catalogue:
    """A catalogue of stretches of rows that are spread over the whole one, written to `spool`.

    One that has no more rows than that is taken whole.
    """
    starts = spread(len(catalogue), rows_per_stretch, num_stretches)
    rows = scan_rows(catalogue.path)
    cut = pl.concat([rows.slice(start, rows_per_stretch).collect() for start in starts])
    header = replace(read_header(catalogue.path), num_rows=len(cut))
    metadata = {FORMAT: FORMAT_VERSION, "header": json.dumps(asdict(header))}
    cut.write_parquet(spool, metadata=metadata)
    return Catalogue.open(spool)


def read_sample(
    catalogue: Catalogue, modalities: Sequence[str], flow: Flow, fetch: FetchSettings
) -> Sample:
    """Read the items of a few units, images by as many threads as a run would.

    Raises:
        SourceError: no image can be read.
    """
    starts = spread(len(catalogue), flow.rows_per_unit, UNITS_READ)
    units = [read_unit(catalogue, start, flow.rows_per_unit, [*modalities]) for start in starts]
    locations = [place for unit in units for place in unit.locations or [] if place is not None]
    fetcher = Fetcher(catalogue.roots, fetch)
    started = time.perf_counter()
    with ThreadPoolExecutor(flow.num_readers) as pool:
        files = list(pool.map(lambda place: _read(fetcher, place), locations))
    seconds = time.perf_counter() - started
    readable = [data for data in files if data is not None]
    if "image" in modalities and not readable:
        raise SourceError(f"none of {len(locations)} images of the sample can be read")
    return Sample(
        ids=[item_id for unit in units for item_id in unit.ids],
        titles=[title for unit in units for title in unit.titles or []],
        files=readable,
        read_rate=len(locations) / seconds,
        num_unreadable=len(files) - len(readable),
    )


def _read(fetcher: Fetcher, location: Location) -> bytes | None:
    try:
        return fetcher.read(location)
    except (ImageError, OSError):
        return None
