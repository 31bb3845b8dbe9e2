"""The overview picture of a demonstration catalogue: a row a product, its photos side by side."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

TILE = 112  # pixels, the side of one photo
GAP = 8
MARGIN = 20
NAME_WIDTH = 92
MAX_PHOTOS = 6

PAPER = (250, 249, 246)
INK = (52, 54, 60)
COARSER = [round(level / 255 * 63) * 255 // 63 for level in range(256)]


@dataclass(frozen=True)
class SheetRow:
    """One product on the sheet: what stands before its photos, and where they are."""

    category: str
    photo_paths: list[Path]


def draw_contact_sheet(rows: list[SheetRow]) -> bytes:
    """A PNG file with one line a row; of more than MAX_PHOTOS photos the first are shown.

    Each channel keeps 64 levels: the photos' grain, which nobody sees at this size, would make the
    file half as large again.
    """
    num_photos = min(MAX_PHOTOS, max(len(row.photo_paths) for row in rows))
    width = 2 * MARGIN + NAME_WIDTH + num_photos * (TILE + GAP) - GAP
    height = 2 * MARGIN + len(rows) * (TILE + GAP) - GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    for number, row in enumerate(rows):
        _draw_row(sheet, row, MARGIN + number * (TILE + GAP))
    buffer = io.BytesIO()
    sheet.point(COARSER * 3).save(buffer, "PNG")
    return buffer.getvalue()


def _draw_row(sheet: Image.Image, row: SheetRow, top: int) -> None:
    font = ImageFont.load_default(size=17)  # Pillow's own, so that every machine draws the same
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, top + TILE / 2), row.category, fill=INK, font=font, anchor="lm")
    for number, path in enumerate(row.photo_paths[:MAX_PHOTOS]):
        left = MARGIN + NAME_WIDTH + number * (TILE + GAP)
        sheet.paste(_tile(path), (left, top), _rounded())


def _tile(path: Path) -> Image.Image:
    with Image.open(path) as photo:
        return ImageOps.fit(photo.convert("RGB"), (TILE, TILE), Image.Resampling.LANCZOS)


def _rounded() -> Image.Image:
    """A tile's mask with round corners, drawn four times as large for a smooth edge."""
    mask = Image.new("L", (TILE * 4, TILE * 4))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, TILE * 4 - 1, TILE * 4 - 1), 32, fill=255)
    return mask.reduce(4)
