import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fsspec
import pytest

from embed.errors import ImageError, SourceError
from embed.sources import Fetcher, FetchSettings, Location
from tests.embed.sources.conftest import ReadSource
from tests.embed.sources.web_server import Server, running

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A bucket of a server on this machine, which the usual variables point to."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
        filesystem.mkdir("bucket")
        filesystem.pipe("bucket/shop/images/a ü#.jpg", b"a picture")
        filesystem.pipe("bucket/shop/images/large.jpg", b"x" * 3_000_000)
        filesystem.pipe("bucket/shop/images/empty.jpg", b"")
        manifest = "id,image\na,images/a ü#.jpg\nl,s3://bucket/shop/images/large.jpg\n"
        filesystem.pipe("bucket/shop/m.csv", manifest.encode())
        yield filesystem
    server.stop()


def test_manifest_and_images_from_a_bucket(bucket: Any, read: ReadSource) -> None:
    catalogue = read("s3://bucket/shop/m.csv")
    assert catalogue.is_remote
    assert catalogue.roots == ("s3://bucket/shop",)
    fetcher = Fetcher(catalogue.roots, FetchSettings())
    first, second = catalogue.locations(0, 2)
    assert first == Location("s3://bucket/shop/images/a ü#.jpg")
    assert second is not None
    assert fetcher.read(first) == b"a picture"
    assert fetcher.read(second) == b"x" * 3_000_000
    assert fetcher.read(Location("s3://bucket/shop/images/empty.jpg")) == b""


def test_what_is_not_there_is_told(bucket: Any, read: ReadSource) -> None:
    fetcher = Fetcher([], FetchSettings(max_bytes=2_000_000))
    for name in ("bucket/nothing.jpg", "no-bucket/a.jpg"):
        with pytest.raises(ImageError, match="No such file"):
            fetcher.read(Location(f"s3://{name}"))
    with pytest.raises(ImageError, match="too large: at most 2,000,000 bytes"):
        fetcher.read(Location("s3://bucket/shop/images/large.jpg"))
    with pytest.raises(SourceError, match=r"s3://bucket/x\.csv can't be read: No such file"):
        read("s3://bucket/x.csv")


@pytest.fixture
def odd_server(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that fails as web servers do, under an address of S3."""
    with running() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        yield server


def test_what_passes_is_tried_again(odd_server: Server) -> None:
    fetcher = Fetcher([], FetchSettings())
    for name in ("flaky/1", "reset/1"):
        assert fetcher.read(Location(f"s3://{name}")) == b"picture"
    assert fetcher.read(Location("s3://short/1")) == b"pict"


def test_the_time_limit_is_for_all_attempts(odd_server: Server) -> None:
    started = time.monotonic()
    with pytest.raises(ImageError, match=r"not there within 0\.5 s"):
        Fetcher([], FetchSettings(timeout_seconds=0.5)).read(Location("s3://drip/1"))
    assert time.monotonic() - started < 3


def test_threads_wait_at_the_same_time(odd_server: Server) -> None:
    fetcher = Fetcher([], FetchSettings())
    names = [f"/delayed/{number}" for number in range(64)]
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda name: fetcher.read(Location(f"s3:/{name}")), names))
    assert found == [name.encode() for name in names]
    assert 20 <= odd_server.most_at_once <= 32
