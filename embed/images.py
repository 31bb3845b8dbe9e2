"""From the bytes of an image file to the pixels that an encoder takes."""

import io
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from embed.errors import ImageError

SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"))
MAX_PIXELS = 100_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# Pillow's decoders and its reader of EXIF raise any of these for damaged files.
_DAMAGED = (
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, OverflowError, struct.error),
    *(KeyError, IndexError, AttributeError, ZeroDivisionError, MemoryError),
)
_WITH_ALPHA = frozenset(("RGBA", "LA", "PA", "RGBa", "La"))

ResizeMode = Literal["shortest", "longest", "squash"]
Fill = tuple[int, int, int]
Rounding = Literal["nearest", "down"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]


@dataclass(frozen=True)
class ImageTransform:
    """How an encoder wants its pixels: resize, then a crop from the centre (or padding to it).

    `shortest` scales the image until it covers `resize_to`, `longest` until it fits within it, and
    `squash` to exactly that, whatever the proportions. Sizes are (height, width) in pixels.
    Half a pixel of margin is rounded to the nearest even number, as torchvision does, or down, as
    transformers does. Encoders whose transforms are equal share one result.
    """

    resize_to: tuple[int, int]
    crop_to: tuple[int, int]
    mode: ResizeMode = "shortest"
    interpolation: Interpolation = "bicubic"
    fill: Fill = (0, 0, 0)
    color: Literal["RGB", "L"] = "RGB"
    crop_rounding: Rounding = "nearest"

    def apply(self, image: Image.Image) -> UInt8[np.ndarray, "h w c"]:
        """Pixels of the resized and cropped image, (height, width, channels)."""
        image = image.convert(self.color)
        width, height = self._resized_size(image.width, image.height)
        resized = image.resize((width, height), Image.Resampling[self.interpolation.upper()])
        return np.asarray(self._crop_or_pad(resized)).reshape(*self.crop_to, -1)

    def _resized_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after the resize, rounded as torchvision and open_clip round."""
        to_height, to_width = self.resize_to
        if self.mode == "squash":
            return to_width, to_height
        if self.mode == "shortest" and to_height == to_width:
            # torchvision's Resize(size): the longer edge is cut off, not rounded.
            if width <= height:
                return to_width, int(to_width * height / width)
            return int(to_height * width / height), to_height
        ratios = (height / to_height, width / to_width)
        ratio = max(ratios) if self.mode == "longest" else min(ratios)
        return max(1, round(width / ratio)), max(1, round(height / ratio))

    def _crop_or_pad(self, image: Image.Image) -> Image.Image:
        """The centre of the image, padded with `fill` where it is smaller."""
        height, width = self.crop_to
        if (image.height, image.width) == self.crop_to:
            return image
        fill = self.fill if image.mode == "RGB" else self.fill[0]
        canvas = Image.new(image.mode, (width, height), fill)
        left, top = self._offset(image.width, width), self._offset(image.height, height)
        canvas.paste(image, (-left, -top))
        return canvas

    def _offset(self, length: int, wanted: int) -> int:
        """Where the centre part begins; negative where there is less than wanted."""
        if length < wanted:
            return -((wanted - length) // 2)
        margin = length - wanted
        return margin // 2 if self.crop_rounding == "down" else round(margin / 2)


def decode_image(data: bytes) -> Image.Image:
    """The image as it is meant to be seen: RGB, 8 bits, upright, transparency laid onto white.

    Of an animation or a document of several pages, the first is taken.

    Raises:
        ImageError: no bytes, not an image of a known format, truncated, corrupt, or too large.
    """
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            image.load()
            return _as_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise ImageError("not a JPEG, PNG, WebP, GIF, BMP or TIFF image") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"too many pixels: {error}") from error
    except _DAMAGED as error:
        raise ImageError(f"damaged: {error}") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    if image.mode == "F":
        raise ImageError("32-bit floating-point pixels: their range is not known")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to RGB; Pillow's own conversion cuts everything above 255 off."""
    levels = np.clip(np.asarray(image).astype(np.float32) / 257, 0, 255)
    if "transparency" in image.info:  # one level that counts as transparent
        levels[np.asarray(image) == image.info["transparency"]] = 255
    return Image.fromarray(np.rint(levels).astype(np.uint8)).convert("RGB")
