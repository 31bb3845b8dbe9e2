"""The transformers library's image processors in our words; what is not understood is refused."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from embed.encoders.specs import EncoderSpec
from embed.encoders.torch_encoders import Preprocessing
from embed.errors import EncoderError
from embed.images import ImageTransform, Interpolation, ResizeMode

# Pillow's numbers for its filters, as image processors keep them.
INTERPOLATIONS: Mapping[int, Interpolation] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}
PLAIN = {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_pad": False}
# From this size on, processors with crop_pct squash the image instead of cropping it.
SQUASHED_FROM_PIXELS = 384
# Pillow and torchvision resize a gradient to within this of each other; a wrong crop is further.
TOLERANCE_LEVELS = 8


def read_preprocessing(processor: Any, spec: EncoderSpec) -> Preprocessing:
    """The processor's resize, crop, mean and std, checked on one image against its own pixels.

    Raises:
        EncoderError: the processor does anything else.
    """
    _require_plain(processor, spec)
    mean, std = (tuple(map(float, getattr(processor, f"image_{key}"))) for key in ("mean", "std"))
    preprocessing = Preprocessing(_transform(processor, spec), mean, std)  # type: ignore[arg-type]
    _require_same_pixels(preprocessing, processor, spec)
    return preprocessing


def _require_plain(processor: Any, spec: EncoderSpec) -> None:
    for setting, expected in PLAIN.items():
        found = getattr(processor, setting, expected)
        if bool(found) != expected:
            raise _refusal(spec, f"{setting} {str(expected).lower()}", found)
    factor = getattr(processor, "rescale_factor", 1 / 255)
    if not math.isclose(factor, 1 / 255, rel_tol=1e-4):
        raise _refusal(spec, "rescale_factor 1/255", factor)
    for setting in ("image_mean", "image_std"):
        found = getattr(processor, setting, None)
        if not isinstance(found, list | tuple) or len(found) != 3:
            raise _refusal(spec, f"{setting} of three numbers", found)
    if getattr(processor, "resample", None) not in INTERPOLATIONS:
        raise _refusal(spec, "resample from 0 to 5", getattr(processor, "resample", None))


def _transform(processor: Any, spec: EncoderSpec) -> ImageTransform:
    size = dict(processor.size)
    edge = size.get("shortest_edge")
    height, width = (edge, edge) if edge else (size.get("height"), size.get("width"))
    if not (height and width):
        raise _refusal(spec, "size of shortest_edge, or of height and width", size)
    interpolation = INTERPOLATIONS[int(processor.resample)]
    crop_pct = getattr(processor, "crop_pct", None)
    if edge and crop_pct:
        if edge >= SQUASHED_FROM_PIXELS:
            return ImageTransform((edge, edge), (edge, edge), "squash", interpolation)
        resized = int(edge / crop_pct)
        return ImageTransform(
            (resized, resized), (edge, edge), "shortest", interpolation, crop_rounding="down"
        )
    crop = dict(processor.crop_size) if getattr(processor, "do_center_crop", False) else None
    crop_to = (crop["height"], crop["width"]) if crop else (height, width)
    mode: ResizeMode = "shortest" if edge else "squash"
    return ImageTransform((height, width), crop_to, mode, interpolation, crop_rounding="down")


def _require_same_pixels(preprocessing: Preprocessing, processor: Any, spec: EncoderSpec) -> None:
    """Processors have settings and steps of their own: their own pixels tell of them all."""
    probe = Image.fromarray(_gradients())
    theirs = np.asarray(processor(images=probe, return_tensors="np")["pixel_values"][0])
    ours = preprocessing.transform.apply(probe)
    name = type(processor).__name__
    if theirs.shape != (3, *ours.shape[:2]):
        raise EncoderError(
            f"encoder '{spec.text}': its {name} turns an image of 320 × 400 pixels into an array "
            f"of {theirs.shape}, its size and crop say {(3, *ours.shape[:2])}: not supported"
        )
    levels = (theirs.transpose(1, 2, 0) * preprocessing.std + preprocessing.mean) * 255
    difference = float(np.abs(levels - ours).max())
    if difference > TOLERANCE_LEVELS:
        raise EncoderError(
            f"encoder '{spec.text}': its {name} does more than resize, crop and normalise: its "
            f"pixels differ from that by {difference:.0f} of 255 levels: not supported"
        )


def _gradients() -> UInt8[np.ndarray, "h w 3"]:
    """Red from left to right, green from top to bottom, blue back: every shift and flip shows."""
    down, across = np.meshgrid(np.linspace(0, 255, 400), np.linspace(0, 255, 320), indexing="ij")
    return np.stack([across, down, 255 - (across + down) / 2], axis=-1).astype(np.uint8)


def _refusal(spec: EncoderSpec, expected: str, found: object) -> EncoderError:
    return EncoderError(
        f"encoder '{spec.text}': its image processor should have {expected}, found {found}: "
        f"other preprocessing is not supported"
    )
