"""How fast a step of a run is by itself: what `embed doctor` and the benchmarks time."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from embed.decoding import read_pixels
from embed.errors import ImageError
from embed.images import MAX_PIXELS, ImageTransform
from embed.parts import EncodedRows, Part, PartsFolder
from embed.store import HASH_BYTES, SpaceInfo

ROWS_WRITTEN = 4096


def rate(work: Callable[[], int], seconds: float) -> float:
    """Items a second of work that returns how many it did, repeated for at least that long."""
    started = time.perf_counter()
    done = 0
    while not done or time.perf_counter() - started < seconds:
        done += work()
    return done / (time.perf_counter() - started)


def rate_in_threads(
    work: Callable[[Any], object], items: Sequence[Any], num_threads: int, seconds: float
) -> float:
    """Items a second of work on each of these items, in so many threads, over and over again."""
    with ThreadPoolExecutor(num_threads) as pool:
        return rate(lambda: len(list(pool.map(work, items))), seconds)


def decode_rate(
    files: Sequence[bytes],
    transforms: Collection[ImageTransform],
    num_threads: int,
    seconds: float,
    max_pixels: int = MAX_PIXELS,
) -> float:
    """Images a second, from their bytes to the pixels of every transform.

    Those that can't be decoded count too: a run spends its time on them as well.
    """

    def decode(data: bytes) -> None:
        with suppress(ImageError):
            read_pixels(data, transforms, max_pixels)

    return rate_in_threads(decode, files, num_threads, seconds)


def write_rate(infos: Iterable[SpaceInfo], folder: Path, seconds: float) -> float:
    """Rows a second, with a vector of each space, written as parts under `folder` and removed."""
    parts = PartsFolder(folder / "written.h5")
    parts.path.mkdir()
    rows, generator = np.arange(ROWS_WRITTEN), np.random.default_rng(0)
    ids = [str(row) for row in rows]
    spaces: Mapping[str, EncodedRows] = {
        str(number): EncodedRows("", rows, _vectors(info, generator))
        for number, info in enumerate(infos)
    }

    def write() -> int:
        # Other bytes each time: a part is named by its content.
        digests = generator.integers(0, 256, (ROWS_WRITTEN, HASH_BYTES), np.uint8)
        parts.write(Part(ids, {"image": digests}, dict(spaces)))
        return ROWS_WRITTEN

    found = rate(write, seconds)
    parts.remove()
    return found


def _vectors(info: SpaceInfo, generator: np.random.Generator) -> Shaped[np.ndarray, "n d"]:
    """As many bytes as the space's own vectors have, which no compression makes fewer."""
    if info.kind == "binary":
        return generator.integers(0, 256, (ROWS_WRITTEN, info.dim // 8), np.uint8)
    vectors = generator.random((ROWS_WRITTEN, info.dim), np.float32)
    return vectors if info.precision == "fp32" else vectors.astype(np.float16)
