import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from embed.errors import SourceError
from embed.sources import Catalogue, SourceSettings, read_source


def read(path: Path, **settings: object) -> Catalogue:
    return read_source(path, SourceSettings(**settings))  # type: ignore[arg-type]


def manifest(tmp_path: Path, text: str, name: str = "items.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_folder_gives_relative_paths_sorted_and_parents_as_labels(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/10.JPG", "a/x.png", "top.webp", "a/notes.txt", "a/.hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (2, 2)).save(tmp_path / name, "PNG")
    catalogue = read(tmp_path)
    assert catalogue.ids == ["a/x.png", "b/10.JPG", "b/2.jpg", "top.webp"]
    assert catalogue.columns["label"].tolist() == ["a", "b", "b", tmp_path.name] or (
        catalogue.columns["label"].tolist() == ["a", "b", "b", ""]
    )
    assert catalogue.images is not None
    assert catalogue.images[0] == tmp_path / "a/x.png"


@pytest.mark.parametrize(("name", "separator"), [("m.csv", ","), ("m.tsv", "\t")])
def test_text_manifests_keep_every_column(tmp_path: Path, name: str, separator: str) -> None:
    rows = [
        ["id", "image", "title", "count", "price", "code", "mixed"],
        ["7", "a.jpg", "Tea", "3", "1.50", "007", "1"],
        ["08", "", "Tee ü", "-4", "2", "010", "1e5"],
    ]
    path = manifest(tmp_path, "\n".join(separator.join(row) for row in rows), name)
    catalogue = read(path)
    assert catalogue.ids == ["7", "08"]
    assert catalogue.images == [tmp_path / "a.jpg", None]
    assert catalogue.titles == ["Tea", "Tee ü"]
    columns = {
        name: (values.dtype.kind, values.tolist()) for name, values in catalogue.columns.items()
    }
    assert columns == {
        "image": ("O", ["a.jpg", ""]),
        "title": ("O", ["Tea", "Tee ü"]),
        "count": ("i", [3, -4]),
        "price": ("f", [1.5, 2.0]),
        "code": ("O", ["007", "010"]),  # as numbers, 007 and 7 would become one
        "mixed": ("O", ["1", "1e5"]),
    }


def test_missing_numbers_become_nan_and_missing_text_empty(tmp_path: Path) -> None:
    catalogue = read(manifest(tmp_path, "id,count,name\na,1,x\nb,,\n"))
    np.testing.assert_array_equal(catalogue.columns["count"], [1.0, np.nan])
    assert catalogue.columns["name"].tolist() == ["x", ""]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "id": [1, 2],
            "image": ["a", None],
            "n": pl.Series([5, None], dtype=pl.Int32),
            "flag": [True, False],
            "big": pl.Series([2**63, 1], dtype=pl.UInt64),
            "list": [[1, 2], [3]],
        }
    )
    frame.write_parquet(tmp_path / "m.parquet")
    catalogue = read(tmp_path / "m.parquet")
    assert catalogue.ids == ["1", "2"]
    assert catalogue.images == [tmp_path / "a", None]
    np.testing.assert_array_equal(catalogue.columns["n"], [5.0, np.nan])
    assert catalogue.columns["flag"].tolist() == ["true", "false"]
    assert catalogue.columns["big"].tolist() == [str(2**63), "1"]
    assert catalogue.columns["list"].tolist() == ["[1, 2]", "[3]"]


def test_image_root_and_column_names(tmp_path: Path) -> None:
    path = manifest(tmp_path, "sku,photo,name\ns1,a.jpg,Tea\n")
    settings = {"id_column": "sku", "image_column": "photo", "title_column": "name"}
    catalogue = read(path, **settings, image_root=Path("/pictures"))
    assert (catalogue.ids, catalogue.titles) == (["s1"], ["Tea"])
    assert catalogue.images == [Path("/pictures/a.jpg")]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert read(manifest(tmp_path, "\ufeffid,title\na,Tea\n")).ids == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,image\na,1\nb,2\na,3\n", "id 'a' stands at item 1 and again at item 3"),
        ("id,image\na,1\n,2\n", "item 2 has an empty id"),
        ("sku,image\na,1\n", "no column 'id': its columns are sku, image"),
        ("id,image\n", "has no rows"),
        ("", "has no rows"),
        ("id,a/b\nx,1\n", "a column can't be named 'a/b'"),
        ("id,content_hash\nx,1\n", "'content_hash'"),
        ("id,image\na,1,2,3\n", "more fields than the header"),
        ("id;image\na;1\n", "seems to be separated by ';'"),
    ],
)
def test_manifests_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(manifest(tmp_path, text))


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no image below"):
        read(tmp_path)
    with pytest.raises(SourceError, match="no source at"):
        read(tmp_path / "nothing")
    with pytest.raises(SourceError, match=r"ends in \.csv"):
        read(manifest(tmp_path, "id\na\n", "m.xlsx"))


def test_large_integers_beside_a_missing_one_stay_apart(tmp_path: Path) -> None:
    text = "id,label\na,100000000000000001\nb,100000000000000002\nc,\n"
    labels = read(manifest(tmp_path, text)).columns["label"]
    assert labels.tolist() == ["100000000000000001", "100000000000000002", ""]


def test_text_that_a_store_cannot_hold(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a"], "title": ["x\0y"]}).write_parquet(tmp_path / "m.parquet")
    with pytest.raises(SourceError, match=r"title of item 1 is 'x\\x00y'"):
        read(tmp_path / "m.parquet")
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.png"))
    with pytest.raises(SourceError, match="UTF-8 text"):
        read(tmp_path)


def test_images_in_other_formats_are_mentioned(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    (tmp_path / "b.heic").write_bytes(b"x")
    assert read(tmp_path).warnings == (
        "1 images in formats that are not read were passed over: b.heic, …",
    )


def test_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("id,title\na,Größe\n".encode("cp1252"))
    with pytest.raises(SourceError, match="save it as UTF-8"):
        read(tmp_path / "m.csv")
