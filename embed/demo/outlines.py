"""Outlines for the demonstration catalogue: lines of points, and the masks that they enclose.

Points are (x, y) in the unit square that a product is drawn in, x to the right and y down.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

# Of the square that a product is drawn on, in pixels: a little more than most photos show, so that
# they can sample it without averaging first.
SIDE = 320
SUPERSAMPLING = 3  # outlines are drawn this much larger, then averaged down for smooth edges

Points = Float[np.ndarray, "points 2"]
Corners = Sequence[tuple[float, float]]


def both_sides(corners: Corners, centre: float = 0.5) -> Points:
    """The corners on the right of the centre in their order, then back along the left.

    Corners are (distance from the centre, y). One that lies on the centre is not repeated, so that
    a closed outline starts there, and an open line turns there.
    """
    right = [(centre + distance, y) for distance, y in corners]
    left = [(centre - distance, y) for distance, y in reversed(corners) if distance != 0]
    return np.array(right + left)


def curve(
    corners: Corners | Float[np.ndarray, "corners 2"], closed: bool = True, steps: int = 10
) -> Points:
    """A smooth line through all corners (a uniform Catmull-Rom spline), `steps` points a piece."""
    knots = np.asarray(corners, dtype=np.float64)
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        knots = np.concatenate([knots[:1], knots, knots[-1:]])
    before, start, end, after = knots[:-3], knots[1:-2], knots[2:-1], knots[3:]
    time = np.linspace(0, 1, steps, endpoint=not closed)[:, None, None]
    linear, square = end - before, 2 * before - 5 * start + 4 * end - after
    cube = 3 * (start - end) + after - before
    line = start + 0.5 * time * (linear + time * (square + time * cube))
    return np.asarray(line.transpose(1, 0, 2).reshape(-1, 2))  # piece after piece


def ellipse(centre: tuple[float, float], radius_x: float, radius_y: float) -> Points:
    """A closed ellipse, clockwise from its right end: the first half is the lower one."""
    return np.asarray(centre + _unit_arc(0.0, 2 * np.pi, 72) * (radius_x, radius_y))


def rounded_box(left: float, top: float, right: float, bottom: float, radius: float) -> Points:
    """A rectangle whose corners are quarters of a circle."""
    quarter = np.pi / 2
    middles = [
        (right - radius, bottom - radius),
        (left + radius, bottom - radius),
        (left + radius, top + radius),
        (right - radius, top + radius),
    ]
    arcs = [
        middle + radius * _unit_arc(number * quarter, (number + 1) * quarter, 8)
        for number, middle in enumerate(middles)
    ]
    return np.concatenate(arcs)


def turned(centre_x: float, profile: Corners, tilt: float = 0.16) -> Points:
    """What a lathe makes, seen from a little above.

    `profile` holds (half width, y) from top to bottom. `tilt` is the height of the ellipses at top
    and bottom as a share of their width.
    """
    (top_half, top_y), (bottom_half, bottom_y) = profile[0], profile[-1]
    bottom = (centre_x, bottom_y) + _unit_arc(0.0, np.pi, 24) * (bottom_half, tilt * bottom_half)
    top = (centre_x, top_y) + _unit_arc(np.pi, 2 * np.pi, 24) * (top_half, tilt * top_half)
    right = np.array([(centre_x + half, y) for half, y in profile])
    left = np.array([(centre_x - half, y) for half, y in reversed(profile)])
    return np.concatenate([right, bottom, left, top])


def smooth(profile: Corners) -> Corners:
    """The profile of something turned, without its edges."""
    return [(half, y) for half, y in curve(profile, closed=False).tolist()]


def _unit_arc(start_radians: float, end_radians: float, num_points: int) -> Points:
    angles = np.linspace(start_radians, end_radians, num_points)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def filled(points: Corners | Points) -> Image.Image:
    """The outline's inside as a SIDE x SIDE mask, 0 to 255, smooth at the edge."""
    large = Image.new("L", (SIDE * SUPERSAMPLING,) * 2)
    ImageDraw.Draw(large).polygon(_to_pixels(points), fill=255)
    return large.reduce(SUPERSAMPLING)


def stroked(points: Corners | Points, width: float, closed: bool = False) -> Image.Image:
    """A line of `width` (in units of the square) with round ends and joints, as a mask."""
    large = Image.new("L", (SIDE * SUPERSAMPLING,) * 2)
    draw = ImageDraw.Draw(large)
    pixels = _to_pixels(points)
    radius = width * SIDE * SUPERSAMPLING / 2
    line = pixels + pixels[:2] if closed else pixels
    draw.line(line, fill=255, width=round(2 * radius), joint="curve")
    for x, y in (line[0], line[-1]):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return large.reduce(SUPERSAMPLING)


def _to_pixels(points: Corners | Points) -> list[tuple[float, float]]:
    scale = SIDE * SUPERSAMPLING
    return [(float(x) * scale, float(y) * scale) for x, y in points]
