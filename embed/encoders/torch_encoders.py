"""What the encoders that run on torch share: device, precision, batches, and the fingerprint."""

import hashlib
import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import torch
from jaxtyping import Float, UInt8

from embed.devices import choose_device
from embed.encoders.base import ImageEncoder, TextEncoder, unit_length
from embed.encoders.specs import EncoderSpec
from embed.errors import EncoderError, SettingsError
from embed.images import ImageTransform
from embed.store import SpaceInfo

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
TITLES_PER_BATCH = 64
UNREADABLE = (
    *(RuntimeError, ValueError, KeyError, OSError, EOFError),
    *(pickle.UnpicklingError, safetensors.SafetensorError),
)
"""What the libraries raise for a weights file that is damaged, or of another model."""


@dataclass(frozen=True)
class Runtime:
    """Where models run, and in which precision."""

    device: torch.device
    precision: Precision

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto") -> "Runtime":
        """Resolve `auto`: a GPU where there is one, in fp16; otherwise the CPU, in fp32.

        Not bf16, whose 8 significant bits cost more: the least cosine with fp32 of mobilenetv2_100
        was .99856 in bf16 and .99987 in fp16. What fp16's range can't hold, `stored` refuses.

        Raises:
            SettingsError: a device that this machine lacks, or an unknown precision.
        """
        found = choose_device(device)
        if precision == "auto":
            precision = "fp16" if found.type == "cuda" else "fp32"
        if precision not in DTYPES:
            raise SettingsError(f"--precision is auto, {', '.join(DTYPES)}: found '{precision}'")
        return cls(found, precision)  # type: ignore[arg-type]  # checked above

    def place(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model on the device, in the precision, for inference only.

        Convolutions keep their weights channels last, as the pixels come: the faster order.
        """
        placed = model.to(self.device, DTYPES[self.precision])
        return placed.to(memory_format=torch.channels_last).eval().requires_grad_(False)

    def stored(self, vectors: torch.Tensor) -> Float[np.ndarray, "b d"]:
        """Vectors as they are stored: of unit length, float32 or, from half precision, float16.

        Raises:
            EncoderError: a vector is not finite, as where numbers outgrow fp16 (65504).
        """
        features = vectors.float().cpu().numpy()
        if not np.isfinite(features).all():
            raise EncoderError(
                f"an encoder's vectors should be finite, found inf or nan in {self.precision}: "
                f"choose --precision bf16 or fp32"
            )
        scaled = unit_length(features)
        return scaled if self.precision == "fp32" else scaled.astype(np.float16)


@dataclass(frozen=True)
class Preprocessing:
    """All that happens to an image before the model: the transform, then (x − mean) / std."""

    transform: ImageTransform
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class TorchImageEncoder(ImageEncoder):
    """An image model of any library: pixels are normalised on the device, then comes `forward`."""

    is_parallel = True

    def __init__(
        self,
        spec: EncoderSpec,
        preprocessing: Preprocessing,
        forward: Callable[[torch.Tensor], torch.Tensor],
        fingerprint: str,
        runtime: Runtime,
    ) -> None:
        self.name = spec.name
        self.transform = preprocessing.transform
        self._forward, self._runtime = forward, runtime
        shape, dtype = (1, 3, 1, 1), DTYPES[runtime.precision]
        mean = torch.tensor(preprocessing.mean).reshape(shape) * 255
        std = torch.tensor(preprocessing.std).reshape(shape) * 255
        self._mean, self._std = mean.to(runtime.device), std.to(runtime.device)
        self._dtype = dtype
        probe = np.zeros((1, *preprocessing.transform.crop_to, 3), np.uint8)
        dim = self._features(probe).shape[1]
        self.info = _dense_info(spec, fingerprint, runtime, dim)

    def encode(self, pixels: UInt8[np.ndarray, "b h w c"]) -> Float[np.ndarray, "b d"]:
        """One vector of unit length an image."""
        return self._runtime.stored(self._features(pixels))

    @torch.inference_mode()
    def _features(self, pixels: UInt8[np.ndarray, "b h w c"]) -> torch.Tensor:
        # uint8 crosses to the device: a quarter of the bytes of float32.
        images = torch.from_numpy(pixels).to(self._runtime.device, non_blocking=True)
        images = images.permute(0, 3, 1, 2)  # (b, 3, h, w), channels last in memory
        return self._forward(((images.float() - self._mean) / self._std).to(self._dtype))


class TorchTextEncoder(TextEncoder):
    """A text model of any library: `tokenize` pads a batch of titles, `forward` takes it."""

    is_parallel = True

    def __init__(
        self,
        spec: EncoderSpec,
        tokenize: Callable[[list[str]], Mapping[str, torch.Tensor]],
        forward: Callable[..., torch.Tensor],
        fingerprint: str,
        runtime: Runtime,
    ) -> None:
        self.name = spec.name
        self._tokenize, self._forward, self._runtime = tokenize, forward, runtime
        self.info = _dense_info(spec, fingerprint, runtime, self._features([""]).shape[1])

    def encode(self, titles: Sequence[str]) -> Float[np.ndarray, "b d"]:
        """One vector of unit length a title; titles of like length are padded together."""
        order = sorted(range(len(titles)), key=lambda row: len(titles[row]))
        batches = [order[i : i + TITLES_PER_BATCH] for i in range(0, len(order), TITLES_PER_BATCH)]
        vectors = [
            self._runtime.stored(self._features([titles[row] for row in batch]))
            for batch in batches
        ]
        joined = np.concatenate(vectors)
        result = np.empty_like(joined)
        result[order] = joined
        return result

    @torch.inference_mode()
    def _features(self, titles: list[str]) -> torch.Tensor:
        tokens = self._tokenize(titles)
        return self._forward(
            **{key: value.to(self._runtime.device) for key, value in tokens.items()}
        )


def fingerprint_of(
    settings: Mapping[str, Any], weights: Iterable[tuple[str, torch.Tensor]], precision: str
) -> str:
    """A 128-bit hash (hex) of everything that changes the numbers: settings, weights, precision."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([settings, precision], sort_keys=True, default=str).encode())
    for name, tensor in sorted(weights, key=lambda item: item[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def require_file(path: Path, spec: EncoderSpec) -> Path:
    """The path of a weights file.

    Raises:
        EncoderError: there is no such file.
    """
    if not path.is_file():
        raise EncoderError(f"encoder '{spec.text}': no weights file at {path}")
    return path


def _bytes_of(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


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
