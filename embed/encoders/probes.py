"""Drawn images and written titles on which an encoder's precision is tried before its first batch.

They stand for a catalogue's own, which may be far away or not there yet when an encoder is loaded.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

NUM_IMAGES = 8
COARSEST_CELLS = 3
OBJECTS_PER_IMAGE = 3
CONTRAST_LEVELS = 60.0

TITLES = (
    "",
    "mug",
    "Ceramic coffee mug, 350 ml, blue",
    "Sony DSC-W120 7.2MP digital camera with 4x optical zoom (pink)",
    "USB-C to HDMI adapter 4K@60Hz - braided cable 1.8 m / 6 ft",
    "Organic whole milk 3.5 % fat 1 l",
    "Men's running shoes size 42 EU red/black breathable mesh lightweight trainers for the road",
    "HP 564XL black ink cartridge CB321WN#140",
    "LEGO 10281 Bonsai Tree",
    "Küchenmaschine mit Edelstahlschüssel 5,5 Liter, 1200 W",
    "3-pack cotton crew-neck t-shirts, white, large, machine washable, tagless, pre-shrunk, unisex",
    "iphone case",
    "Garmin nüvi 260W 4.3-inch widescreen portable GPS navigator, refurbished, with car charger",
    "12345-678/AB",
    "Stainless steel refrigerator 25.4 cu. ft. side by side with ice and water dispenser in door",
    "the lord of the rings: the fellowship of the ring (extended edition) [blu-ray] 2001",
)


def draw_photographs(height: int, width: int) -> UInt8[np.ndarray, "n h w 3"]:
    """Pictures with the statistics of photographs: the same ones in every run.

    Noise whose amplitude falls with its frequency, as in natural images (Field, J. Opt. Soc. Am. A
    4, 1987), mostly grey, with a few smooth objects whose edges are sharp.
    """
    generator = np.random.default_rng(0)
    return np.stack([_draw(generator, height, width) for _ in range(NUM_IMAGES)])


def _draw(generator: np.random.Generator, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    canvas = np.zeros((height, width, 3), np.float32)
    cells = COARSEST_CELLS
    while cells < max(height, width):
        canvas += _noise(generator, cells, height, width) * COARSEST_CELLS / cells
        cells *= 2
    for inside in _ellipses(generator, height, width):
        color = generator.normal(size=3).astype(np.float32)
        canvas[inside] = canvas[inside] / 2 + color
    brightness = generator.uniform(90, 150)
    levels = (canvas - canvas.mean()) / canvas.std() * CONTRAST_LEVELS + brightness
    return np.asarray(np.clip(levels, 0, 255), np.uint8)


def _noise(
    generator: np.random.Generator, cells: int, height: int, width: int
) -> Float[np.ndarray, "h w 3"]:
    """Smooth noise of that many cells across; the channels go together for the most part."""
    coarse = generator.normal(size=(cells, cells, 3)).astype(np.float32)
    coarse = 0.4 * coarse + coarse.mean(axis=2, keepdims=True)
    channels = [Image.fromarray(np.ascontiguousarray(coarse[..., index])) for index in range(3)]
    size = (width, height)
    return np.stack([np.asarray(c.resize(size, Image.Resampling.BICUBIC)) for c in channels], -1)


def _ellipses(
    generator: np.random.Generator, height: int, width: int
) -> Iterator[Bool[np.ndarray, "h w"]]:
    down, across = np.mgrid[0:height, 0:width]
    for _ in range(OBJECTS_PER_IMAGE):
        centre = generator.uniform(0.2, 0.8, 2) * (height, width)
        radii = generator.uniform(0.1, 0.3, 2) * (height, width)
        yield ((down - centre[0]) / radii[0]) ** 2 + ((across - centre[1]) / radii[1]) ** 2 < 1
