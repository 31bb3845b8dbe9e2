"""The drawn catalogue: reproducible to the byte, and true to what its manifest says."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import embed.demo.catalog as demo_catalog
from embed.demo.catalog import COLUMNS, DemoSettings, draw_product, write_demo_catalog
from embed.demo.photos import take_photo
from embed.demo.products import CATEGORIES, FAMILY_SIZE, Category, Product, product_at
from embed.demo.titles import CATEGORY_WORDS, COLOUR_WORDS, OPTION_WORDS, write_titles
from embed.errors import OutputExistsError, SettingsError

SETTINGS = DemoSettings(num_products=7, num_photos=2, seed=5)


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def first_products(num_products: int) -> Iterator[Product]:
    return (product_at(0, index) for index in range(num_products))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "catalog"
    write_demo_catalog(folder, SETTINGS)
    return folder


def test_summary_and_files_agree_with_the_settings(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "catalog"
    summary = write_demo_catalog(folder, DemoSettings(num_products=2, num_photos=2))
    assert (summary.num_products, summary.num_items) == (2, 4)
    assert summary.manifest_path == folder / "manifest.csv"
    expected = {f"images/{row['id']}.jpg" for row in read_rows(folder)}
    assert set(read_files(folder)) == expected | {"manifest.csv", "contact-sheet.png"}


def test_the_same_seed_writes_the_same_bytes(catalog: Path, tmp_path: Path) -> None:
    write_demo_catalog(tmp_path, SETTINGS)
    assert read_files(tmp_path) == read_files(catalog)


def test_another_seed_changes_every_photo_and_the_manifest(catalog: Path, tmp_path: Path) -> None:
    write_demo_catalog(tmp_path, replace(SETTINGS, seed=6))
    here, there = read_files(catalog), read_files(tmp_path)
    assert here.keys() == there.keys()
    assert all(here[name] != there[name] for name in here)


def test_bytes_do_not_depend_on_the_number_of_workers(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_catalog, "MIN_PRODUCTS_FOR_WORKERS", 2)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    write_demo_catalog(tmp_path, SETTINGS)
    assert read_files(tmp_path) == read_files(catalog)


def test_a_smaller_catalogue_is_part_of_a_larger_one(catalog: Path, tmp_path: Path) -> None:
    write_demo_catalog(tmp_path, replace(SETTINGS, num_products=3, num_photos=1))
    small, large = read_rows(tmp_path), read_rows(catalog)
    assert len(small) == 3
    for row in small:
        assert row in large
        assert (tmp_path / row["image"]).read_bytes() == (catalog / row["image"]).read_bytes()


def test_manifest_has_a_row_for_each_photo_in_order(catalog: Path) -> None:
    rows = read_rows(catalog)
    assert tuple(rows[0]) == COLUMNS
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == SETTINGS.num_products * SETTINGS.num_photos
    assert ids == sorted(ids)


def test_every_photo_opens_and_is_of_a_photo_s_size(catalog: Path) -> None:
    sizes = set()
    for row in read_rows(catalog):
        with Image.open(catalog / row["image"]) as photo:
            photo.load()
            assert (photo.format, photo.mode) == ("JPEG", "RGB")
            assert 220 <= min(photo.size) <= max(photo.size) <= 300
            sizes.add(photo.size)
    assert len(sizes) > 2


def test_items_of_one_product_share_the_truth_but_no_title(catalog: Path) -> None:
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in read_rows(catalog):
        groups[row["label"]].append(row)
    assert len(groups) == SETTINGS.num_products
    for rows in groups.values():
        truths = {(row["category"], row["attr_1"], row["attr_2"], row["attr_3"]) for row in rows}
        assert len(truths) == 1
        assert len({row["title"] for row in rows}) == len(rows) == SETTINGS.num_photos


def test_attributes_are_the_options_of_their_category_and_empty_where_it_has_none() -> None:
    for product in first_products(2 * len(CATEGORIES)):
        for part, attribute in zip(product.category.recorded, product.attributes, strict=True):
            assert attribute == (product.options[part] if part else "")
    assert len({category.recorded for category in CATEGORIES}) >= 5
    assert any("" in category.recorded for category in CATEGORIES)


def test_a_family_s_products_differ_from_its_first_in_one_option() -> None:
    family = [product_at(0, member * len(CATEGORIES)) for member in range(FAMILY_SIZE)]
    design = set(family[0].options.items())
    differing = [{part for part, _ in design ^ set(other.options.items())} for other in family[1:]]
    assert differing == [{"colour"}, {"pattern"}, {"handle"}]
    assert len({product.brand for product in family}) == 1


def test_products_of_a_family_look_different() -> None:
    for column in range(len(CATEGORIES)):
        members = (
            product_at(0, member * len(CATEGORIES) + column) for member in range(FAMILY_SIZE)
        )
        pictures = [np.asarray(draw_product(product), dtype=np.int64) for product in members]
        for picture in pictures[1:]:
            assert np.abs(picture - pictures[0]).mean() > 0.5


@pytest.mark.parametrize("category", CATEGORIES, ids=lambda category: category.name)
def test_each_option_of_each_part_changes_the_picture(category: Category) -> None:
    product = product_at(0, CATEGORIES.index(category))
    for part, names in category.parts.items():
        choices = [replace(product, options=product.options | {part: name}) for name in names]
        pictures = {draw_product(choice).tobytes() for choice in choices}
        assert len(pictures) == len(names), part


def test_a_drawn_product_keeps_clear_of_the_edge_and_fills_its_square() -> None:
    for product in first_products(4 * len(CATEGORIES)):
        alpha = np.asarray(draw_product(product))[:, :, 3]
        assert 0.04 < (alpha > 128).mean() < 0.75
        assert not np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]]).any()


def test_a_photo_depends_on_its_generator_alone() -> None:
    picture = draw_product(product_at(0, 0))
    photos = [take_photo(picture, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert photos[0] == photos[1] != photos[2]


def test_a_title_names_the_product_in_any_of_its_words() -> None:
    product = product_at(0, 0)
    titles = write_titles(product, [np.random.default_rng(seed) for seed in range(200)])
    assert len(set(titles)) == len(titles)
    words = CATEGORY_WORDS[product.category.name]
    named = [title for title in titles if any(word in title.lower() for word in words)]
    assert len(named) > 180  # a typo hides the rest
    assert sum(product.brand.lower() in title.lower() for title in titles) in range(120, 170)


def test_every_colour_and_pattern_has_words_for_titles() -> None:
    for product in first_products(10 * len(CATEGORIES)):
        assert COLOUR_WORDS[product.options["colour"]]
        assert COLOUR_WORDS[product.options["accent"]]
        assert OPTION_WORDS[product.options["pattern"]]


def test_the_contact_sheet_is_small_and_has_a_row_for_each_category(catalog: Path) -> None:
    path = catalog / "contact-sheet.png"
    assert path.stat().st_size < 600_000
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        assert sheet.height > 110 * len(CATEGORIES)


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"new or empty folder.*--force"):
        write_demo_catalog(tmp_path, SETTINGS)
    assert read_files(tmp_path) == {"notes.txt": b"mine"}


def test_force_replaces_the_catalogue_and_nothing_else(catalog: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    strangers = {"notes.txt": b"mine", "images/p99999-00.jpg": b"also mine"}
    for name, content in strangers.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "manifest.csv").write_text("old")
    write_demo_catalog(tmp_path, SETTINGS, force=True)
    assert read_files(tmp_path) == read_files(catalog) | strangers


def test_a_file_where_the_folder_should_be_is_refused_even_with_force(tmp_path: Path) -> None:
    path = tmp_path / "catalog"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="found a file at"):
        write_demo_catalog(path, SETTINGS, force=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (DemoSettings(num_products=1), "num_products.*expected 2 or more, found 1"),
        (DemoSettings(num_photos=0), "num_photos.*expected 1 or more, found 0"),
        (DemoSettings(seed=-1), "seed.*expected 0 or more, found -1"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, settings: DemoSettings, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        write_demo_catalog(tmp_path / "catalog", settings)
    assert not (tmp_path / "catalog").exists()
