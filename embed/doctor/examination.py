"""`embed doctor`: how fast each step of a run is on one's own data and machine."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import UInt8

from embed.decoding import read_pixels
from embed.devices import num_cores
from embed.doctor.rates import decode_rate, rate, write_rate
from embed.doctor.sampling import Sample, cut_sample, read_sample, spread
from embed.encoders.specs import EncoderSpec, parse_specs
from embed.errors import ImageError, SettingsError, SourceError
from embed.images import MAX_PIXELS, ImageTransform
from embed.pipeline import Flow
from embed.sources import Catalogue, FetchSettings, SourceSettings, read_source, require_column
from embed.workers import Order, OwnProcess

BATCH_SIZES = (8, 16, 32, 64)
GOOD_ENOUGH = 0.97

Pixels = Mapping[ImageTransform, list[UInt8[np.ndarray, "h w c"]]]


@dataclass(frozen=True)
class DoctorSettings:
    """What `embed doctor` can be told; `seconds` is about how long it measures."""

    source: str
    image_encoders: tuple[str, ...] = ()
    text_encoders: tuple[str, ...] = ()
    columns: SourceSettings = field(default_factory=SourceSettings)
    fetch: FetchSettings = field(default_factory=FetchSettings)
    max_pixels: int = MAX_PIXELS
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

    `num_sampled` items were looked at, of which `num_unreadable` could not be read or decoded.
    `ceiling` is the rate, in items a second, at which nothing but the encoders would work or, on a
    CPU, where decoding needs the same cores (`counts_decoding`), nothing but decoding and encoding
    in turn. `left_out` names the encoders that have no step in the stream, since they learn from
    all titles at its end.
    """

    num_sampled: int
    num_unreadable: int
    steps: tuple[Step, ...]
    counts_decoding: bool
    ceiling: float
    end_to_end: float
    settings: dict[str, str]
    left_out: tuple[str, ...] = ()

    @property
    def share_of_ceiling(self) -> float:
        """How much of what the machine could do a run reaches."""
        return self.end_to_end / self.ceiling

    @property
    def bottleneck(self) -> str:
        """The slowest step: of several encoders all of them together, as every item needs all."""
        return min(self.steps, key=lambda step: step.items_per_second).name


def encoders_together(steps: Sequence[Step]) -> Step:
    """The step of encoders that work one after the other, from the steps of each."""
    return Step("encoders together", 1 / sum(1 / step.items_per_second for step in steps))


def examine(settings: DoctorSettings) -> Diagnosis:
    """Measure every step of a run on a sample of the source, then all of them together.

    Raises:
        SourceError: the source can't be read, or no image of the sample can.
        SettingsError: no encoder is named, or only such as have no step in the stream.
        EncoderError: an encoder can't be loaded.
    """
    specs = parse_specs(settings.image_encoders, settings.text_encoders)
    streamed = [spec for spec in specs if not spec.is_fitted]
    left_out = tuple(spec.text for spec in specs if spec.is_fitted)
    if not streamed:
        raise SettingsError(
            "name the encoders that are to run: --image-encoder SPEC or --text-encoder SPEC"
            + (f"; {', '.join(left_out)} learns from all titles at a run's end" if left_out else "")
        )
    if "," in settings.device:
        raise SettingsError(f"--device: one device is examined at a time: found {settings.device}")
    with tempfile.TemporaryDirectory(dir=settings.folder, prefix=".doctor-") as folder:
        catalogue = _read_catalogue(settings, streamed, Path(folder))
        order = _order(settings, streamed, catalogue, Path(folder))
        crew = OwnProcess(order, settings.device, num_cores())
        return _diagnose(settings, catalogue, order, crew, left_out)


def _read_catalogue(
    settings: DoctorSettings, specs: Sequence[EncoderSpec], folder: Path
) -> Catalogue:
    """A catalogue of some of the source's rows."""
    whole = read_source(settings.source, settings.columns, folder / "whole")
    for spec in specs:
        require_column(whole, spec.modality, settings.columns)
    return cut_sample(whole, folder / "catalogue")


def _order(
    settings: DoctorSettings, specs: Sequence[EncoderSpec], catalogue: Catalogue, folder: Path
) -> Order:
    return Order(
        spool=catalogue.path,
        store=folder / "doctor.h5",
        specs=tuple(specs),
        modalities=list(dict.fromkeys(spec.modality for spec in specs)),
        precision=settings.precision,
        batch_size=None,
        num_readers=None,
        max_pixels=settings.max_pixels,
        fetch=settings.fetch,
    )


def _diagnose(
    settings: DoctorSettings,
    catalogue: Catalogue,
    order: Order,
    crew: OwnProcess,
    left_out: tuple[str, ...],
) -> Diagnosis:
    flow = crew.flow(catalogue, crew.batch_size)
    sample = read_sample(catalogue, order.modalities, flow, settings.fetch)
    pixels = _decoded(sample, crew, settings.max_pixels)
    seconds = settings.seconds / 6  # for each step that is repeated
    steps = _measure_steps(sample, pixels, crew, order, seconds)
    on_cpu = crew.device == "cpu"
    ceiling = _ceiling(steps, counts_decoding=on_cpu)
    num_undecodable = len(sample.files) - len(next(iter(pixels.values()), sample.files))
    return Diagnosis(
        num_sampled=len(sample.ids),
        num_unreadable=sample.num_unreadable + num_undecodable,
        steps=tuple(steps),
        counts_decoding=on_cpu,
        ceiling=ceiling,
        end_to_end=_end_to_end(catalogue, crew, flow, ceiling * settings.seconds / 3),
        settings=_advice(steps, pixels, crew, flow, seconds),
        left_out=left_out,
    )


def _decoded(sample: Sample, crew: OwnProcess, max_pixels: int) -> Pixels:
    """The pixels of every image of the sample that can be decoded, by transform."""
    transforms = {encoder.transform for encoder in crew.encoders.image}
    pixels: dict[ImageTransform, list[UInt8[np.ndarray, "h w c"]]] = {t: [] for t in transforms}
    for data in sample.files:
        try:
            found = read_pixels(data, transforms, max_pixels)
        except ImageError:
            continue
        for transform, values in found.items():
            pixels[transform].append(values)
    if not all(pixels.values()):
        raise SourceError(f"none of {len(sample.files)} images of the sample can be decoded")
    return pixels


def _measure_steps(
    sample: Sample, pixels: Pixels, crew: OwnProcess, order: Order, seconds: float
) -> list[Step]:
    """Each step by itself: read, decode, copy, each encoder, write."""
    steps: list[Step] = []
    if pixels:
        decoding = decode_rate(sample.files, pixels.keys(), num_cores(), seconds, order.max_pixels)
        steps.append(Step("read", sample.read_rate))
        steps.append(Step("decode", decoding))
        steps.append(Step("copy", _copy_rate(pixels, crew, seconds)))
    encoding = _measure_encoders(sample, pixels, crew, seconds)
    steps += encoding
    if len(encoding) > 1:
        steps.append(encoders_together(encoding))
    steps.append(Step("write", write_rate(crew.infos.values(), order.store.parent, seconds)))
    return steps


def _measure_encoders(
    sample: Sample, pixels: Pixels, crew: OwnProcess, seconds: float
) -> list[Step]:
    steps = []
    for encoder in crew.encoders.image:
        batch = _batch(pixels[encoder.transform], crew.batch_size)
        steps.append(Step(f"encode {encoder.name}", _encode_rate(encoder, batch, seconds)))
    for text_encoder in crew.encoders.text:
        found = _encode_rate(text_encoder, sample.titles[: crew.batch_size], seconds)
        steps.append(Step(f"encode {text_encoder.name}", found))
    return steps


def _batch(images: Sequence[UInt8[np.ndarray, "h w c"]], size: int) -> UInt8[np.ndarray, "b h w c"]:
    """A batch of this size, from as many images as there are."""
    return np.stack([images[place % len(images)] for place in range(size)])


def _copy_rate(pixels: Pixels, crew: OwnProcess, seconds: float) -> float:
    """Images a second, from one array each to a batch on the device, for every transform."""
    send = _sender(crew)

    def copy() -> int:
        for images in pixels.values():
            send(_batch(images, crew.batch_size))
        return crew.batch_size

    return rate(copy, seconds)


def _sender(crew: OwnProcess) -> Callable[[UInt8[np.ndarray, "b h w c"]], None]:
    """Brings a batch to the device and waits until it is there."""
    if crew.device == "cpu":
        return lambda batch: None  # it is there already
    import torch

    from embed.encoders.lanes import lane_to

    lane = lane_to(torch.device(crew.device))

    def send(batch: UInt8[np.ndarray, "b h w c"]) -> None:
        with lane.scope():
            lane.send(torch.from_numpy(batch))
            torch.cuda.synchronize(lane.device)

    return send


def _encode_rate(encoder: Any, batch: Any, seconds: float) -> float:
    encoder.encode(batch)  # the first one prepares what the others use

    def encode() -> int:
        encoder.encode(batch)
        return len(batch)

    return rate(encode, seconds)


def _ceiling(steps: Sequence[Step], *, counts_decoding: bool) -> float:
    counted = [
        step
        for step in steps
        if step.name.startswith("encode ") or (counts_decoding and step.name == "decode")
    ]
    return 1 / sum(1 / step.items_per_second for step in counted)


def _end_to_end(catalogue: Catalogue, crew: OwnProcess, flow: Flow, num_items: float) -> float:
    """The rate of the whole stream over about so many items, or as many as there are."""
    num_units = max(1, ceil(num_items / flow.rows_per_unit))
    starts = spread(len(catalogue), flow.rows_per_unit, num_units)
    done: list[int] = []
    started = perf_counter()
    crew.encode(starts, flow.batch_size, lambda result: None, done.append)
    return sum(done) / (perf_counter() - started)


def _advice(
    steps: Sequence[Step], pixels: Pixels, crew: OwnProcess, flow: Flow, seconds: float
) -> dict[str, str]:
    """The options of `embed run` that suit what was measured."""
    precisions = {info.precision for info in crew.infos.values()} - {"binary"}
    advice = {"--device": str(crew.device), "--batch-size": str(crew.batch_size)}
    if flow.takes_turns:
        advice["--batch-size"] = str(_best_batch_size(pixels, crew, seconds))
    if len(precisions) == 1:
        advice["--precision"] = precisions.pop()
    if crew.encoders.image:
        advice["--workers"] = str(_workers(steps, flow))
    return advice


def _best_batch_size(pixels: Pixels, crew: OwnProcess, seconds: float) -> int:
    """The smallest batch that is nearly as fast as any."""
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
    wanted = _ceiling(steps, counts_decoding=False) / GOOD_ENOUGH
    return min(num_cores(), max(1, ceil(wanted / (rates["decode"] / num_cores())) + 1))
