"""Flat-shaded drawing for the demonstration catalogue: patterns, light, and layers.

A picture is built from back to front: each layer is an outline filled with a surface, and drops a
soft shadow on what is already there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

from embed.demo.outlines import SIDE, Corners, Points, filled, stroked
from embed.demo.products import RGB, Product

Plane = Float[np.ndarray, "height width"]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def _soft(value: Plane, sharpness: float = 6.0) -> Plane:
    """A step at zero, soft enough that no staircase shows."""
    return np.asarray(np.clip(0.5 + sharpness * value, 0, 1))


def _dots(x: Plane, y: Plane) -> Plane:
    row = np.floor(y)
    offset_x = (x + 0.5 * (row % 2)) % 1 - 0.5
    offset_y = y % 1 - 0.5
    return _soft(0.3 - np.hypot(offset_x, offset_y), 12.0)


def _checks(x: Plane, y: Plane) -> Plane:
    """Gingham: full colour where a column crosses a row, half where only one of them passes."""
    columns, rows = _soft(np.sin(2 * np.pi * x), 3.0), _soft(np.sin(2 * np.pi * y), 3.0)
    return np.asarray((columns + rows) / 2)


# Share of the accent colour, 0 to 1, at (x, y) counted in repeats of the pattern.
PATTERN_SHARES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "stripes": lambda x, y: _soft(np.sin(2 * np.pi * y), 3.0) + 0 * x,
    "pinstripes": lambda x, y: _soft(np.cos(2 * np.pi * x * 1.4) - 0.7, 4.0) + 0 * y,
    "dots": _dots,
    "checks": _checks,
    "zigzag": lambda x, y: _soft(np.sin(2 * np.pi * (y + 0.5 * np.abs((x % 1) - 0.5))), 3.0),
}

# Brightness at (u, v), each from -1 to 1 across the layer's own box; the light is at the top left.
SHADES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "flat": lambda u, v: 1.03 - 0.07 * v - 0.03 * u,
    "cylinder": lambda u, v: 0.6 + 0.5 * np.cos(1.25 * (u + 0.25)) - 0.03 * v,
    "gloss": lambda u, v: (
        0.58 + 0.5 * np.cos(1.3 * (u + 0.2)) + 0.45 * np.exp(-(((u + 0.55) / 0.11) ** 2)) - 0.03 * v
    ),
    "ball": lambda u, v: 1.12 - 0.22 * ((u + 0.25) ** 2 + (v + 0.3) ** 2),
    "cloth": lambda u, v: (
        1.0
        - 0.06 * v
        + 0.05 * np.sin(5 * u + 2.2 * v + 1.2 * np.sin(2.5 * v))
        + 0.03 * np.sin(11 * u - 4 * v)
    ),
    "glow": lambda u, v: 0.86 + 0.34 * np.exp(-(u**2) * 1.6 - (v - 0.5) ** 2),
}
ROUND_SHADES = ("cylinder", "gloss", "glow")  # of bodies that a pattern runs round


@dataclass(frozen=True)
class Surface:
    """What an outline is filled with; `frequency` is repeats of the pattern across the square."""

    colour: RGB
    accent: RGB = (255, 255, 255)
    pattern: str = "plain"
    frequency: float = 11.0
    shade: str = "flat"


class Canvas:
    """A SIDE x SIDE picture with transparency that is painted on from back to front."""

    def __init__(self) -> None:
        # Premultiplied by alpha: a layer goes over another by one multiplication and one addition.
        self._colour = np.zeros((SIDE, SIDE, 3), dtype=np.float32)
        self._alpha = np.zeros((SIDE, SIDE, 1), dtype=np.float32)

    def paint(self, mask: Image.Image, surface: Surface, shadow: float = 0.3) -> None:
        """Lay the surface over the picture where the mask is; `shadow` darkens what is under it."""
        box = mask.getbbox()
        if box is None:
            return
        left, top, right, bottom = box
        area = np.s_[top:bottom, left:right]
        if shadow > 0:
            self._drop_shadow(mask, box, shadow)
        cropped = mask.crop(box)
        share = _as_plane(cropped)[:, :, None]
        colour = _surface_colour(surface, box) * _bevel(mask, box)[:, :, None]
        self._colour[area] = np.clip(colour, 0, 1) * share + self._colour[area] * (1 - share)
        self._alpha[area] = share + self._alpha[area] * (1 - share)

    def _drop_shadow(self, mask: Image.Image, box: Box, strength: float) -> None:
        reach = 10  # pixels: three times the blur, and the offset
        left, top = max(0, box[0] - reach), max(0, box[1] - reach)
        right, bottom = min(SIDE, box[2] + reach), min(SIDE, box[3] + reach)
        blurred = _blurred(mask, (left - 1, top - 3, right - 1, bottom - 3), 2.5)
        # Alpha stays: the shadow falls on the product only. The photo adds the one on the ground.
        self._colour[top:bottom, left:right] *= 1 - strength * _as_plane(blurred)[:, :, None]

    def picture(self) -> Image.Image:
        """The finished picture, RGBA with straight (not premultiplied) colours."""
        colour = self._colour / np.maximum(self._alpha, 1e-6)
        levels: UInt8[np.ndarray, "side side 4"] = np.rint(
            np.concatenate([np.clip(colour, 0, 1), self._alpha], axis=2) * 255
        ).astype(np.uint8)
        return Image.fromarray(levels)  # four channels: RGBA


def _as_plane(mask: Image.Image) -> Plane:
    return np.asarray(mask, dtype=np.float32) / 255


def _surface_colour(surface: Surface, box: Box) -> Float[np.ndarray, "height width 3"]:
    """Pattern and light over a box of pixels; 0 to 1, and over 1 where light is reflected."""
    left, top, right, bottom = box
    u, v = np.meshgrid(
        np.linspace(-1, 1, right - left, dtype=np.float32),
        np.linspace(-1, 1, bottom - top, dtype=np.float32),
    )
    colour = np.asarray(surface.colour, dtype=np.float32) / 255
    painted = np.broadcast_to(colour, (*u.shape, 3))
    if surface.pattern != "plain":
        accent = np.asarray(surface.accent, dtype=np.float32) / 255
        painted = painted + _accent_share(surface, box, u, v)[:, :, None] * (accent - colour)
    return np.asarray(painted * SHADES[surface.shade](u, v)[:, :, None])


def _accent_share(surface: Surface, box: Box, u: Plane, v: Plane) -> Plane:
    """How much of the accent is at each pixel, 0 to 1; (u, v) run from -1 to 1 across the box."""
    left, top, right, bottom = box
    half_width, half_height = (right - left) / 2, (bottom - top) / 2
    across, sag = u, np.zeros_like(u)
    if surface.shade in ROUND_SHADES:
        # Equal steps of the pattern are equal steps of angle, and what runs level round the side
        # sags in front, since it is seen from a little above.
        across, sag = np.arcsin(u * 0.98), 0.14 * half_width * np.sqrt(1 - u**2)
    scale = surface.frequency / SIDE
    x = (across * half_width + (left + right) / 2) * scale
    y = (v * half_height + (top + bottom) / 2 - sag) * scale
    return PATTERN_SHARES[surface.pattern](x, y)


def _bevel(mask: Image.Image, box: Box) -> Plane:
    """Darker towards the outline, as if the edge bent away."""
    inside = _as_plane(_blurred(mask, box, 3.0))
    return np.asarray(0.68 + 0.32 * inside)


def _blurred(mask: Image.Image, box: Box, radius: float) -> Image.Image:
    """The mask blurred and then cropped; only what reaches into the box is worked on."""
    reach = round(3 * radius)
    left, top, right, bottom = box
    around = mask.crop((left - reach, top - reach, right + reach, bottom + reach))
    soft = around.filter(ImageFilter.GaussianBlur(radius))
    return soft.crop((reach, reach, reach + right - left, reach + bottom - top))


class Painter:
    """Paints one product on a canvas of its own, layer by layer, in the product's own colours."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.canvas = Canvas()

    def fill(self, points: Corners | Points, surface: Surface, shadow: float = 0.3) -> None:
        """Paint the inside of a closed outline."""
        self.canvas.paint(filled(points), surface, shadow)

    def line(
        self, points: Corners | Points, width: float, surface: Surface, shadow: float = 0.3
    ) -> None:
        """Paint an open line."""
        self.canvas.paint(stroked(points, width), surface, shadow)

    def loop(
        self, points: Corners | Points, width: float, surface: Surface, shadow: float = 0.3
    ) -> None:
        """Paint a line that runs back to where it began."""
        self.canvas.paint(stroked(points, width, closed=True), surface, shadow)

    def patterned(self, shade: str, frequency: float) -> Surface:
        """The surface of the part that carries the pattern."""
        return Surface(
            colour=self.product.rgb("colour"),
            accent=self.product.rgb("accent"),
            pattern=self.product.options["pattern"],
            frequency=frequency * self.product.pattern_scale,
            shade=shade,
        )

    def colour(self, shade: str = "flat", brightness: float = 1.0) -> Surface:
        """The main colour without the pattern."""
        return Surface(_dimmed(self.product.rgb("colour"), brightness), shade=shade)

    def accent(self, shade: str = "flat", brightness: float = 1.0) -> Surface:
        """The second colour."""
        return Surface(_dimmed(self.product.rgb("accent"), brightness), shade=shade)


def _dimmed(colour: RGB, brightness: float) -> RGB:
    red, green, blue = (round(level * brightness) for level in colour)
    return (red, green, blue)
