"""A sample of a store's vectors, made again from its source by the encoders that it names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int, Shaped

from embed.decoding import read_pixels
from embed.encoders.base import FittedTextEncoder, ImageEncoder, TextEncoder
from embed.encoders.registry import load_encoders
from embed.encoders.specs import EncoderSpec
from embed.errors import EncoderError, ImageError
from embed.exchange.record import WITHOUT_ENCODER
from embed.store import SpaceInfo, Store
from embed.verification.sampling import (
    Sample,
    Source,
    read_images,
    read_titles,
    why_no_titles,
)

LEAST_COSINE = {"fp32": 0.99999}
LEAST_COSINE_HALF = 0.9995
ROWS_PER_BATCH = 32
PRECISIONS = ("fp32", "bf16", "fp16")

Finding = tuple[str, Any, str]
"""Name, result and detail of a check."""


def check_encoders(
    store: Store,
    names: Sequence[str],
    rows: Int[np.ndarray, " m"],
    source: Source,
    device: str,
) -> Iterator[Finding]:
    """Encode these rows again, and compare: what was encoded, then encoder and vectors by space.

    Raises:
        SettingsError: a device that this machine lacks.
        SourceError: the source can't be read.
    """
    infos = {name: store.space(name) for name in names}
    encoded = {n: info for n, info in infos.items() if not info.spec.startswith(WITHOUT_ENCODER)}
    for name in names:
        if name not in encoded:
            origin = "a head" if infos[name].spec.startswith("head:") else "an import"
            yield f"{name}: encoder", "skipped", f"the space comes from {origin}"
    if any(info.modality == "image" for info in encoded.values()):
        reason = "" if source.path else "where the images are is not known: say it with --source"
        sample = Sample() if reason else read_images(store, rows, source)
        yield ("images", "skipped", reason) if reason else _told("images", sample, len(rows))
        yield from _check_spaces(store, encoded, "image", sample, source, device)
    if any(info.modality == "text" for info in encoded.values()):
        reason = why_no_titles(store, source)
        sample = Sample() if reason else read_titles(store, rows, source)
        yield ("titles", "skipped", reason) if reason else _told("titles", sample, len(rows))
        yield from _check_spaces(store, encoded, "text", sample, source, device)


def _told(name: str, sample: Sample, num_rows: int) -> Finding:
    if not sample.changed:
        return name, "ok", f"{num_rows} are the bytes that were encoded"
    detail = f"{len(sample.changed)} of {num_rows} are not what was encoded: "
    return name, "changed", f"{detail}{_examples(sample.changed)}"


def _check_spaces(
    store: Store,
    spaces: dict[str, SpaceInfo],
    modality: str,
    sample: Sample,
    source: Source,
    device: str,
) -> Iterator[Finding]:
    """One encoder at a time, so that no two need memory at once."""
    for name, info in spaces.items():
        if info.modality == modality:
            yield from _check_space(store, name, sample, source, device)


def _check_space(
    store: Store, name: str, sample: Sample, source: Source, device: str
) -> Iterator[Finding]:
    info = store.space(name)
    try:
        encoder = _load(info, device)
        if isinstance(encoder, FittedTextEncoder):
            yield from _check_fitted(store, name, encoder, sample, source)
            return
    except EncoderError as error:
        yield f"{name}: encoder", "skipped", f"it can't be had here: {error}"
        return
    yield _compare_infos(name, encoder.info, info)
    if not sample.rows:
        yield f"{name}: sample", "skipped", "there is no row to compare: see above"
        return
    yield from _check_sample(store, name, encoder, sample, source.max_pixels)


def _load(info: SpaceInfo, device: str) -> ImageEncoder | TextEncoder | FittedTextEncoder:
    spec = EncoderSpec.parse(info.spec, info.modality)
    encoders = load_encoders(
        [spec], device, info.precision if info.precision in PRECISIONS else "auto"
    )
    loaded = [*encoders.per_item, *encoders.fitted]
    return loaded[0]


def _compare_infos(name: str, found: SpaceInfo, recorded: SpaceInfo) -> Finding:
    if found.fingerprint == recorded.fingerprint:
        return f"{name}: encoder", "ok", f"fingerprint {found.fingerprint}"
    return (
        f"{name}: encoder",
        "failed",
        f"fingerprint {found.fingerprint} where {recorded.fingerprint} is recorded: weights, "
        f"preprocessing or library have changed",
    )


def _check_sample(
    store: Store,
    name: str,
    encoder: ImageEncoder | TextEncoder,
    sample: Sample,
    max_pixels: int,
) -> Iterator[Finding]:
    """Compare the rows that can be decoded; the others are told of."""
    rows: list[int] = []
    undecoded: list[str] = []
    made: list[Shaped[np.ndarray, "b d"]] = []
    for start in range(0, len(sample.rows), ROWS_PER_BATCH):
        inputs = []
        batch = slice(start, start + ROWS_PER_BATCH)
        for row, content in zip(sample.rows[batch], sample.content[batch], strict=True):
            try:
                inputs.append(_input(encoder, content, max_pixels))
                rows.append(row)
            except ImageError as error:
                undecoded.append(f"'{store.values('id', row, row + 1)[0]}': {error}")
        if inputs:
            made.append(_encoded(encoder, inputs))
    if undecoded:
        yield _told_undecoded(name, undecoded, len(sample.rows))
    if not rows:
        yield f"{name}: sample", "skipped", "no row of the sample can be decoded"
        return
    stored = np.asarray(store.array(name)[rows])
    yield _judged(name, store.space(name), stored, np.concatenate(made))


def _input(encoder: ImageEncoder | TextEncoder, content: Any, max_pixels: int) -> Any:
    """What the encoder takes of one row: its title, or the pixels of its image."""
    if isinstance(encoder, TextEncoder):
        return content
    return read_pixels(content, {encoder.transform}, max_pixels)[encoder.transform]


def _encoded(encoder: ImageEncoder | TextEncoder, inputs: list[Any]) -> Shaped[np.ndarray, "b d"]:
    if isinstance(encoder, TextEncoder):
        return encoder.encode(inputs)
    return encoder.encode(np.stack(inputs))


def _told_undecoded(name: str, undecoded: Sequence[str], num_rows: int) -> Finding:
    detail = f"{len(undecoded)} of {num_rows} can't be decoded here: {_examples(undecoded)}"
    return f"{name}: decoding", "skipped", detail


def _examples(told: Sequence[str]) -> str:
    return f"{', '.join(told[:3])}{', …' if len(told) > 3 else ''}"


def _judged(
    name: str,
    info: SpaceInfo,
    stored: Shaped[np.ndarray, "m d"],
    made: Shaped[np.ndarray, "m e"],
) -> Finding:
    """Whether stored vectors are those that were made again."""
    check = f"{name}: sample"
    if made.shape != stored.shape:
        return check, "failed", f"{made.shape[1]} columns where {stored.shape[1]} are stored"
    if info.kind == "binary":
        different = int((made != stored).any(axis=1).sum())
        detail = f"{different} of {len(made)} codes differ"
        return check, "failed" if different else "ok", detail
    least = LEAST_COSINE.get(info.precision, LEAST_COSINE_HALF)
    cosines = _cosines(stored, made)
    bad = np.flatnonzero(~(cosines >= least))  # a NaN is bad, too
    lowest = f"least cosine {np.nanmin(np.append(cosines, 1)):.6f} over {len(cosines)} rows"
    if len(bad):
        return check, "failed", f"{len(bad)} below {least}: {lowest}"
    return check, "ok", lowest


def _cosines(
    stored: Shaped[np.ndarray, "m d"], made: Shaped[np.ndarray, "m d"]
) -> Float64[np.ndarray, " m"]:
    """Row by row; two vectors of zeros are equal, and one is far from all others."""
    first, second = stored.astype(np.float64), made.astype(np.float64)
    products = (first * second).sum(axis=1)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    both_zero = ~first.any(axis=1) & ~second.any(axis=1)
    return np.where(both_zero, 1.0, products / np.where(lengths > 0, lengths, 1))


def _check_fitted(
    store: Store, name: str, encoder: FittedTextEncoder, sample: Sample, source: Source
) -> Iterator[Finding]:
    """Fitting is global: all titles of the store are fitted once more, the sample is compared."""
    if source.columns.title_column not in store.columns:
        yield f"{name}: encoder", "skipped", why_no_titles(store, source)
        return
    info = store.space(name)
    space = encoder.fit_encode([str(title) for title in store.column(source.columns.title_column)])
    yield _compare_infos(name, space.info, info)
    kept = store.fitted(name)
    different = [key for key, values in space.fitted.items() if not _is_kept(kept, key, values)]
    if different and space.info.fingerprint == info.fingerprint:
        learnt = " and ".join(different)
        yield f"{name}: fitted", "failed", f"{learnt} differ from what the titles give"
    if sample.rows and info.kind == "sparse" and space.vectors.shape[1] == info.dim:
        stored = store.sparse(name)[sample.rows].toarray()
        yield _judged(name, info, stored, space.vectors[sample.rows].toarray())


def _is_kept(
    kept: Mapping[str, Shaped[np.ndarray, " _"]], key: str, values: Shaped[np.ndarray, " _"]
) -> bool:
    return key in kept and np.array_equal(kept[key], values)
