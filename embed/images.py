"""From the bytes of an image file to the pixels that an encoder takes: what each step means.

`embed.decoding` takes the same steps faster, and is measured against the ones here.
"""

import importlib.util
import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

from embed.errors import ImageError
from embed.jpeg import check_scans

# Photographs of more than 100 megapixels are rarer than files made to fill a machine's memory.
# Reading one takes up to 20 bytes a pixel for a moment.
MAX_PIXELS = 100_000_000
# Goes up whenever `read_pixels` gives other pixels than before, be it by a level.
PIXELS_VERSION = 2
_ALWAYS = frozenset((".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"))
_AVIF_SUFFIXES = frozenset((".avif",))
_HEIF_SUFFIXES = frozenset((".heic", ".heif"))
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_HEIF_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)
# The decoders and the readers of EXIF raise any of these for damaged files.
_DAMAGED = (
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, ArithmeticError, struct.error),
    *(LookupError, AttributeError, AssertionError, RuntimeError, zlib.error, Warning),
)
_READERS = re.compile(r"(PIL|pillow_heif)\.")
_WITH_ALPHA = frozenset(("RGBA", "LA", "PA", "RGBa", "La"))
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# All grey levels of 16 bits in 8: Pillow's own conversion cuts everything above 255 off.
_FROM_16_BIT = np.rint(np.arange(65536) / 257).astype(np.uint8)
# A resized image this many times as large as its crop is not made: only the crop is.
_MOST_SURPLUS = 16

ResizeMode = Literal["shortest", "longest", "squash"]
Fill = tuple[int, int, int]
Rounding = Literal["nearest", "down"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]


def _readable_suffixes() -> frozenset[str]:
    """The suffixes of what can be read here; nothing is imported to find out."""
    avif = importlib.util.find_spec("PIL._avif") is not None
    heif = importlib.util.find_spec("pillow_heif") is not None
    return _ALWAYS | (_AVIF_SUFFIXES if avif else set()) | (_HEIF_SUFFIXES if heif else set())


SUFFIXES = _readable_suffixes()


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
        """Pixels of the resized and cropped image, (height, width, channels), contiguous."""
        if image.mode != self.color:
            image = image.convert(self.color)
        size, box = self.resized_size(*image.size), None
        if self.is_mostly_cut_off(*image.size):
            size, box = self._crop_alone(*image.size)
        resized = image.resize(size, Image.Resampling[self.interpolation.upper()], box)
        return self.crop(np.asarray(resized).reshape(resized.height, resized.width, -1))

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
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

    def is_mostly_cut_off(self, width: int, height: int) -> bool:
        """Whether the resized image is very much larger than the crop: an image like a thread.

        Of 60,000 × 1 pixels, `shortest` would make 9 gigabytes to keep a square of them.
        """
        resized_width, resized_height = self.resized_size(width, height)
        area = max(1, self.crop_to[0] * self.crop_to[1])
        return resized_width * resized_height > _MOST_SURPLUS * area

    def crop(self, pixels: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "to_h to_w c"]:
        """The centre of resized pixels, padded with `fill` where they are smaller; contiguous."""
        height, width, channels = pixels.shape
        rows, onto_rows = self._overlap(height, self.crop_to[0])
        columns, onto_columns = self._overlap(width, self.crop_to[1])
        centre = pixels[rows, columns]
        if centre.shape[:2] == self.crop_to:
            return np.ascontiguousarray(centre)
        canvas = np.empty((*self.crop_to, channels), np.uint8)
        canvas[:] = self.fill[:channels]
        canvas[onto_rows, onto_columns] = centre
        return canvas

    def _overlap(self, length: int, wanted: int) -> tuple[slice, slice]:
        """Which part of an edge is kept, and where in the crop it goes."""
        offset, kept = self._offset(length, wanted), min(length, wanted)
        start, onto = max(0, offset), max(0, -offset)
        return slice(start, start + kept), slice(onto, onto + kept)

    def _crop_alone(
        self, width: int, height: int
    ) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
        """The (width, height) of what the crop keeps, and the box of the image that it is from."""
        resized_width, resized_height = self.resized_size(width, height)
        rows, _ = self._overlap(resized_height, self.crop_to[0])
        columns, _ = self._overlap(resized_width, self.crop_to[1])
        across, down = width / resized_width, height / resized_height
        box = (columns.start * across, rows.start * down, columns.stop * across, rows.stop * down)
        return (columns.stop - columns.start, rows.stop - rows.start), box

    def _offset(self, length: int, wanted: int) -> int:
        """Where the centre part begins; negative where there is less than wanted."""
        if length < wanted:
            return -((wanted - length) // 2)
        margin = length - wanted
        return margin // 2 if self.crop_rounding == "down" else round(margin / 2)


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image as it is meant to be seen: RGB, 8 bits, upright, transparency laid onto white.

    Of an animation or a document of several pages, the first is taken.

    Raises:
        ImageError: no bytes, not an image of a known format, truncated, corrupt, or too large.
    """
    with open_image(data, max_pixels) as image:
        return _upright_rgb(image)


def decode_reduced(data: bytes, longest_edge: int, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The same image to look at, no longer than that in either direction, never enlarged.

    Raises:
        ImageError: as `decode_image`.
    """
    with open_image(data, max_pixels) as image:
        image.draft(None, (longest_edge, longest_edge))  # JPEG alone: at a fraction of its size
        reduced = _upright_rgb(image)
        reduced.thumbnail((longest_edge, longest_edge), Image.Resampling.LANCZOS)
        return reduced


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.load()
    method = _TO_UPRIGHT.get(orientation_of(image))
    return as_rgb(image if method is None else image.transpose(method))


@contextmanager
def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """An image of which only the header has been read, and found to promise no harm.

    Whatever decoders raise inside the block is an ImageError outside.

    Raises:
        ImageError: no bytes, not an image of a known format, too large, too many scans, or damaged.
    """
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    _ignore_odd_metadata()
    try:
        with Image.open(io.BytesIO(data), formats=_formats(data)) as image:
            _check_size(image, max_pixels)
            if image.format in ("JPEG", "MPO"):
                check_scans(data, image, max_pixels)
            yield image
    except UnidentifiedImageError:
        raise ImageError(_why_unknown(data)) from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"too many pixels: {error}") from error
    except MemoryError as error:
        raise ImageError("damaged, or larger than the memory that is free") from error
    except _DAMAGED as error:
        raise ImageError(f"damaged: {error or type(error).__name__}") from error


def orientation_of(image: Image.Image) -> int:
    """1 to 8, as EXIF numbers them; 1, upright, where that is not known or the EXIF is damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(orientation) if orientation in _TO_UPRIGHT else 1
    except _DAMAGED:
        return 1


def as_rgb(image: Image.Image) -> Image.Image:
    """A loaded image in RGB of 8 bits, transparency laid onto white."""
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    if image.mode == "F":
        raise ImageError("32-bit floating-point pixels: their range is not known")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to RGB."""
    levels = np.asarray(image)
    grey = _FROM_16_BIT[np.clip(levels, 0, 65535)]
    if "transparency" in image.info:  # one level that counts as transparent
        grey[levels == image.info["transparency"]] = 255
    return Image.fromarray(grey).convert("RGB")


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        size = f"{image.width} × {image.height}"
        raise ImageError(f"too many pixels: {size}, more than the {max_pixels:,} allowed")


def _ignore_odd_metadata() -> None:
    """Keep Pillow's warnings from callers that turn warnings into errors.

    Not by `catch_warnings`: filters belong to all threads, so that one thread would end another's.
    """
    if not warnings.filters or warnings.filters[0][:4] != ("ignore", None, Warning, _READERS):
        warnings.filterwarnings("ignore", module=_READERS.pattern)


def _formats(data: bytes) -> tuple[str, ...]:
    """What the file may be; AVIF and HEIF, which begin alike, only where a reader is installed."""
    if data[4:8] != b"ftyp":
        return _FORMATS
    avif = ("AVIF",) if ".avif" in SUFFIXES else ()
    return (*avif, "HEIF") if _is_heif(data) and register_heif() else avif or _FORMATS


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


@cache
def register_heif() -> bool:
    """Whether pillow-heif is there and works; teaches Pillow the format the first time."""
    try:
        import pillow_heif
    except (ImportError, OSError):  # not installed, or a library that it needs is missing
        return False
    pillow_heif.options.DECODE_THREADS = 1  # the threads that read images are one a core already
    pillow_heif.register_heif_opener()
    return True


def _why_unknown(data: bytes) -> str:
    if _is_heif(data) and not register_heif():
        return "a HEIC image, which needs pillow-heif: pip install pillow-heif"
    if data[4:12] in (b"ftypavif", b"ftypavis") and ".avif" not in SUFFIXES:
        return "an AVIF image, which this Pillow can't read: pip install --upgrade pillow"
    known = ["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"]
    known += ["AVIF"] * (".avif" in SUFFIXES) + ["HEIC"] * (".heic" in SUFFIXES)
    return f"not a {', '.join(known[:-1])} or {known[-1]} image"
