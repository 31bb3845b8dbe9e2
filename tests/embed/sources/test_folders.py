import os
from pathlib import Path

import pytest
from PIL import Image

from embed.errors import SourceError
from tests.embed.sources.conftest import ReadSource


def test_folder_gives_relative_paths_sorted_and_parents_as_labels(
    tmp_path: Path, read: ReadSource
) -> None:
    names = ("b/2.jpg", "b/10.JPG", "a/x.png", "a.b/c/y.png", "top.webp", "a/notes.txt", "a/.h.png")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (2, 2)).save(tmp_path / name, "PNG")
    catalogue = read(tmp_path)
    ids = ["a/x.png", "a.b/c/y.png", "b/10.JPG", "b/2.jpg", "top.webp"]
    assert catalogue.ids(0, 9) == ids
    assert catalogue.columns == ("image", "label")
    assert catalogue.column("image", 0, 9).tolist() == ids
    assert catalogue.column("label", 0, 9).tolist() == ["a", "c", "b", "b", ""]
    places = catalogue.locations(0, 9)
    assert [place.address for place in places if place] == [str(tmp_path / name) for name in ids]
    assert (catalogue.has_images, catalogue.has_titles) == (True, False)


def test_folders_without_an_image(tmp_path: Path, read: ReadSource) -> None:
    with pytest.raises(SourceError, match=r"no image below .*: looked for"):
        read(tmp_path)
    (tmp_path / "000.tar").touch()
    with pytest.raises(SourceError, match=r"give a pattern: '.*/\*\.tar'"):
        read(tmp_path)


def test_names_in_another_encoding_are_refused(tmp_path: Path, read: ReadSource) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.png"))
    with pytest.raises(SourceError, match="UTF-8 text"):
        read(tmp_path)


def test_what_is_passed_over_is_mentioned(tmp_path: Path, read: ReadSource) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    (tmp_path / "b.jp2").write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    catalogue = read(tmp_path)
    assert catalogue.ids(0, 9) == ["a.png"]
    assert catalogue.warnings == (
        "1 image in formats that are not read was passed over: b.jp2, …",
        "1 symbolic links to folders were not followed: loop, …",
    )
