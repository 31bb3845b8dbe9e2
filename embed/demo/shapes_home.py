"""How the household goods of the demonstration catalogue are drawn: one function a category.

The coordinates were found by looking at the result. A product's proportions move them a little, so
that two families with the same options still differ in outline.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import ImageChops

from embed.demo.drawing import Painter, Surface
from embed.demo.outlines import (
    Corners,
    Points,
    curve,
    ellipse,
    filled,
    rounded_box,
    smooth,
    stroked,
    turned,
)
from embed.demo.products import RGB

WOOD: RGB = (190, 146, 98)
CORK: RGB = (202, 164, 118)
BRASS: RGB = (206, 170, 92)
LAMPLIGHT: RGB = (255, 240, 206)


def draw_mug(painter: Painter) -> None:
    """The handle behind, the body, then the opening with the inside in the second colour."""
    width, height, bulge, _ = painter.product.proportions
    half, top, bottom = 0.21 + 0.035 * width, 0.3 - 0.06 * height, 0.78
    centre, tilt = 0.43, 0.17
    _draw_mug_handle(painter, centre + half * 0.92, (top + bottom) / 2)
    profile = _mug_profile(painter.product.options["body"], half, (top, bottom), bulge)
    painter.fill(turned(centre, profile, tilt), painter.patterned("gloss", 9.0))
    rim = profile[0][0]
    painter.fill(ellipse((centre, top), rim, rim * tilt), painter.colour(), shadow=0.0)
    inside = ellipse((centre, top + 0.004), rim * 0.92, rim * tilt * 0.82)
    painter.fill(inside, painter.accent("cylinder", brightness=0.72), shadow=0.0)


def _mug_profile(body: str, half: float, ends: tuple[float, float], bulge: float) -> Corners:
    top, bottom = ends
    if body == "straight":
        return [(half, top), (half, bottom)]
    if body == "tapered":
        return [(half * 1.08, top), (half * (0.72 + 0.06 * bulge), bottom)]
    middle, belly = (top + bottom) / 2, half * (1.14 + 0.05 * bulge)
    return smooth(
        [(half * 0.92, top), (belly, middle - 0.02), (belly, middle + 0.09), (half * 0.7, bottom)]
    )


def _draw_mug_handle(painter: Painter, side: float, middle: float) -> None:
    handle = painter.product.options["handle"]
    if handle == "round":
        outline = ellipse((side + 0.04, middle), 0.13, 0.135)
    elif handle == "square":
        outline = rounded_box(side - 0.1, middle - 0.14, side + 0.17, middle + 0.13, 0.035)
    else:
        ear = [(0.0, -0.15), (0.17, -0.17), (0.16, 0.0), (0.03, 0.16), (-0.06, 0.12)]
        outline = np.array([side, middle]) + curve(ear)
    painter.loop(outline, 0.052, painter.colour())


def draw_lamp(painter: Painter) -> None:
    """The base, the shade over it, and the light that shows at the top of an open shade."""
    width, height, jug, drop = painter.product.proportions
    half, top, bottom = 0.25 + 0.03 * width, 0.13, 0.46 + 0.035 * height
    _draw_lamp_base(painter, bottom - 0.06, 0.11 + 0.025 * jug)
    shade = painter.product.options["shade"]
    profile: Corners
    if shade == "cone":
        profile = [(half * (0.42 + 0.1 * drop), top), (half, bottom)]
    elif shade == "drum":
        profile = [(half * 0.9, top), (half * 0.94, bottom)]
    else:
        turns = np.linspace(0.3, np.pi / 2, 14)
        across, up = half * np.sin(turns), (bottom - top) * np.cos(turns)
        profile = list(zip(across.tolist(), (bottom - up).tolist(), strict=True))
    painter.fill(turned(0.5, profile, 0.13), painter.patterned("glow", 9.0))
    if shade != "dome":
        rim = profile[0][0]
        painter.fill(ellipse((0.5, top), rim * 0.95, rim * 0.11), Surface(LAMPLIGHT), shadow=0.0)


def _draw_lamp_base(painter: Painter, top: float, half: float) -> None:
    base = painter.product.options["base"]
    if base == "tripod":
        for hip, foot, ground in ((0.465, 0.27, 0.9), (0.535, 0.73, 0.9), (0.5, 0.5, 0.86)):
            painter.line([(hip, top), (foot, ground)], 0.026, Surface(WOOD))
        return
    painter.fill(turned(0.5, [(0.016, top), (0.016, 0.88)]), Surface(BRASS, shade="gloss"))
    if base == "stem":
        painter.fill(turned(0.5, [(0.15, 0.88), (0.155, 0.9)], 0.2), painter.accent("gloss"))
        return
    jug = smooth([(0.04, 0.56), (half, 0.66), (half * 1.1, 0.76), (half * 0.62, 0.9)])
    painter.fill(turned(0.5, jug), painter.accent("gloss"))


def draw_bottle(painter: Painter) -> None:
    """The body with its shoulders, the cap on its neck, and two rings near the foot."""
    width, height, shoulder, neck_width = painter.product.proportions
    body = painter.product.options["body"]
    half = {"slim": 0.105, "wide": 0.155, "flask": 0.135}[body] + 0.012 * width
    neck = {"slim": 0.045, "wide": 0.055, "flask": 0.11}[body] + 0.006 * neck_width
    fall = {"slim": 0.2, "wide": 0.13, "flask": 0.06}[body] + 0.02 * shoulder
    top, bottom = 0.2 - 0.03 * height, 0.9
    steps = np.linspace(0, 1, 12)
    eased = steps**2 * (3 - 2 * steps)  # level at both ends, like a blown shoulder
    across, down = neck + (half - neck) * eased, top + 0.07 + fall * steps
    slope = list(zip(across.tolist(), down.tolist(), strict=True))
    outline = turned(0.5, [(neck, top), *slope, (half, bottom)], 0.12)
    painter.fill(outline, painter.patterned("gloss", 12.0))
    _draw_cap(painter, top, neck)
    for y in (bottom - 0.12, bottom - 0.08):
        ring = ellipse((0.5, y), half * 0.985, 0.12 * half)
        front = stroked(ring[: len(ring) // 2], 0.016)  # the body hides the back
        painter.canvas.paint(
            ImageChops.darker(front, filled(outline)), painter.accent("gloss"), 0.0
        )


def _draw_cap(painter: Painter, top: float, neck: float) -> None:
    painter.fill(ellipse((0.5, top), neck, neck * 0.12), painter.colour(brightness=0.8), shadow=0.0)
    cap = painter.product.options["cap"]
    if cap == "cork":
        cork = turned(0.5, [(neck * 0.95, top - 0.075), (neck * 0.8, top + 0.01)])
        painter.fill(cork, Surface(CORK, shade="cylinder"))
        return
    if cap == "loop":
        ring = ellipse((0.5, top - 0.1), max(neck * 0.8, 0.05), 0.045)
        painter.loop(ring, 0.02, painter.accent())
    lid = turned(0.5, [(neck * 1.12, top - 0.07), (neck * 1.12, top + 0.025)], 0.12)
    painter.fill(lid, painter.accent("gloss"))


def draw_cushion(painter: Painter) -> None:
    """Tassels behind the corners, the stuffed body, and piping along its edge."""
    width, height, puff, tassel = painter.product.proportions
    shape, trim = painter.product.options["outline"], painter.product.options["trim"]
    half_x = {"square": 0.33, "oblong": 0.41, "bolster": 0.4}[shape] + 0.02 * width
    half_y = {"square": 0.33, "oblong": 0.24, "bolster": 0.14}[shape] + 0.02 * height
    if trim == "tassels":
        _draw_tassels(painter, (half_x * 0.95, half_y * 0.95), 0.095 + 0.02 * tassel)
    outline = _pillow(half_x, half_y, 0.07 - 0.03 * puff)
    if shape == "bolster":
        outline = rounded_box(0.5 - half_x, 0.5 - half_y, 0.5 + half_x, 0.5 + half_y, 0.075)
    painter.fill(outline, painter.patterned("ball", 8.0))
    if trim == "piped":
        painter.loop(outline, 0.02, painter.accent(), shadow=0.15)


def _pillow(half_x: float, half_y: float, hollow: float) -> Points:
    """A stuffed rectangle: pointed corners, and sides drawn in by `hollow` of their distance."""
    along = np.linspace(-1, 1, 24, endpoint=False)
    inward = 1 - hollow * (1 - np.abs(along) ** 3)
    top = np.stack([along, -inward], axis=1)
    right = np.stack([inward, along], axis=1)
    unit = np.concatenate([top, right, -top, -right])
    return np.asarray(0.5 + unit * (half_x, half_y))


def _draw_tassels(painter: Painter, corner: tuple[float, float], length: float) -> None:
    accent = painter.accent()
    for outward in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        x, y = 0.5 + outward[0] * corner[0], 0.5 + outward[1] * corner[1]
        for angle in (0.3, 0.6, 0.9, 1.2):
            across, down = length * float(np.cos(angle)), length * float(np.sin(angle))
            end = (x + outward[0] * across, y + outward[1] * down)
            painter.line([(x, y), end], 0.02, accent, shadow=0.0)
        painter.fill(ellipse((x, y), 0.026, 0.026), accent, shadow=0.15)


HOME_DRAWERS: dict[str, Callable[[Painter], None]] = {
    "mug": draw_mug,
    "lamp": draw_lamp,
    "bottle": draw_bottle,
    "cushion": draw_cushion,
}
