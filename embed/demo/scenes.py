"""What stands behind a product in a demonstration photo: studio, texture or clutter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFilter

from embed.demo.products import COLOURS

Pixels = Float[np.ndarray, "height width 3"]  # 0 to 1, RGB
Plane = Float[np.ndarray, "height width"]
Size = tuple[int, int]  # (width, height) in pixels, as Pillow has it

# Of a shop's photos, those cut out on bare white. Measured: where every photo had a background of
# its own, colour histogram and HOG could do no better than to match each photo to itself alone.
WHITE_SHARE = 0.7

# Of walls, tables and cloths.
QUIET = np.array(
    [(232, 230, 226), (214, 208, 198), (196, 206, 212), (222, 206, 190), (176, 182, 180),
     (204, 190, 200), (120, 128, 136), (188, 200, 180), (84, 88, 96), (240, 226, 200)],
    dtype=np.float32,
) / 255  # fmt: skip
WOODS = np.array([(176, 128, 84), (134, 92, 60), (206, 170, 126), (98, 72, 54)], np.float32) / 255


def draw_studio(size: Size, generator: np.random.Generator) -> Pixels:
    """A shop's background of (height, width, 3): bare white, as for a cut-out, or a paper sweep.

    Bare white is brighter than 1, so that the camera sees no shade of it.
    """
    width, height = size
    if generator.random() < WHITE_SHARE:
        return np.full((height, width, 3), 1.2, dtype=np.float32)
    return _sweep(size, generator)


def draw_home(size: Size, generator: np.random.Generator) -> Pixels:
    """A buyer's background of (height, width, 3), 0 to 1: laid on something, or in a room."""
    return HOMES[generator.integers(len(HOMES))](size, generator)


def clouds(size: Size, cells: tuple[int, int], generator: np.random.Generator) -> Plane:
    """Smooth noise, about -1 to 1, of `cells` (across, down) blotches."""
    coarse = generator.uniform(-1, 1, size=(cells[1] + 1, cells[0] + 1)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


def _any_of(colours: Float[np.ndarray, "colours 3"], generator: np.random.Generator) -> Pixels:
    """One of the colours, a little shifted, as one pixel."""
    colour = colours[generator.integers(len(colours))] + generator.normal(0, 0.03, size=3)
    return np.asarray(np.clip(colour, 0, 1), dtype=np.float32)[None, None, :]


def _grid(size: Size) -> tuple[Plane, Plane]:
    """x and y of every pixel's centre, each 0 to 1."""
    width, height = size
    x = (np.arange(width, dtype=np.float32) + 0.5) / width
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    across, down = np.meshgrid(x, y)
    return across, down


def _sweep(size: Size, generator: np.random.Generator) -> Pixels:
    """A paper sweep: one colour, lighter towards the middle, a soft bend where the floor begins."""
    x, y = _grid(size)
    bend = generator.uniform(0.55, 0.8)
    floor = 1 / (1 + np.exp(-(y - bend) * 18))
    light = 1.04 - 0.25 * ((x - 0.5) ** 2 + (y - 0.4) ** 2) - generator.uniform(0, 0.1) * floor
    paper = _any_of(QUIET, generator)
    return np.asarray(paper * light[:, :, None], dtype=np.float32)


def _planks(size: Size, generator: np.random.Generator) -> Pixels:
    """Boards that run across, each a shade of its own, with long grain and dark joints."""
    _, y = _grid(size)
    num_boards = int(generator.integers(4, 8))
    board = np.floor(y * num_boards)
    shades = generator.uniform(0.86, 1.1, size=num_boards).astype(np.float32)
    joint = np.minimum(y * num_boards % 1, 0.05) / 0.05
    grain = 1 + 0.09 * clouds(size, (3, 60), generator) + 0.06 * clouds(size, (5, 25), generator)
    light = shades[board.astype(np.int64)] * grain * (0.6 + 0.4 * joint)
    return np.asarray(_any_of(WOODS, generator) * light[:, :, None], dtype=np.float32)


def _weave(size: Size, generator: np.random.Generator) -> Pixels:
    """Cloth: crossing threads, and the folds of something laid down in a hurry."""
    x, y = _grid(size)
    threads = float(generator.uniform(28, 44)) * 2 * np.pi
    weave = 0.06 * np.sin(threads * x) * np.sin(threads * y)
    light = 1 + weave + 0.14 * clouds(size, (4, 3), generator)
    return np.asarray(_any_of(QUIET, generator) * light[:, :, None], dtype=np.float32)


def _stone(size: Size, generator: np.random.Generator) -> Pixels:
    """Plaster or marble: blotches of several sizes, sometimes with veins."""
    blotches = clouds(size, (4, 4), generator)
    light = 1 + 0.08 * blotches + 0.05 * clouds(size, (24, 24), generator)
    if generator.random() < 0.5:
        bent = blotches + 0.35 * clouds(size, (9, 9), generator)
        light = light - 0.22 * np.exp(-((bent / 0.045) ** 2))
    return np.asarray(_any_of(QUIET, generator) * light[:, :, None], dtype=np.float32)


def _tiles(size: Size, generator: np.random.Generator) -> Pixels:
    """Square tiles with pale joints."""
    x, y = _grid(size)
    repeats = float(generator.uniform(3.5, 6.5))
    shape = size[1] / size[0]
    edge = np.minimum.reduce(
        [x * repeats % 1, 1 - x * repeats % 1, y * repeats * shape % 1, 1 - y * repeats * shape % 1]
    )
    joint = np.clip(1 - edge / 0.03, 0, 1)[:, :, None] * 0.5
    light = 1 + 0.05 * clouds(size, (6, 6), generator)
    tile = _any_of(QUIET, generator) * light[:, :, None]
    return np.asarray(tile * (1 - joint) + 0.9 * joint, dtype=np.float32)


def _room(size: Size, generator: np.random.Generator) -> Pixels:
    """A wall, a table's edge and things on it, out of focus."""
    width, height = size
    horizon = int(height * generator.uniform(0.5, 0.72))
    picture = Image.new("RGB", size, _level(_any_of(QUIET, generator)))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(generator.integers(1, 4))):
        _hang_frame(draw, size, horizon, generator)
    table = WOODS if generator.random() < 0.6 else QUIET
    draw.rectangle((0, horizon, width, height), fill=_level(_any_of(table, generator)))
    for _ in range(int(generator.integers(4, 9))):
        _put_thing(draw, size, horizon, generator)
    soft = picture.filter(ImageFilter.GaussianBlur(float(generator.uniform(0.8, 3.0))))
    return np.asarray(soft, dtype=np.float32) / 255


def _level(colour: Pixels) -> tuple[int, int, int]:
    red, green, blue = np.rint(colour.reshape(3) * 255).astype(int).tolist()
    return (red, green, blue)


def _hang_frame(
    draw: ImageDraw.ImageDraw, size: Size, horizon: int, generator: np.random.Generator
) -> None:
    left, top = generator.uniform(-0.1, 0.9) * size[0], generator.uniform(-0.1, 0.6) * horizon
    width, height = generator.uniform(0.15, 0.4, size=2) * size[0]
    fill = _level(_any_of(ALL_COLOURS, generator))
    draw.rectangle((left, top, left + width, top + height), fill=(236, 234, 230))
    draw.rectangle((left + 6, top + 6, left + width - 6, top + height - 6), fill=fill)


def _put_thing(
    draw: ImageDraw.ImageDraw, size: Size, horizon: int, generator: np.random.Generator
) -> None:
    """A box, a ball, a row of books or a plant that stands on the table."""
    foot = generator.uniform(horizon, size[1] * 1.05)
    left = generator.uniform(-0.1, 0.95) * size[0]
    width, height = generator.uniform(0.08, 0.26, size=2) * size[0]
    colour = _level(_any_of(ALL_COLOURS, generator))
    kind = generator.integers(4)
    if kind == 0:
        draw.rounded_rectangle((left, foot - height, left + width, foot), 6, fill=colour)
    elif kind == 1:
        draw.ellipse((left, foot - width, left + width, foot), fill=colour)
    elif kind == 2:
        for number in range(int(generator.integers(3, 7))):
            side = left + number * 11
            book = _level(_any_of(ALL_COLOURS, generator))
            draw.rectangle((side, foot - height * 1.6, side + 9, foot), fill=book)
    else:
        _grow_plant(draw, (left + width / 2, foot), height * 1.8, generator)


def _grow_plant(
    draw: ImageDraw.ImageDraw,
    root: tuple[float, float],
    height: float,
    generator: np.random.Generator,
) -> None:
    pot = height * 0.16
    draw.rectangle((root[0] - pot, root[1] - 2 * pot, root[0] + pot, root[1]), fill=(170, 104, 76))
    for angle in generator.uniform(-1.2, 1.2, size=7):
        tip_x = root[0] + height * 0.6 * np.sin(angle)
        tip_y = root[1] - 2 * pot - height * 0.6 * np.cos(angle)
        green = int(generator.integers(90, 150))
        stem = (root[0], root[1] - 2 * pot, float(tip_x), float(tip_y))
        draw.line(stem, fill=(52, green, 66), width=max(3, round(height * 0.09)))


ALL_COLOURS = np.array(list(COLOURS.values()), dtype=np.float32) / 255
HOMES: tuple[Callable[[Size, np.random.Generator], Pixels], ...] = (
    _planks, _weave, _stone, _tiles, _room, _room, _room
)  # fmt: skip
