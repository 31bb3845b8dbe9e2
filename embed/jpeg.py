"""JPEG through libjpeg-turbo itself: faster than through Pillow, and stricter with damaged files.

Pillow uses the same library with the same settings, so that the pixels are the same to the last
bit; but it keeps its pixels in rows of four bytes, which have to be copied twice, and says nothing
of warnings.
"""

import re

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from embed.errors import ImageError

# Real encoders write at most some tens of scans.
MOST_SCANS = 500
# Every scan goes over all pixels again. 20 scans of the largest image, 2.5 s, are the most.
_SCANS_OF_THE_LARGEST = 20
_SCAN, _START, _END = 0xDA, 0xD8, 0xD9
# A marker, but none of those inside entropy-coded data: a stuffed 0xFF and the restarts.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
# What libjpeg-turbo says where pixels are lost, and Pillow shows grey in their place. Of files that
# just end it says something else: there Pillow knows best whether all pixels had come.
_LOST_PIXELS = re.compile(
    "premature end of data|bad Huffman code|bad arithmetic code|instead of RST"
)


def check_scans(data: bytes, image: Image.Image, max_pixels: int) -> None:
    """Refuse a file whose scans are so many that decoding would take minutes.

    Raises:
        ImageError: more than MOST_SCANS, or more work than 20 scans of `max_pixels`.
    """
    pixels = max(1, image.width * image.height)
    allowed = min(MOST_SCANS, max(1, _SCANS_OF_THE_LARGEST * max_pixels // pixels))
    whole = None if "progressive" in image.info else len(image.getbands())
    if _count_scans(data, allowed, whole) > allowed:
        raise ImageError(
            f"more than {allowed} scans of {image.width} × {image.height} pixels: "
            "a file made to take long, or damaged"
        )


def _count_scans(data: bytes, enough: int, whole: int | None) -> int:
    """How many scans libjpeg would go through; it stops counting past `enough`.

    `whole` is how many components a scan must have to be the only one of a sequential file.
    """
    num_scans, position = 0, 2
    while num_scans <= enough and (found := _MARKER.search(data, position)):
        marker, position = data[found.end() - 1], found.end()
        if marker == _END:
            break
        if marker == _SCAN:
            num_scans += 1
            if data[position + 2 : position + 3] == bytes((whole or 0,)):
                break
        if marker != _START:
            position += int.from_bytes(data[position : position + 2])
    return num_scans


def decode_jpeg(
    data: bytes, mode: str, size: tuple[int, int], divisor: int
) -> UInt8[np.ndarray, "h w 3"] | None:
    """RGB pixels as they are stored (not turned upright); None where Pillow is to decide.

    `mode` and `size`, (width, height), are what Pillow read from the header. `divisor` is 1, 2, 4
    or 8: both edges are divided by it, and rounded up, while decoding.

    Raises:
        ImageError: truncated, or so corrupt that pixels are lost.
    """
    import simplejpeg

    smallest = (-(-size[1] // divisor), -(-size[0] // divisor))
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        if (width, height) != size:
            return None
        pixels: UInt8[np.ndarray, "h w c"] = simplejpeg.decode_jpeg(
            data,
            "CMYK" if mode == "CMYK" else "RGB",
            min_height=smallest[0] if divisor > 1 else 0,
            min_width=smallest[1] if divisor > 1 else 0,
            min_factor=2.0 if divisor > 1 else 1.0,
        )
    except ValueError as error:
        if _LOST_PIXELS.search(str(error)):
            raise ImageError(f"damaged: {error}") from error
        return None
    if pixels.shape[:2] != smallest:
        return None
    return _from_cmyk(pixels) if mode == "CMYK" else pixels


def _from_cmyk(pixels: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
    """RGB as Pillow makes it, which takes all CMYK files for Adobe's: inverted."""
    size = (pixels.shape[1], pixels.shape[0])
    image = Image.frombuffer("CMYK", size, pixels, "raw", "CMYK;I", 0, 1)
    return np.array(image.convert("RGB"))
