"""`embed doctor`: how fast each step of a run is on one's own data and machine."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from embed.decoding import read_pixels
from embed.devices import num_cores
from embed.encoders.specs import parse_specs
from embed.errors import ImageError, SettingsError, SourceError
from embed.images import MAX_PIXELS, ImageTransform
from embed.parts import EncodedRows, Part, PartsFolder
from embed.pipeline import Flow
from embed.sources import (
    Catalogue,
    Fetcher,
    FetchSettings,
    Location,
    SourceSettings,
    read_source,
)
from embed.store import HASH_BYTES
from embed.units import read_unit
from embed.workers import Order, OwnProcess

BATCH_SIZES = (8, 16, 32, 64)
GOOD_ENOUGH = 0.97
UNITS_SAMPLED = 4
ROWS_WRITTEN = 4096

Pixels = Mapping[ImageTransform, list[UInt8[np.ndarray, "h w c"]]]


@dataclass(frozen=True)
class DoctorSettings:
    """What `embed doctor` can be told; `seconds` is about how long it measures."""

    source: str
    image_encoders: tuple[str, ...] = ()
    text_encoders: tuple[str, ...] = ()
    columns: SourceSettings = field(default_factory=SourceSettings)
    fetch: FetchSettings = field(default_factory=FetchSettings)
    device: str = "auto"
    precision: str = "auto"
    seconds: float = 20.0
    folder: Path | None = None


@dataclass(frozen=True)
class Step:
    """A step of the stream by itself, as fast as it can go."""

    name: str
    items_per_second: float


@dataclass(frozen=True)
class Diagnosis:
    """What was measured, and what follows from it.

    `ceiling` is the rate, in items a second, at which nothing but the encoders would work or, where
    decoding needs the same cores, nothing but decoding and encoding in turn.
    """

    num_sampled: int
    num_unreadable: int
    steps: tuple[Step, ...]
    takes_turns: bool
    ceiling: float
    end_to_end: float
    settings: dict[str, str]

    @property
    def share_of_ceiling(self) -> float:
        """How much of what the machine could do a run reaches."""
        return self.end_to_end / self.ceiling

    @property
    def bottleneck(self) -> str:
        """The slowest step."""
        return min(self.steps, key=lambda step: step.items_per_second).name


def examine(settings: DoctorSettings) -> Diagnosis:
    """Measure every step of a run on a sample of the source, then all of them together.

    Raises:
        SourceError: the source can't be read, or no image of the sample can.
        SettingsError: no encoder is named.
        EncoderError: an encoder can't be loaded.
    """
    specs = parse_specs(settings.image_encoders, settings.text_encoders)
    if not specs:
        raise SettingsError(
            "name the encoders that are to run: --image-encoder SPEC or --text-encoder SPEC"
        )
    if "," in settings.device:
        raise SettingsError(f"--device: one device is examined at a time: found {settings.device}")
    with tempfile.TemporaryDirectory(dir=settings.folder, prefix=".doctor-") as folder:
        spool = Path(folder, "catalogue")
        catalogue = read_source(settings.source, settings.columns, spool)
        order = Order(
            spool=spool,
            store=Path(folder, "doctor.h5"),
            specs=tuple(specs),
            modalities=list(dict.fromkeys(spec.modality for spec in specs)),
            precision=settings.precision,
            batch_size=None,
            num_readers=None,
            max_pixels=MAX_PIXELS,
            fetch=settings.fetch,
        )
        crew = OwnProcess(order, settings.device, num_cores())
        sample = _sample(catalogue, crew, settings)
        steps = _measure_steps(sample, crew, Path(folder), settings.seconds / 6)
        flow = crew.flow(catalogue, crew.batch_size)
        ceiling = _ceiling(steps, takes_turns=flow.takes_turns)
        return Diagnosis(
            num_sampled=len(sample.ids),
            num_unreadable=sample.num_unreadable,
            steps=tuple(steps),
            takes_turns=flow.takes_turns,
            ceiling=ceiling,
            end_to_end=_end_to_end(catalogue, crew, ceiling * settings.seconds / 3),
            settings=_advice(steps, sample, crew, flow, settings.seconds / 6),
        )


@dataclass(frozen=True)
class _Sample:
    """Some items of the catalogue, spread over it, with the bytes of their images."""

    ids: list[str]
    titles: list[str]
    locations: list[Location]
    files: list[bytes]
    read_rate: float
    num_unreadable: int


def _sample(catalogue: Catalogue, crew: OwnProcess, settings: DoctorSettings) -> _Sample:
    flow = crew.flow(catalogue, crew.batch_size)
    modalities = [name for name in ("image", "text") if _has(crew, name)]
    starts = _spread(len(catalogue), flow.rows_per_unit, UNITS_SAMPLED)
    units = [read_unit(catalogue, start, flow.rows_per_unit, modalities) for start in starts]
    locations = [place for unit in units for place in unit.locations or [] if place is not None]
    fetcher = Fetcher(catalogue.roots, settings.fetch)
    started = time.perf_counter()
    with ThreadPoolExecutor(flow.num_readers) as pool:
        files = list(pool.map(lambda place: _read(fetcher, place), locations))
    seconds = time.perf_counter() - started
    readable = [data for data in files if data is not None]
    if _has(crew, "image") and not readable:
        raise SourceError(f"none of {len(locations)} images of {settings.source} can be read")
    return _Sample(
        ids=[item_id for unit in units for item_id in unit.ids],
        titles=[title for unit in units for title in unit.titles or []],
        locations=locations,
        files=readable,
        read_rate=len(locations) / seconds,
        num_unreadable=len(files) - len(readable),
    )


def _has(crew: OwnProcess, modality: str) -> bool:
    return bool(crew.encoders.image if modality == "image" else crew.encoders.text)


def _spread(num_rows: int, size: int, count: int) -> list[int]:
    """The starts of up to `count` units, from the first to the last."""
    starts = range(0, num_rows, size)
    return [
        starts[int(place)] for place in np.linspace(0, len(starts) - 1, min(count, len(starts)))
    ]


def _read(fetcher: Fetcher, location: Location) -> bytes | None:
    try:
        return fetcher.read(location)
    except (ImageError, OSError):
        return None


def _measure_steps(sample: _Sample, crew: OwnProcess, folder: Path, seconds: float) -> list[Step]:
    """Each step by itself: read, decode, copy, each encoder, write."""
    steps: list[Step] = []
    if crew.encoders.image:
        pixels = _decoded(sample, crew)
        steps.append(Step("read", sample.read_rate))
        steps.append(Step("decode", _decode_rate(sample, crew, seconds)))
        steps.append(Step("copy", _rate(lambda: _copy(pixels, crew), seconds)))
        for encoder in crew.encoders.image:
            batch = _batch(pixels[encoder.transform], crew.batch_size)
            steps.append(Step(f"encode {encoder.name}", _encode_rate(encoder, batch, seconds)))
    for text_encoder in crew.encoders.text:
        titles = sample.titles[: crew.batch_size]
        steps.append(
            Step(f"encode {text_encoder.name}", _encode_rate(text_encoder, titles, seconds))
        )
    steps.append(Step("write", _write_rate(crew, folder, seconds)))
    return steps


def _decoded(sample: _Sample, crew: OwnProcess) -> Pixels:
    """The pixels of every image of the sample that can be decoded, by transform."""
    transforms = {encoder.transform for encoder in crew.encoders.image}
    pixels: dict[ImageTransform, list[UInt8[np.ndarray, "h w c"]]] = {t: [] for t in transforms}
    for data in sample.files:
        try:
            found = read_pixels(data, transforms)
        except ImageError:
            continue
        for transform, values in found.items():
            pixels[transform].append(values)
    if not pixels[next(iter(transforms))]:
        raise SourceError(f"none of {len(sample.files)} images of the sample can be decoded")
    return pixels


def _decode_rate(sample: _Sample, crew: OwnProcess, seconds: float) -> float:
    transforms = {encoder.transform for encoder in crew.encoders.image}

    def decode(data: bytes) -> None:
        try:
            read_pixels(data, transforms)
        except ImageError:
            return

    with ThreadPoolExecutor(num_cores()) as pool:

        def decode_all() -> int:
            return len(list(pool.map(decode, sample.files)))

        return _rate(decode_all, seconds)


def _batch(images: Sequence[UInt8[np.ndarray, "h w c"]], size: int) -> UInt8[np.ndarray, "b h w c"]:
    """A batch of this size, from as many images as there are."""
    return np.stack([images[place % len(images)] for place in range(size)])


def _copy(pixels: Pixels, crew: OwnProcess) -> int:
    for images in pixels.values():
        _batch(images, crew.batch_size)
    return crew.batch_size


def _encode_rate(encoder: Any, batch: Any, seconds: float) -> float:
    encoder.encode(batch)  # the first one prepares what the others use

    def encode() -> int:
        encoder.encode(batch)
        return len(batch)

    return _rate(encode, seconds)


def _write_rate(crew: OwnProcess, folder: Path, seconds: float) -> float:
    parts = PartsFolder(folder / "written.h5")
    parts.path.mkdir()
    rows, generator = np.arange(ROWS_WRITTEN), np.random.default_rng(0)
    ids = [str(row) for row in rows]
    vectors = {
        name: generator.random((ROWS_WRITTEN, info.dim), np.float32).astype(np.float16)
        for name, info in crew.infos.items()
    }
    spaces = {name: EncodedRows("", rows, values) for name, values in vectors.items()}

    def write() -> int:
        # Other bytes each time: a part is named by its content.
        digests = generator.integers(0, 256, (ROWS_WRITTEN, HASH_BYTES), np.uint8)
        parts.write(Part(ids, {"image": digests}, spaces))
        return ROWS_WRITTEN

    rate = _rate(write, seconds)
    parts.remove()
    return rate


def _rate(work: Callable[[], int], seconds: float) -> float:
    """Items a second of work that returns how many it did, repeated for some time."""
    started = time.perf_counter()
    done = 0
    while not done or time.perf_counter() - started < seconds:
        done += work()
    return done / (time.perf_counter() - started)


def _ceiling(steps: Sequence[Step], *, takes_turns: bool) -> float:
    counted = [
        step
        for step in steps
        if step.name.startswith("encode") or (takes_turns and step.name == "decode")
    ]
    return 1 / sum(1 / step.items_per_second for step in counted)


def _end_to_end(catalogue: Catalogue, crew: OwnProcess, num_items: float) -> float:
    """The rate of the whole stream over about so many items, spread over the catalogue."""
    size = crew.flow(catalogue, crew.batch_size).rows_per_unit
    starts = _spread(len(catalogue), size, max(1, ceil(num_items / size)))
    done: list[int] = []
    started = time.perf_counter()
    crew.encode(starts, crew.batch_size, lambda result: None, done.append)
    return sum(done) / (time.perf_counter() - started)


def _advice(
    steps: Sequence[Step], sample: _Sample, crew: OwnProcess, flow: Flow, seconds: float
) -> dict[str, str]:
    """The options of `embed run` that suit what was measured."""
    precisions = {info.precision for info in crew.infos.values()} - {"binary"}
    advice = {"--device": str(crew.device), "--batch-size": str(crew.batch_size)}
    if flow.takes_turns:
        advice["--batch-size"] = str(_best_batch_size(sample, crew, seconds))
    if len(precisions) == 1:
        advice["--precision"] = precisions.pop()
    if crew.encoders.image:
        advice["--workers"] = str(_workers(steps, flow))
    return advice


def _best_batch_size(sample: _Sample, crew: OwnProcess, seconds: float) -> int:
    """The smallest batch that is nearly as fast as any."""
    pixels = _decoded(sample, crew)
    slowest = max(crew.encoders.image, key=lambda encoder: encoder.transform.crop_to)
    images = pixels[slowest.transform]
    rates = {
        size: _encode_rate(slowest, _batch(images, size), seconds / len(BATCH_SIZES))
        for size in BATCH_SIZES
    }
    return min(size for size, rate in rates.items() if rate >= GOOD_ENOUGH * max(rates.values()))


def _workers(steps: Sequence[Step], flow: Flow) -> int:
    """As many threads as keep the encoders busy, where decoding has cores of its own."""
    if flow.takes_turns or flow.num_readers > num_cores():
        return flow.num_readers
    rates = {step.name: step.items_per_second for step in steps}
    wanted = _ceiling(steps, takes_turns=False) / GOOD_ENOUGH
    return min(num_cores(), max(1, ceil(wanted / (rates["decode"] / num_cores())) + 1))
