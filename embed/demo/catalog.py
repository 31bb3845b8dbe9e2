"""A catalogue of drawn products whose truth is known, for the quick start, tests and benchmarks.

Every picture and title follows from a seed: the same seed writes the same bytes, and a product is
the same however many others there are.
"""

from __future__ import annotations

import csv
import io
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from embed.demo.contact_sheet import SheetRow, draw_contact_sheet
from embed.demo.drawing import Painter
from embed.demo.photos import take_photo
from embed.demo.products import CATEGORIES, Product, product_at
from embed.demo.shapes_home import HOME_DRAWERS
from embed.demo.shapes_wear import WEAR_DRAWERS
from embed.demo.titles import write_titles
from embed.errors import OutputExistsError, SettingsError
from embed.files import replacing

MANIFEST_NAME = "manifest.csv"
IMAGES_NAME = "images"
CONTACT_SHEET_NAME = "contact-sheet.png"
COLUMNS = ("id", "image", "title", "label", "category", "attr_1", "attr_2", "attr_3")

# Set the random numbers of photos and titles apart, and both from those of the designs.
PHOTO_STREAM = 2
TITLE_STREAM = 3

# A worker takes about a second to start: fewer products than this are drawn without any.
MIN_PRODUCTS_FOR_WORKERS = 30

Row = tuple[str, ...]


@dataclass(frozen=True)
class DemoSettings:
    """How large the catalogue is, and the seed that everything in it follows from."""

    num_products: int = 240
    num_photos: int = 6  # of each product; each is an item with a title of its own
    seed: int = 0


@dataclass(frozen=True)
class DemoSummary:
    """What was written where."""

    manifest_path: Path
    contact_sheet_path: Path
    num_products: int
    num_items: int


def write_demo_catalog(folder: Path, settings: DemoSettings, *, force: bool = False) -> DemoSummary:
    """Draw a catalogue of products and write manifest.csv, images/ and contact-sheet.png.

    The manifest has a row for each photo: id, image (relative to `folder`), title, label (the
    product's id), category, and attr_1 to attr_3, whose meaning depends on the category and which
    are empty where a category lacks that one. It is written last, so that a folder with a manifest
    is complete. With `force`, files of the same names are replaced and all others left alone:
    photos of an earlier, larger catalogue stay, but the manifest does not name them.

    Raises:
        SettingsError: fewer than two products, no photos, or a negative seed.
        OutputExistsError: `folder` is a file, or has something in it and `force` is not given.
    """
    _check_settings(settings)
    _check_folder(folder, force)
    manifest_path, contact_sheet_path = folder / MANIFEST_NAME, folder / CONTACT_SHEET_NAME
    (folder / IMAGES_NAME).mkdir(parents=True, exist_ok=True)
    manifest_path.unlink(missing_ok=True)  # an old one would not fit the new images
    small = settings.num_products < MIN_PRODUCTS_FOR_WORKERS
    rows = _write_products(folder, settings, 1 if small else os.cpu_count() or 1)
    with replacing(contact_sheet_path) as unfinished:
        unfinished.write_bytes(_contact_sheet(folder, settings, rows))
    with replacing(manifest_path) as unfinished:
        unfinished.write_bytes(_manifest_bytes(rows))
    return DemoSummary(manifest_path, contact_sheet_path, settings.num_products, len(rows))


def _check_settings(settings: DemoSettings) -> None:
    lowest = {"num_products": 2, "num_photos": 1, "seed": 0}
    for name, least in lowest.items():
        found = getattr(settings, name)
        if found < least:
            raise SettingsError(
                f"{name} of the demo catalogue: expected {least} or more, found {found}; "
                "give a larger number"
            )


def _check_folder(folder: Path, force: bool) -> None:
    for needed in (folder, folder / IMAGES_NAME):
        if needed.exists() and not needed.is_dir():
            raise OutputExistsError(
                f"expected a folder for the demo catalogue, found a file at {needed}; "
                "name another folder, one that is new or empty"
            )
    if folder.is_dir() and not force and any(folder.iterdir()):
        raise OutputExistsError(
            f"expected a new or empty folder for the demo catalogue, found files in {folder}; "
            "name another folder, or use --force to replace the catalogue there"
        )


def _write_products(folder: Path, settings: DemoSettings, num_workers: int) -> list[Row]:
    """All rows in order of products and photos; no byte depends on the number of workers."""
    write_one = partial(_write_product, folder, settings)
    indexes = range(settings.num_products)
    if num_workers == 1:
        return [row for index in indexes for row in write_one(index)]
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
        return [row for rows in pool.map(write_one, indexes, chunksize=4) for row in rows]


def draw_product(product: Product) -> Image.Image:
    """The product alone on a transparent, square picture (RGBA), the same every time."""
    painter = Painter(product)
    drawers = HOME_DRAWERS | WEAR_DRAWERS
    drawers[product.category.name](painter)
    return painter.canvas.picture()


def _write_product(folder: Path, settings: DemoSettings, index: int) -> list[Row]:
    """Draw and write one product's photos; its rows of the manifest."""
    product = product_at(settings.seed, index)
    picture = draw_product(product)
    titles = write_titles(product, _generators(settings, TITLE_STREAM, index))
    label = f"p{index:05d}"
    truth = (label, product.category.name, *product.attributes)
    rows: list[Row] = []
    for number, generator in enumerate(_generators(settings, PHOTO_STREAM, index)):
        item = f"{label}-{number:02d}"
        image = f"{IMAGES_NAME}/{item}.jpg"
        (folder / image).write_bytes(take_photo(picture, generator))
        rows.append((item, image, titles[number], *truth))
    return rows


def _generators(settings: DemoSettings, stream: int, index: int) -> list[np.random.Generator]:
    """One generator for each photo, the same however many photos and products there are."""
    return [
        np.random.default_rng([settings.seed, stream, index, number])
        for number in range(settings.num_photos)
    ]


def _contact_sheet(folder: Path, settings: DemoSettings, rows: list[Row]) -> bytes:
    """The first product of each category, which are the first products of the catalogue."""
    sheet_rows: list[SheetRow] = []
    for index in range(min(settings.num_products, len(CATEGORIES))):
        start = index * settings.num_photos
        photo_paths = [folder / row[1] for row in rows[start : start + settings.num_photos]]
        sheet_rows.append(SheetRow(product_at(settings.seed, index).category.name, photo_paths))
    return draw_contact_sheet(sheet_rows)


def _manifest_bytes(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")
