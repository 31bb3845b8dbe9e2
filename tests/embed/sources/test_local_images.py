import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embed.errors import ImageError
from embed.sources import Fetcher, FetchSettings, Location


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/a.jpg").write_bytes(b"picture")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "root-of-others").mkdir()
    (tmp_path / "root-of-others/b.jpg").write_bytes(b"secret")
    return folder


def read(root: Path, path: object, **settings: object) -> bytes:
    fetcher = Fetcher([str(root)], FetchSettings(**settings))  # type: ignore[arg-type]
    return fetcher.read(Location(str(path)))


def test_files_inside_the_root_are_read_whole(root: Path) -> None:
    assert read(root, root / "sub/a.jpg") == b"picture"
    assert read(root, root / "sub/../sub/a.jpg") == b"picture"
    (root / "empty.jpg").touch()
    assert read(root, root / "empty.jpg") == b""
    (root / "large.jpg").write_bytes(bytes(range(256)) * 4096)
    assert read(root, root / "large.jpg") == bytes(range(256)) * 4096


def test_a_missing_file_says_so(root: Path) -> None:
    with pytest.raises(ImageError, match=r"^No such file or directory: /"):
        read(root, root / "sub/nothing.jpg")
    (root / "broken.jpg").symlink_to(root / "nothing.jpg")
    with pytest.raises(ImageError, match=r"^No such file or directory: /"):
        read(root, root / "broken.jpg")


@pytest.mark.parametrize(
    "path",
    ["../secret.jpg", "sub/../../secret.jpg", "../nothing.jpg", "../root-of-others/b.jpg",
     "/etc/passwd", "//etc/passwd"],
)  # fmt: skip
def test_paths_that_lead_out_of_the_root_are_refused(root: Path, path: str) -> None:
    with pytest.raises(ImageError, match=r"lies outside the image root .*--allow-outside-root"):
        read(root, os.path.join(root, path))  # noqa: PTH118 (as the catalogue joins)


def test_links_that_lead_out_of_the_root_are_refused(root: Path) -> None:
    (root / "file.jpg").symlink_to(root.parent / "secret.jpg")
    (root / "hop.jpg").symlink_to(root / "file.jpg")
    (root / "folder").symlink_to(root.parent)
    for path in ("file.jpg", "hop.jpg", "folder/secret.jpg", "folder/root-of-others/b.jpg"):
        with pytest.raises(ImageError, match="lies outside the image root"):
            read(root, root / path)
        assert read(root, root / path, allow_outside_root=True) == b"secret"
    assert read(root, root.parent / "secret.jpg", allow_outside_root=True) == b"secret"


def test_links_within_the_root_are_followed(root: Path) -> None:
    (root / "link.jpg").symlink_to("sub/a.jpg")
    (root / "folder").symlink_to("sub")
    (root.parent / "way-in").symlink_to(root)
    for path in (root / "link.jpg", root / "folder/a.jpg", root.parent / "way-in/sub/a.jpg"):
        assert read(root, path) == b"picture"
    assert read(root.parent / "way-in", root.parent / "way-in/sub/a.jpg") == b"picture"


@pytest.mark.parametrize("settings", [{}, {"allow_outside_root": True}])
def test_only_regular_files_are_read(root: Path, settings: dict[str, bool]) -> None:
    os.mkfifo(root / "pipe.jpg")
    (root / "link.jpg").symlink_to(root / "pipe.jpg")
    (root / "device.jpg").symlink_to("/dev/zero")
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket.jpg"))
        for name in ("pipe.jpg", "link.jpg", "device.jpg", "socket.jpg", "sub", "", "."):
            with pytest.raises(ImageError, match=r"not a regular file|lies outside"):
                read(root, f"{root}/{name}", **settings)
    with pytest.raises(ImageError, match="Too many levels of symbolic links"):
        read(root, root / "loop.jpg", **settings)


def test_a_part_of_a_shard_is_read_by_its_place(root: Path) -> None:
    shard = root / "000.tar"
    shard.write_bytes(b"0123456789")
    fetcher = Fetcher([str(shard)], FetchSettings())
    assert fetcher.read(Location(str(shard), 3, 4)) == b"3456"
    assert fetcher.read(Location(str(shard), 3, 0)) == b""
    with pytest.raises(ImageError, match="shorter than when it was indexed"):
        fetcher.read(Location(str(shard), 8, 4))
    with pytest.raises(ImageError, match="lies outside"):
        fetcher.read(Location(str(root / "sub/a.jpg")))


def test_too_large_files_are_refused(root: Path) -> None:
    assert read(root, root / "sub/a.jpg", max_bytes=7) == b"picture"
    with pytest.raises(ImageError, match="too large: at most 6 bytes are read, found 7 bytes"):
        read(root, root / "sub/a.jpg", max_bytes=6)


@pytest.mark.parametrize(
    "address",
    ["file:///etc/passwd", "local:///etc/passwd", "memory://a", "zip://a.jpg::https://h/x.zip",
     "https://h/x::file:///etc/passwd", "simplecache::https://h/a.jpg", "FILE:///etc/passwd"],
)  # fmt: skip
@pytest.mark.parametrize("allow", [False, True])
def test_protocols_of_this_machine_are_not_fetched(root: Path, address: str, allow: bool) -> None:
    with pytest.raises(ImageError, match="is not fetched: an address starts with one of"):
        read(root, address, allow_outside_root=allow)


def test_threads_share_a_fetcher(root: Path) -> None:
    for number in range(300):
        folder = root / str(number % 7)
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(str(number).encode() * 1000)
    fetcher = Fetcher([str(root)], FetchSettings())
    places = [Location(str(root / str(n % 7) / f"{n}.jpg")) for n in range(300)] * 5
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(fetcher.read, places))
    assert found == [str(n).encode() * 1000 for n in range(300)] * 5
    assert threading.active_count() < 16
