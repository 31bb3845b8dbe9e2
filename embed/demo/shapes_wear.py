"""How clothes, shoes and bags of the demonstration catalogue are drawn: one function a category.

The coordinates were found by looking at the result, as in `shapes_home`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import ImageChops

from embed.demo.drawing import Painter, Surface
from embed.demo.outlines import Points, both_sides, curve, ellipse, filled, rounded_box
from embed.demo.products import RGB

BUTTON: RGB = (246, 244, 238)
LACE: RGB = (244, 242, 236)
BUCKLE: RGB = (206, 170, 92)
SOLES: dict[str, RGB] = {"white": (236, 234, 228), "gum": (186, 128, 74), "black": (42, 42, 46)}


def draw_t_shirt(painter: Painter) -> None:
    """Sleeves behind, the inside of the back, the front with its neck cut out, and the trim."""
    width, length, flare, sleeve_width = painter.product.proportions
    chest, hem = 0.205 + 0.02 * width, 0.82 + 0.06 * length
    cloth = painter.patterned("cloth", 10.0)
    sleeveless = painter.product.options["sleeve"] == "sleeveless"
    if not sleeveless:
        _draw_sleeves(painter, cloth, 0.018 * sleeve_width)
    neckline = _neckline(painter.product.options["neck"])
    painter.fill(ellipse((0.5, 0.135), 0.105, 0.03), painter.colour(brightness=0.55), shadow=0.0)
    painter.fill(both_sides(neckline), painter.colour(brightness=0.55), shadow=0.0)
    armhole = [(0.17, 0.158), (0.152, 0.24), (0.165, 0.31)] if sleeveless else [(0.2, 0.172)]
    side = [(chest, 0.37), (chest, 0.6), (chest + 0.015 + 0.02 * flare, hem)]
    front = both_sides([*reversed(neckline), *armhole, *side])
    painter.fill(front, cloth, shadow=0.0 if sleeveless else 0.22)
    _draw_neck_trim(painter, neckline)


def _draw_sleeves(painter: Painter, cloth: Surface, cuff: float) -> None:
    shoulder, armpit = [(0.14, 0.15), (0.26, 0.22)], [(0.17, 0.36)]
    if painter.product.options["sleeve"] == "short":
        arm = [(0.38, 0.42 + cuff), (0.26, 0.48 + cuff)]
    else:
        arm = [(0.38, 0.52), (0.44, 0.8), (0.345, 0.82 + cuff), (0.27, 0.56)]
    sleeve = np.array([*shoulder, *arm, *armpit])
    for side in (-1, 1):
        painter.fill(sleeve * (side, 1) + (0.5, 0), cloth, shadow=0.0)


def _neckline(neck: str) -> list[tuple[float, float]]:
    """From the shoulder to the middle of the front, as (distance from the middle, y)."""
    if neck == "v-neck":
        return [(0.09, 0.13), (0.0, 0.31)]
    depth = 0.2 if neck == "round" else 0.17
    arc = curve([(0.09, 0.13), (0.065, 0.13 + 0.6 * (depth - 0.13)), (0.0, depth)], closed=False)
    return [(distance, y) for distance, y in arc.tolist()]


def _draw_neck_trim(painter: Painter, neckline: list[tuple[float, float]]) -> None:
    """A band along the neckline, or a polo shirt's collar and buttons."""
    trim = painter.accent()
    if painter.product.options["neck"] != "polo":
        painter.line(both_sides(neckline), 0.024, trim)
        return
    painter.fill(rounded_box(0.478, 0.16, 0.522, 0.36, 0.008), trim)
    for y in (0.22, 0.27, 0.32):
        painter.fill(ellipse((0.5, y), 0.009, 0.009), Surface(BUTTON))
    wing = np.array([(0.095, 0.115), (0.0, 0.175), (0.06, 0.25), (0.125, 0.16)])
    for side in (-1, 1):
        painter.fill(wing * (side, 1) + (0.5, 0), trim)


def draw_shoe(painter: Painter) -> None:
    """From the side, toe to the right: tongue, upper, caps at toe and heel, fastening, sole."""
    length, height, toe, thickness = painter.product.proportions
    back, front = 0.1 - 0.025 * length, 0.9 + 0.025 * length
    cut = painter.product.options["cut"]
    collar = {"low-top": 0.4, "high-top": 0.24, "slip-on": 0.43}[cut] - 0.02 * height
    opening = ellipse((0.245, collar + 0.02), 0.125, 0.03)
    painter.fill(opening, painter.accent(brightness=0.5), shadow=0.0)
    if cut != "slip-on":
        tongue = [(0.33, collar + 0.1), (0.34, collar - 0.04), (0.4, collar - 0.05), (0.47, 0.46)]
        painter.fill(curve(tongue), painter.accent("cloth"))
    upper = _shoe_upper(back, front, collar, 0.535 - 0.02 * toe)
    painter.fill(upper, painter.patterned("cloth", 13.0))
    toe_cap = filled(ellipse((front - 0.01, 0.72), 0.17, 0.145 + 0.02 * toe))
    painter.canvas.paint(ImageChops.darker(toe_cap, filled(upper)), painter.accent("ball"))
    heel_cap = filled(ellipse((back + 0.01, 0.72), 0.11, 0.19))
    painter.canvas.paint(ImageChops.darker(heel_cap, filled(upper)), painter.accent())
    _draw_fastening(painter, collar)
    _draw_sole(painter, back, front, 0.675 - 0.018 * thickness)


def _shoe_upper(back: float, front: float, collar: float, toe_top: float) -> Points:
    heel = [(back + 0.07, 0.705), (back + 0.022, 0.65), (back + 0.028, 0.5), (back + 0.02, collar)]
    rim = [(back + 0.06, collar - 0.01), (0.22, collar + 0.035), (0.32, collar + 0.02)]
    instep = [(0.4, collar + 0.015), (0.5, min(0.47, collar + 0.11)), (0.62, 0.505)]
    toe = [(0.75, toe_top), (front - 0.06, toe_top + 0.04), (front - 0.012, 0.65)]
    return curve([*heel, *rim, *instep, *toe, (front - 0.06, 0.705)])


def _draw_fastening(painter: Painter, collar: float) -> None:
    """Laces, or the elastic of a slip-on."""
    if painter.product.options["cut"] == "slip-on":
        elastic = [(0.3, collar + 0.045), (0.36, collar + 0.04), (0.42, 0.57), (0.36, 0.58)]
        painter.fill(curve(elastic), painter.accent(brightness=0.85))
        return
    start = max(collar + 0.03, 0.32)
    for step in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = 0.385 + 0.2 * step, start + (0.5 - start) * step
        painter.line([(x, y), (x + 0.055, y + 0.075)], 0.017, Surface(LACE))


def _draw_sole(painter: Painter, back: float, front: float, top: float) -> None:
    ground = 0.74
    red, green, blue = SOLES[painter.product.options["sole"]]
    sole = rounded_box(back - 0.005, top, front + 0.015, ground, 0.03)
    painter.fill(sole, Surface((red, green, blue)))
    seam = [(back + 0.015, ground - 0.024), (front - 0.005, ground - 0.024)]
    painter.line(seam, 0.006, Surface((red * 4 // 5, green * 4 // 5, blue * 4 // 5)), shadow=0.0)


def draw_bag(painter: Painter) -> None:
    """A tote, a satchel or a backpack, each with or without pockets in the second colour."""
    draw = {"tote": _draw_tote, "satchel": _draw_satchel, "backpack": _draw_backpack}
    draw[painter.product.options["style"]](painter)


def _draw_tote(painter: Painter) -> None:
    width, height, flare, drop = painter.product.proportions
    half, top, bottom = 0.25 + 0.03 * width, 0.43 - 0.03 * height, 0.86
    reach = 0.1 - 0.05 * drop
    strap = curve(
        both_sides([(0.13, top + 0.12), (0.12, reach + 0.12), (0.0, reach)]), closed=False
    )
    painter.line(np.array([0.025, -0.02]) + strap, 0.032, painter.accent(brightness=0.75))
    low = half - 0.025 - 0.02 * flare
    corners = [(half - 0.01, top), (half, top + 0.012), (low, bottom - 0.02), (low - 0.02, bottom)]
    painter.fill(both_sides(corners), painter.patterned("cloth", 9.0))
    painter.line(strap, 0.034, painter.accent())
    hem = both_sides([(half - 0.01, top + 0.035)])
    painter.line(hem, 0.005, painter.colour(brightness=0.7), shadow=0.0)
    if painter.product.options["pocket"] == "pocket":
        painter.fill(rounded_box(0.38, 0.58, 0.62, 0.78, 0.02), painter.accent())


def _draw_satchel(painter: Painter) -> None:
    width, height, flap, drop = painter.product.proportions
    half, top, bottom = 0.31 + 0.03 * width, 0.45 - 0.03 * height, 0.8
    strap = both_sides([(half - 0.02, top + 0.06), (0.22, 0.2), (0.0, 0.11 - 0.03 * drop)])
    painter.line(curve(strap, closed=False), 0.028, painter.accent())
    leather = painter.patterned("cloth", 10.0)
    painter.fill(rounded_box(0.5 - half, top, 0.5 + half, bottom, 0.06), leather)
    if painter.product.options["pocket"] == "pocket":
        for centre in (0.5 - half * 0.5, 0.5 + half * 0.5):
            pocket = rounded_box(centre - 0.1, 0.63, centre + 0.1, bottom - 0.03, 0.025)
            painter.fill(pocket, painter.accent("cloth"))
    fold = top + 0.17 + 0.03 * flap
    lid = [(0.0, top - 0.012), (half - 0.04, top - 0.006), (half, top + 0.04)]
    edge = [(half - 0.02, fold), (0.16, fold + 0.03), (0.0, fold + 0.04)]
    painter.fill(curve(both_sides([*lid, *edge])), leather, shadow=0.45)
    for x in (0.36, 0.64):
        painter.line([(x, top + 0.05), (x, fold + 0.06)], 0.034, painter.accent())
        buckle = rounded_box(x - 0.026, fold - 0.012, x + 0.026, fold + 0.034, 0.008)
        painter.fill(buckle, Surface(BUCKLE))


def _draw_backpack(painter: Painter) -> None:
    width, height, roundness, _ = painter.product.proportions
    half, top, bottom = 0.235 + 0.025 * width, 0.2 - 0.03 * height, 0.87
    painter.loop(ellipse((0.5, top), 0.06, 0.06), 0.026, painter.accent())
    strap = np.array([(half * 0.8, top + 0.2), (half + 0.065, 0.5), (half * 0.9, bottom - 0.05)])
    for side in (-1, 1):
        line = curve(strap * (side, 1) + (0.5, 0), closed=False)
        painter.line(line, 0.04, painter.accent(brightness=0.8))
    shoulder = [(0.0, top), (half - 0.05, top + 0.045 + 0.012 * roundness), (half, top + 0.2)]
    foot = [(half + 0.012, 0.65), (half - 0.015, bottom - 0.03), (0.05, bottom)]
    painter.fill(curve(both_sides([*shoulder, *foot])), painter.patterned("cloth", 10.0))
    zip_line = both_sides([(half - 0.035, 0.52), (half - 0.06, top + 0.13), (0.0, top + 0.07)])
    painter.line(curve(zip_line, closed=False), 0.012, painter.colour(brightness=0.5), shadow=0.0)
    if painter.product.options["pocket"] == "pocket":
        pocket = rounded_box(0.55 - half, 0.57, 0.45 + half, bottom - 0.035, 0.05)
        painter.fill(pocket, painter.accent("cloth"))
        seam = both_sides([(half - 0.09, 0.635)])
        painter.line(seam, 0.009, painter.accent(brightness=0.55), shadow=0.0)


WEAR_DRAWERS: dict[str, Callable[[Painter], None]] = {
    "t-shirt": draw_t_shirt,
    "shoe": draw_shoe,
    "bag": draw_bag,
}
