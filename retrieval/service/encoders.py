"""The encoders that queries pass through, loaded in the background and kept for all snapshots."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Shaped

from embed.decoding import read_pixels
from embed.encoders.base import ImageEncoder, TextEncoder
from embed.encoders.specs import FITTED, EncoderSpec
from embed.errors import EncoderError, SpecError, WorkbenchError
from embed.images import ImageTransform
from embed.store import Modality, SpaceInfo, Store
from retrieval.service.batching import Batcher
from retrieval.service.disclosure import folders_of_spec, shown_spec, without_folders
from retrieval.service.problems import log_fault
from retrieval.service.spaces import Vector
from retrieval.service.threads import core_threads, use_all_cores

PRECISIONS = ("fp32", "bf16", "fp16")
TWO_TOWERS = ("clip", "siglip", "siglip2", "altclip", "chinese_clip", "align")
"""Models of transformers that take images and titles into one space."""


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder behind a queue: `encode` takes pixels, or a title, and gives one row."""

    info: SpaceInfo
    transform: ImageTransform | None
    encode: Batcher[Any, Vector]


class EncoderPool:
    """Encoders by spec, modality and precision: each is loaded once, one after the other."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._loading = ThreadPoolExecutor(1, "load encoders")
        self._decoding = core_threads("decode")
        self._encoders: dict[Any, Future[LoadedEncoder]] = {}
        self._lock = Lock()

    def of(self, store: Store, space: str, modality: Modality) -> "Future[LoadedEncoder]":
        """The encoder of a space, for images or titles, maybe still being loaded.

        What it raises: EncoderError: it can't be had here, or is another one.
        """
        info, key = store.space(space), _key(store, space, modality)
        is_fitted = info.spec.partition(":")[0] in FITTED
        with self._lock:
            if key not in self._encoders:
                fitted = store.fitted(space) if is_fitted else None
                self._encoders[key] = self._loading.submit(self._load, info, modality, fitted)
            return self._encoders[key]

    def pixels(self, data: bytes, transform: ImageTransform, max_pixels: int) -> Any:
        """The pixels of an image as an encoder takes them; no more at once than there are cores.

        Raises:
            ImageError: the image can't be decoded, or has too many pixels.
        """
        decoding = self._decoding.submit(read_pixels, data, {transform}, max_pixels)
        return decoding.result()[transform]

    def failure(self, store: Store, space: str, modality: Modality) -> BaseException | None:
        """Why an encoder can't be had; None where it is there, or has not been tried yet."""
        with self._lock:
            loading = self._encoders.get(_key(store, space, modality))
        return loading.exception() if loading is not None and loading.done() else None

    @property
    def loaded(self) -> dict[str, LoadedEncoder]:
        """Those that are ready, by spec and modality."""
        with self._lock:
            ready = [(k, f) for k, f in self._encoders.items() if _is_ready(f)]
        return {f"{key[0]} ({key[1]})": future.result() for key, future in ready}

    @property
    def num_loading(self) -> int:
        """How many have been asked for and are not there yet."""
        with self._lock:
            return sum(not loading.done() for loading in self._encoders.values())

    def close(self) -> None:
        """End all threads."""
        self._loading.shutdown(wait=False, cancel_futures=True)
        self._decoding.shutdown(wait=False)
        for encoder in self.loaded.values():
            encoder.encode.close()

    def _load(
        self,
        info: SpaceInfo,
        modality: Modality,
        fitted: Mapping[str, Shaped[np.ndarray, " m"]] | None,
    ) -> LoadedEncoder:
        try:
            if fitted is not None:
                return _load_fitted(info, modality, fitted)
            return self._load_model(info, modality)
        except Exception as error:  # noqa: BLE001 (a library's: the other spaces are served)
            raise _told(error, info.spec) from None

    def _load_model(self, info: SpaceInfo, modality: Modality) -> LoadedEncoder:
        encoder = _load_alone(info, info.modality, self._device)
        _refuse_other(encoder.info, info)
        if modality != info.modality:  # the other tower of the same model
            encoder = _load_alone(info, modality, self._device)
            if encoder.info.dim != info.dim:
                raise EncoderError(f"'{info.spec}' makes {modality} vectors of another length")
        return _queued(encoder)


def _key(store: Store, space: str, modality: Modality) -> tuple[str, ...]:
    info = store.space(space)
    return info.spec, modality, info.precision, info.fingerprint, info.modality


def has_two_towers(spec: str) -> bool:
    """Whether the model of a spec takes images and titles into one space, as far as can be told."""
    family, _, _ = spec.partition(":")
    if family != "transformers":
        return family == "open_clip"
    return _model_type(spec) in TWO_TOWERS


def _model_type(spec: str) -> Any:
    """What a model says that it is; None where it can't be read: loading it tells why."""
    try:
        folder = EncoderSpec.parse(spec, "image").folder or Path("no folder")
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, SpecError):
        return None
    return settings.get("model_type") if isinstance(settings, dict) else None


def _load_alone(info: SpaceInfo, modality: Modality, device: str) -> ImageEncoder | TextEncoder:
    from embed.encoders.registry import load_encoders  # torch and its libraries take seconds

    spec = EncoderSpec.parse(info.spec, modality)
    precision = info.precision if info.precision in PRECISIONS else "auto"
    (encoder,) = load_encoders([spec], device, precision).per_item
    return encoder


def _is_ready(loading: Future[LoadedEncoder]) -> bool:
    return loading.done() and not loading.cancelled() and loading.exception() is None


def _load_fitted(
    info: SpaceInfo, modality: Modality, fitted: Mapping[str, Shaped[np.ndarray, " m"]]
) -> LoadedEncoder:
    from embed.encoders.tfidf import TfIdf

    if modality != "text":
        raise EncoderError(f"'{info.spec}' takes titles, and no images")
    encoder = TfIdf(EncoderSpec.parse(info.spec, "text"))
    _refuse_other(encoder.info_of(fitted), info)

    def encode(titles: Sequence[str]) -> list[Vector]:
        rows = encoder.encode_as(fitted, titles)
        return [scipy.sparse.csr_array(rows[[place]]) for place in range(len(titles))]

    return LoadedEncoder(info, None, Batcher(info.spec, encode))


def _queued(encoder: ImageEncoder | TextEncoder) -> LoadedEncoder:
    if isinstance(encoder, TextEncoder):
        return LoadedEncoder(encoder.info, None, _behind(encoder, encoder.encode))
    of_pixels = encoder.encode
    batcher = _behind(encoder, lambda pixels: of_pixels(np.stack(pixels)))
    return LoadedEncoder(encoder.info, encoder.transform, batcher)


def _behind(
    encoder: ImageEncoder | TextEncoder, encode: Callable[[list[Any]], Shaped[np.ndarray, "b d"]]
) -> Batcher[Any, Vector]:
    return Batcher(encoder.name, lambda inputs: _rows(encode(inputs)), prepare=use_all_cores)


def _rows(vectors: Shaped[np.ndarray, "b d"]) -> list[Vector]:
    return [vectors[place : place + 1] for place in range(len(vectors))]


def _refuse_other(found: SpaceInfo, wanted: SpaceInfo) -> None:
    if found.fingerprint != wanted.fingerprint:
        raise EncoderError(
            f"'{wanted.spec}' has fingerprint {found.fingerprint} here and the store's vectors "
            f"{wanted.fingerprint}: weights, preprocessing or library have changed"
        )


def reason_of(error: BaseException) -> str:
    """Why an encoder can't be had, in a sentence that clients may read."""
    return without_folders(str(error))


def _told(error: Exception, spec: str) -> EncoderError:
    """What clients are told of an encoder that can't be loaded; all of it goes to the log."""
    if isinstance(error, WorkbenchError):
        print(f"warning: {error}", file=sys.stderr, flush=True)
        return EncoderError(without_folders(str(error), folders_of_spec(spec)))
    log_fault(error)
    return EncoderError(
        f"'{shown_spec(spec)}' can't be loaded, and the service's log says why: mend the model's "
        f"files and start the service again"
    )
