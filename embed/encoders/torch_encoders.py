"""The encoders that run on torch, whatever library their tower comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from embed.encoders import probes
from embed.encoders.base import ImageEncoder, TextEncoder
from embed.encoders.lanes import lane_to
from embed.encoders.memory import Pieces
from embed.encoders.precision import settle
from embed.encoders.runtime import DTYPES, Runtime
from embed.encoders.specs import EncoderSpec
from embed.encoders.tokens import Tokens, batches_by_length
from embed.encoders.towers import Tower
from embed.images import PIXELS_VERSION, ImageTransform
from embed.store import SpaceInfo

TOKENS_PER_BATCH = 2048
TOKENS_PER_GPU_BATCH = 32768


@dataclass(frozen=True)
class Preprocessing:
    """All that happens to an image before the model: the transform, then (x − mean) / std.

    It is a part of the fingerprint, and with it the version of the way from bytes to pixels.
    """

    transform: ImageTransform
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pixels_version: int = PIXELS_VERSION


class TorchImageEncoder(ImageEncoder):
    """An image tower of any library: pixels are normalised on the device, then come to the tower.

    `pieces.size` tells in which pieces it takes a batch, where whole ones did not fit in memory.
    """

    is_parallel = True
    uses_device = True

    def __init__(
        self, spec: EncoderSpec, preprocessing: Preprocessing, tower: Tower, runtime: Runtime
    ) -> None:
        self.name, self.transform = spec.name, preprocessing.transform
        self.pieces = Pieces(f"encoder '{spec.text}'", runtime.device)
        self._lane, self._forward = lane_to(runtime.device), tower.forward
        self._mean, self._std = (
            torch.tensor(values).reshape(1, 3, 1, 1).to(runtime.device) * 255
            for values in (preprocessing.mean, preprocessing.std)
        )
        with self._lane.scope():
            probe = self._lane.send(self._drawn(is_open=runtime.or_bf16))
            self._runtime = settle(runtime, tower.module, lambda r: self._features(probe, r))
            fingerprint = tower.fingerprint(self._runtime.precision)
            self._runtime.place(tower.module)
            dim = self._features(probe[:1], self._runtime).shape[1]
        self.info = _dense_info(spec, fingerprint, self._runtime, dim)

    def encode(self, pixels: UInt8[np.ndarray, "b h w c"]) -> Float[np.ndarray, "b d"]:
        """One vector of unit length an image."""
        return self.start(pixels)()

    def start(self, pixels: UInt8[np.ndarray, "b h w c"]) -> Callable[[], Float[np.ndarray, "b d"]]:
        """Queue the batch on the device; the call that is returned waits for its vectors."""
        with self._lane.scope():
            features = self._features(torch.from_numpy(pixels), self._runtime, self._lane.send)
            wait = self._lane.fetch(features)
        return lambda: self._runtime.stored(wait())

    def features(self, images: UInt8[torch.Tensor, "b h w c"]) -> Float[torch.Tensor, "b d"]:
        """Vectors of pixels that lie on the device already: float32, of any length, left there."""
        return self._features(images, self._runtime)

    def _drawn(self, *, is_open: bool) -> UInt8[torch.Tensor, "n h w 3"]:
        """What to try the tower on; where its precision is settled, one black image will do."""
        height, width = self.transform.crop_to
        if not is_open:
            return torch.zeros((1, height, width, 3), dtype=torch.uint8)
        return torch.from_numpy(probes.draw_photographs(height, width))

    @torch.inference_mode()
    def _features(
        self,
        images: UInt8[torch.Tensor, "b h w c"],
        runtime: Runtime,
        send: Callable[[torch.Tensor], torch.Tensor] = lambda piece: piece,
    ) -> Float[torch.Tensor, "b d"]:
        """float32, of any length; `send` brings to the device what does not lie there yet."""

        def forward(piece: slice) -> torch.Tensor:
            # Piece by piece, since what does not fit may be the pixels; and as uint8, a quarter of
            # the bytes of float32.
            sent = send(images[piece]).permute(0, 3, 1, 2)  # (b, 3, h, w): only the strides change
            scaled = torch.sub(sent, self._mean).div_(self._std)
            return self._forward(scaled.to(DTYPES[runtime.precision])).float()

        return self.pieces.encode(forward, len(images))


class TorchTextEncoder(TextEncoder):
    """A text tower of any library: titles of like length are padded and encoded together.

    `pieces.size` tells in which pieces it takes a batch, where whole ones did not fit in memory.
    """

    is_parallel = True
    uses_device = True

    def __init__(
        self,
        spec: EncoderSpec,
        tokenize: Callable[[list[str]], Tokens],
        tower: Tower,
        runtime: Runtime,
    ) -> None:
        self.name = spec.name
        self.pieces = Pieces(f"encoder '{spec.text}'", runtime.device)
        self._lane, self._forward = lane_to(runtime.device), tower.forward
        self._tokenize = tokenize
        is_cuda = runtime.device.type == "cuda"
        self._most_tokens = TOKENS_PER_GPU_BATCH if is_cuda else TOKENS_PER_BATCH
        written = list(probes.TITLES)
        with self._lane.scope():
            self._runtime = settle(runtime, tower.module, lambda _: self._features(written)[1])
            fingerprint = tower.fingerprint(self._runtime.precision)
            self._runtime.place(tower.module)
            dim = self._features(written[:1])[1].shape[1]
        self.info = _dense_info(spec, fingerprint, self._runtime, dim)

    def encode(self, titles: Sequence[str]) -> Float[np.ndarray, "b d"]:
        """One vector of unit length a title."""
        return self.start(titles)()

    def start(self, titles: Sequence[str]) -> Callable[[], Float[np.ndarray, "b d"]]:
        """Queue the titles on the device; the call that is returned waits for their vectors."""
        with self._lane.scope():
            order, features = self._features(list(titles))
            wait = self._lane.fetch(features)

        def finish() -> Float[np.ndarray, "b d"]:
            sorted_vectors = self._runtime.stored(wait())
            vectors = np.empty_like(sorted_vectors)
            vectors[order] = sorted_vectors
            return vectors

        return finish

    @torch.inference_mode()
    def _features(self, titles: list[str]) -> tuple[list[int], Float[torch.Tensor, "b d"]]:
        """The titles' rows in the order of the vectors, and the vectors: float32, any length."""
        tokens = self._tokenize(titles)
        batches = batches_by_length(tokens.lengths, self._most_tokens)
        features = [self._features_of(tokens, rows) for rows in batches]
        return [row for rows in batches for row in rows], torch.cat(features)

    def _features_of(self, tokens: Tokens, rows: list[int]) -> Float[torch.Tensor, "b d"]:
        def forward(piece: slice) -> torch.Tensor:
            batch = tokens.take(rows[piece])
            sent = {name: self._lane.send(values) for name, values in batch.items()}
            return self._forward(**sent).float()

        return self.pieces.encode(forward, len(rows))


def _dense_info(spec: EncoderSpec, fingerprint: str, runtime: Runtime, dim: int) -> SpaceInfo:
    return SpaceInfo(
        kind="dense",
        modality=spec.modality,
        spec=spec.text,
        fingerprint=fingerprint,
        precision=runtime.precision,
        normalized=True,
        dim=dim,
    )
