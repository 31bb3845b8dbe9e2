"""Where the encoders that run on torch run, and in which precision."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from embed.devices import choose_device, has_bf16_units
from embed.encoders.base import unit_length
from embed.errors import EncoderError, SettingsError

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@dataclass(frozen=True)
class Runtime:
    """Where models run, and in which precision; `or_bf16` leaves that open until a probe tells."""

    device: torch.device
    precision: Precision
    or_bf16: bool = False

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto") -> "Runtime":
        """Resolve `auto`: a GPU where there is one, in fp16; otherwise the CPU.

        On a GPU not bf16, whose 8 significant bits cost more: the least cosine with fp32 of
        mobilenetv2_100 was .99856 in bf16 and .99987 in fp16. What fp16's range can't hold,
        `stored` refuses. On a CPU, where bf16 units more than double the speed, each encoder is
        probed (`precision.settle`); without such units it is fp32.

        Raises:
            SettingsError: a device that this machine lacks, or an unknown precision.
        """
        found = choose_device(device)
        or_bf16 = precision == "auto" and found.type == "cpu" and has_bf16_units()
        if precision == "auto":
            precision = "fp16" if found.type == "cuda" else "fp32"
        if precision not in DTYPES:
            raise SettingsError(f"--precision is auto, {', '.join(DTYPES)}: found '{precision}'")
        return cls(found, precision, or_bf16)  # type: ignore[arg-type]  # checked above

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
