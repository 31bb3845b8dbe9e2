"""From the bytes of an image file to the pixels of every encoder, in the fewest steps.

One decode, and one resize for each distinct size. The result is that of `decode_image` and
`ImageTransform.apply` within three levels of 255, and within five where a large photograph was
decoded at a fraction of its size; damaged JPEG files that Pillow fills up with grey are refused.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from embed.images import (
    MAX_PIXELS,
    ImageTransform,
    Interpolation,
    as_rgb,
    open_image,
    orientation_of,
)
from embed.jpeg import decode_jpeg
from embed.resizing import resize

# How far a large photograph may be reduced while it is decoded: both edges stay at least this many
# times as long as after the resize, and 512 pixels. Measured against full decoding on photographs
# enlarged to 1900 to 4100 px, with grain and with fine texture of other pictures laid over them, in
# all modes, as the lowest cosine of fp32 embeddings of a trained MobileNetV2 at 224 px. (A ViT-B-32
# of random weights stays above .99999.)
#   times    2        3        4
#   lowest   .99941   .99943   .99977
# Inputs of 64 px, from photographs of 640 px at half their size, came to .9994: hence the 512 px.
# The fraction of a pixel that rounding up adds must be counted in; without it, the lowest at 3
# times is .9986.
_SURPLUS = 4
_LEAST_EDGE = 512


@dataclass(frozen=True)
class _Resize:
    """What decides a resize; transforms that agree in it share its result."""

    size: tuple[int, int]
    interpolation: Interpolation
    color: str


def read_pixels(
    data: bytes, transforms: Collection[ImageTransform], max_pixels: int = MAX_PIXELS
) -> dict[ImageTransform, UInt8[np.ndarray, "h w c"]]:
    """The pixels that each transform makes of an image file: (height, width, channels), contiguous.

    May be called from many threads at once. Pillow refuses more than 179 million pixels by itself,
    whatever `max_pixels`.

    Raises:
        ImageError: no bytes, not an image of a known format, truncated, corrupt, or too large.
    """
    with open_image(data, max_pixels) as image:
        picture = _decode(image, data, transforms)
    return {transform: picture.transformed(transform) for transform in transforms}


@dataclass(frozen=True)
class _Picture:
    """Decoded pixels as they lie in the file: maybe turned, maybe of a fraction of the size.

    `size` is the whole (width, height), as it lies in the file.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    size: tuple[int, int]
    orientation: int
    divisor: int = 1
    _resized: dict[_Resize, UInt8[np.ndarray, "h w c"]] = field(default_factory=dict)

    def transformed(self, transform: ImageTransform) -> UInt8[np.ndarray, "to_h to_w c"]:
        if _needs_all_pixels(transform, self.size, self.orientation):
            return transform.apply(Image.fromarray(_upright(self.pixels, self.orientation)))
        size = _turned(
            transform.resized_size(*_turned(self.size, self.orientation)), self.orientation
        )
        step = _Resize(size, transform.interpolation, transform.color)
        if step not in self._resized:
            self._resized[step] = self._resize(step)
        return transform.crop(self._resized[step])

    def _resize(self, step: _Resize) -> UInt8[np.ndarray, "to_h to_w c"]:
        """Resized first and turned then, since the fewer pixels are turned the better."""
        pixels = self.pixels if step.color == "RGB" else _grey(self.pixels)
        extent = (self.size[0] / self.divisor, self.size[1] / self.divisor)
        if self.orientation >= 5:
            # What will be rows is resized first, as it is in a picture that was turned before: each
            # pass cuts off what is below 0 and above 255, so that the order can be seen at edges.
            width, height = pixels.shape[1], step.size[1]
            extent, then = (float(width), extent[1]), (extent[0], float(height))
            pixels = resize(pixels, (width, height), step.interpolation, extent)
            extent = then
        return _upright(resize(pixels, step.size, step.interpolation, extent), self.orientation)


def _decode(image: Image.Image, data: bytes, transforms: Collection[ImageTransform]) -> _Picture:
    if image.format in ("JPEG", "MPO"):
        size, orientation = image.size, orientation_of(image)
        divisor = _divisor(transforms, size, orientation)
        pixels = decode_jpeg(data, image.mode, size, divisor)
        if pixels is not None:
            return _Picture(pixels, size, orientation, divisor)
    image.load()
    # A copy, since torch warns of arrays that can't be written to.
    return _Picture(np.array(as_rgb(image)), image.size, orientation_of(image))


def _divisor(
    transforms: Collection[ImageTransform], size: tuple[int, int], orientation: int
) -> int:
    """The largest of 8, 4 and 2 that leaves all transforms as many pixels as they should have.

    libjpeg-turbo also knows other fractions, but has vector code for these alone: 3/8 takes longer
    than 1/2.
    """
    if any(_needs_all_pixels(transform, size, orientation) for transform in transforms):
        return 1
    if any(transform.color == "L" for transform in transforms):
        return 1  # of hashes: a bit of theirs may turn where a vector hardly moves
    upright = _turned(size, orientation)
    needed = [transform.resized_size(*upright) for transform in transforms]
    width = max([_LEAST_EDGE, *(_SURPLUS * resized[0] for resized in needed)])
    height = max([_LEAST_EDGE, *(_SURPLUS * resized[1] for resized in needed)])
    room = min(upright[0] / width, upright[1] / height)
    return next((divisor for divisor in (8, 4, 2) if divisor <= room), 1)


def _needs_all_pixels(transform: ImageTransform, size: tuple[int, int], orientation: int) -> bool:
    """Whether only Pillow's own way will do: pixels are picked, or only a part is resized."""
    upright = _turned(size, orientation)
    return transform.interpolation == "nearest" or transform.is_mostly_cut_off(*upright)


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(width, height) after a turn by that orientation; from 5 on, it swaps the axes."""
    return (size[1], size[0]) if orientation >= 5 else size


def _upright(
    pixels: UInt8[np.ndarray, "h w c"], orientation: int
) -> UInt8[np.ndarray, "to_h to_w c"]:
    """A view of the pixels as EXIF says that they are to be seen."""
    turned = pixels.transpose(1, 0, 2) if orientation >= 5 else pixels
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return turned[rows, columns]


def _grey(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 1"]:
    return np.array(Image.fromarray(pixels).convert("L"))[..., None]
