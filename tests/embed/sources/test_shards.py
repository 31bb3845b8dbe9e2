import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from embed.errors import SourceError
from embed.sources import Catalogue, Fetcher, FetchSettings
from embed.sources.patterns import expand_braces
from tests.embed.sources.conftest import ReadSource

Members = Sequence[tuple[str | tarfile.TarInfo, bytes]]


def write_tar(path: Path, members: Members, tar_format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=tar_format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def images(catalogue: Catalogue) -> list[bytes | None]:
    fetcher = Fetcher(catalogue.roots, FetchSettings())
    places = catalogue.locations(0, len(catalogue))
    return [fetcher.read(place) if place else None for place in places]


@pytest.mark.parametrize(
    "tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]
)
def test_members_of_one_key_are_an_item(tmp_path: Path, read: ReadSource, tar_format: int) -> None:
    long = "folder-of-a-long-name/" * 5 + "k" * 60
    fields = {"id": "sku-9", "title": "not this", "price": 1.5, "size": {"w": 2}, "n": 3}
    members: Members = [
        ("a/one.jpg", b"first picture"),
        ("a/one.txt", "Größe\n".encode()),
        ("a/one.json", json.dumps(fields).encode()),
        ("two.json", json.dumps({"title": "Two", "caption": "no", "n": 4}).encode()),
        ("two.PNG", b""),
        ("two.cls", b"12\n"),
        ("three.json", json.dumps({"caption": "Three"}).encode()),
        (f"{long}.webp", b"x" * 70_000),
    ]
    catalogue = read(write_tar(tmp_path / "000.tar", members, tar_format))
    assert catalogue.ids(0, 9) == ["sku-9", "two", "three", long]
    assert catalogue.titles(0, 9) == ["Größe", "Two", "Three", ""]
    assert images(catalogue) == [b"first picture", b"", None, b"x" * 70_000]
    found = {name: catalogue.column(name, 0, 9).tolist() for name in catalogue.columns}
    np.testing.assert_array_equal(found.pop("price"), [1.5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(found.pop("n"), [3, 4, np.nan, np.nan])
    np.testing.assert_array_equal(found.pop("cls"), [np.nan, 12, np.nan, np.nan])
    assert found == {
        "image": ["000.tar/a/one.jpg", "000.tar/two.PNG", "", f"000.tar/{long}.webp"],
        "title": ["Größe", "Two", "Three", ""],
        "size": ['{"w": 2}', "", "", ""],
        "caption": ["", "no", "Three", ""],
    }
    assert (catalogue.has_images, catalogue.has_titles, catalogue.is_remote) == (True, True, False)
    assert (catalogue.num_empty_titles, catalogue.warnings) == (1, ())


def numbered_shards(folder: Path, numbers: Sequence[int]) -> None:
    for number in numbers:
        write_tar(folder / f"s-{number}.tar", [(f"k{number}.jpg", str(number).encode())])


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("s-*.tar", ["k1", "k2", "k10"]),
        ("s-{1..2}.tar", ["k1", "k2"]),
        ("s-{10,2}.tar", ["k10", "k2"]),
        ("{s,r}-2.tar", None),
        ("s-{1..3}.tar", None),
        ("t-*.tar", None),
    ],
)
def test_patterns_name_shards(
    tmp_path: Path, read: ReadSource, pattern: str, keys: list[str] | None
) -> None:
    numbered_shards(tmp_path, (10, 1, 2))
    if keys is None:
        with pytest.raises(SourceError, match=r"which is no file|no file matches"):
            read(tmp_path / pattern)
        return
    catalogue = read(tmp_path / pattern)
    assert catalogue.ids(0, 9) == keys
    assert images(catalogue) == [key[1:].encode() for key in keys]
    assert len(catalogue.roots) == len(keys)


def test_braces_expand_as_a_shell_does() -> None:
    assert list(expand_braces("a{08..11}b")) == ["a08b", "a09b", "a10b", "a11b"]
    assert list(expand_braces("{a,b}-{2..1}")) == ["a-2", "a-1", "b-2", "b-1"]
    assert list(expand_braces("plain")) == ["plain"]


def test_a_file_named_like_a_pattern_is_itself(tmp_path: Path, read: ReadSource) -> None:
    write_tar(tmp_path / "s-{1..2}[x].tar", [("k.jpg", b"x")])
    assert read(tmp_path / "s-{1..2}[x].tar").ids(0, 9) == ["k"]


def test_links_climbing_names_and_other_members_do_no_harm(
    tmp_path: Path, read: ReadSource
) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    members: Members = [
        ("../secret.jpg", b"picture"),
        ("/etc/passwd.jpg", b"absolute"),
        (link("soft.jpg", "../secret.jpg"), b""),
        (link("hard.jpg", "../secret.jpg", tarfile.LNKTYPE), b""),
        (link("pipe.jpg", "", tarfile.FIFOTYPE), b""),
        (link("disk.jpg", "", tarfile.BLKTYPE), b""),
        (link("folder", "", tarfile.DIRTYPE), b""),
        ("b.npy", b"1"),
        ("._b.jpg", b"1"),
        ("c.jpg", b"1"),
        ("c.png", b"2"),
    ]
    catalogue = read(write_tar(tmp_path / "0.tar", members))
    assert catalogue.ids(0, 9) == ["../secret", "/etc/passwd", "c"]
    assert images(catalogue) == [b"picture", b"absolute", b"1"]
    tar = tmp_path / "0.tar"
    assert catalogue.warnings == (
        f"4 members that are links, devices or sparse were passed over: {tar}: soft.jpg, …",
        f"2 members of other kinds were passed over: {tar}: b.npy, …",
        f"1 second images of a key were passed over: {tar}: c.png, …",
    )


@pytest.mark.parametrize("kept", [100, 512, 700, 1024 + 300, 3 * 512 + 20, 5 * 512 + 1])
def test_shards_that_end_too_early_are_refused(tmp_path: Path, read: ReadSource, kept: int) -> None:
    path = write_tar(tmp_path / "0.tar", [("a.jpg", b"x" * 600), ("b.txt", b"y" * 600)])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SourceError, match=r"0\.tar can't be read as a tar .* copy or write it"):
        read(path)


def test_damage_in_the_middle_is_found(tmp_path: Path, read: ReadSource) -> None:
    path = write_tar(tmp_path / "0.tar", [("a.jpg", b"x"), ("b.jpg", b"y")])
    data = bytearray(path.read_bytes())
    data[1024:1034] = b"\xff" * 10  # the name of the second, which its checksum covers
    path.write_bytes(data)
    with pytest.raises(SourceError, match="no valid header at byte 1,024"):
        read(path)


def test_a_shard_without_its_end_mark_is_read_and_mentioned(
    tmp_path: Path, read: ReadSource
) -> None:
    path = write_tar(tmp_path / "0.tar", [("a.jpg", b"x" * 512)])
    path.write_bytes(path.read_bytes()[:1024])
    catalogue = read(path)
    assert images(catalogue) == [b"x" * 512]
    assert catalogue.warnings == (f"1 shards lack the mark that ends a tar (whole?): {path}, …",)


def test_keys_must_be_unique_across_shards(tmp_path: Path, read: ReadSource) -> None:
    for number in range(2):
        write_tar(tmp_path / f"{number}.tar", [("same.jpg", b"x")])
    with pytest.raises(SourceError, match="'same' stands at item 1 and again at item 2"):
        read(tmp_path / "*.tar")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.json", b"{")], r"a\.json can't be read"),
        ([("a.txt", b"\xff")], r"a\.txt can't be read"),
        ([("a.json", b'{"content_hash": 1}')], "can't be named 'content_hash'"),
        ([("x.npy", b"1")], "has no rows"),
        ([], "has no rows"),
    ],
)
def test_shards_that_are_refused(
    tmp_path: Path, read: ReadSource, members: Members, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read(write_tar(tmp_path / "0.tar", members))


def test_compressed_shards_are_refused(tmp_path: Path, read: ReadSource) -> None:
    with tarfile.open(tmp_path / "0.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(SourceError, match=r"unpack it to a plain \.tar"):
        read(tmp_path / "0.tar.gz")
    (tmp_path / "0.tar.gz").rename(tmp_path / "0.tar")
    with pytest.raises(SourceError, match="can't be read as a tar"):
        read(tmp_path / "0.tar")
