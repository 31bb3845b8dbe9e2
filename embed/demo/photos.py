"""The camera of the demonstration catalogue: one product's picture in many different photos."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageFilter

from embed.demo.scenes import Pixels, Size, draw_home, draw_studio

BILINEAR = Image.Resampling.BILINEAR

# (width, height) in pixels: square, and the upright and lying formats that phones and shops use.
SIZES: tuple[Size, ...] = ((256, 256), (240, 300), (224, 288), (300, 240), (288, 224), (272, 256))


@dataclass(frozen=True)
class Care:
    """How careful a photographer is: what each random draw for a photo is bounded by."""

    scale: tuple[float, float]  # the product square's side over the photo's short side
    shift: float  # of the product's centre, in sides of the photo
    rotation_degrees: float  # standard deviation
    shear: float
    foreshortening: tuple[float, float]  # width over height, as the camera walks round
    mirrored: float  # share of photos taken from the other side
    exposure_stops: tuple[float, float]
    cast: float  # of each colour channel
    gradient: float  # of light, from one side of the photo to the other
    saturation: tuple[float, float]
    blur_pixels: tuple[float, float]
    noise: float  # standard deviation, where white is 1
    quality: tuple[int, int]  # JPEG


SHOP_CARE = Care(
    scale=(0.88, 1.08),
    shift=0.04,
    rotation_degrees=3.0,
    shear=0.03,
    foreshortening=(0.9, 1.04),
    mirrored=0.2,
    exposure_stops=(-0.1, 0.25),
    cast=0.03,
    gradient=0.08,
    saturation=(0.85, 1.1),
    blur_pixels=(0.0, 0.7),
    noise=0.008,
    quality=(70, 95),
)
BUYER_CARE = Care(
    scale=(0.7, 1.15),
    shift=0.08,
    rotation_degrees=7.0,
    shear=0.09,
    foreshortening=(0.84, 1.06),
    mirrored=0.35,
    exposure_stops=(-0.65, 0.4),
    cast=0.09,
    gradient=0.28,
    saturation=(0.7, 1.15),
    blur_pixels=(0.2, 1.5),
    noise=0.025,
    quality=(38, 90),
)
SHOP_SHARE = 0.6  # of photos; the others are a buyer's snapshots at home


def take_photo(product_picture: Image.Image, generator: np.random.Generator) -> bytes:
    """A JPEG file of the product (a square RGBA picture) in a scene and a light of its own.

    The same picture and a generator in the same state give the same bytes.
    """
    size = SIZES[generator.integers(len(SIZES))]
    in_shop = generator.random() < SHOP_SHARE
    care = SHOP_CARE if in_shop else BUYER_CARE
    scene = draw_studio(size, generator) if in_shop else draw_home(size, generator)
    placed = _place(product_picture, size, generator, care)
    composed = _compose(scene, placed, generator)
    lit = _light(composed, size, generator, care)
    levels = np.rint(np.clip(lit, 0, 1) * 255).astype(np.uint8)
    photo = Image.fromarray(levels)
    photo = photo.filter(ImageFilter.GaussianBlur(float(generator.uniform(*care.blur_pixels))))
    low, high = care.quality
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=int(generator.integers(low, high + 1)))
    return buffer.getvalue()


def _place(
    picture: Image.Image, size: Size, generator: np.random.Generator, care: Care
) -> Image.Image:
    """The product's picture turned, scaled and moved into a transparent picture of `size`."""
    if generator.random() < care.mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    side = float(generator.uniform(*care.scale)) * min(size)
    forward = _view(side / picture.width, generator, care)
    centre = np.array(size) * (0.5 + generator.uniform(-1, 1, size=2) * care.shift)
    back = np.linalg.inv(forward)  # Pillow asks where each pixel of the result comes from
    start = np.array([picture.width, picture.height]) / 2 - back @ centre
    coefficients = (back[0, 0], back[0, 1], start[0], back[1, 0], back[1, 1], start[1])
    return picture.transform(
        size, Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BICUBIC
    )


def _view(scale: float, generator: np.random.Generator, care: Care) -> Float[np.ndarray, "2 2"]:
    """Product to photo: foreshortening and shear first, then rotation and scale."""
    angle = np.deg2rad(generator.normal(0, care.rotation_degrees))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = float(generator.uniform(-1, 1)) * care.shear
    width = float(generator.uniform(*care.foreshortening))
    return np.asarray(scale * rotation @ np.array([[width, 0.0], [shear, 1.0]]))


def _compose(scene: Pixels, product: Image.Image, generator: np.random.Generator) -> Pixels:
    """The product before the scene, with the soft shadow that it throws there."""
    straight = np.asarray(product, dtype=np.float32) / 255
    alpha = straight[:, :, 3:]
    shift_x, shift_y = generator.uniform((-14, 2), (14, 12)).tolist()
    # A shadow is soft: a quarter of the size is enough for it, and eight times as quick.
    small = product.getchannel("A").reduce(4)
    moved = small.transform(
        small.size, Image.Transform.AFFINE, (1, 0, -shift_x / 4, 0, 1, -shift_y / 4)
    )
    blurred = moved.filter(ImageFilter.GaussianBlur(float(generator.uniform(1.2, 2.5))))
    shadow = np.asarray(blurred.resize(product.size, BILINEAR), dtype=np.float32) / 255
    strength = float(generator.uniform(0.2, 0.5))
    darkened = scene * (1 - strength * shadow[:, :, None])
    return np.asarray(darkened * (1 - alpha) + straight[:, :, :3] * alpha)


def _light(photo: Pixels, size: Size, generator: np.random.Generator, care: Care) -> Pixels:
    """Exposure, colour cast, a gradient across the photo, saturation, and the sensor's noise."""
    width, height = size
    exposure = 2.0 ** generator.uniform(*care.exposure_stops)
    gains = (exposure * (1 + generator.uniform(-1, 1, 3) * care.cast)).astype(np.float32)
    angle = generator.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    slope = float(generator.uniform(0, care.gradient))
    gradient = 1 + slope * (float(np.cos(angle)) * x + float(np.sin(angle)) * y)
    grey = (photo[:, :, :1] + photo[:, :, 1:2] + photo[:, :, 2:]) / 3
    saturated = grey + (photo - grey) * float(generator.uniform(*care.saturation))
    noise = float(generator.uniform(0, care.noise))
    grain = generator.standard_normal((height, width, 1), dtype=np.float32) * noise
    return np.asarray(saturated * gradient * gains + grain)
