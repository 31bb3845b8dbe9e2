import gzip
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from embed.errors import ImageError, SourceError
from embed.sources import Catalogue, Fetcher, FetchSettings, Location, SourceSettings, read_source
from tests.embed.sources.conftest import ReadSource
from tests.embed.sources.web_server import LARGE, Server, running

pytest.importorskip("aiohttp")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        server.files["/files/a.jpg"] = b"a picture"
        yield server


def fetch(server: Server, path: str, **settings: object) -> bytes:
    fetcher = Fetcher([], FetchSettings(**settings))  # type: ignore[arg-type]
    return fetcher.read(Location(server.address + path))


def addresses(catalogue: Catalogue) -> list[str | None]:
    places = catalogue.locations(0, len(catalogue))
    return [place.address if place else None for place in places]


def test_an_image_is_read_whole(server: Server) -> None:
    server.files["/files/b ü.jpg?v=1"] = b""
    assert fetch(server, "/files/a.jpg") == b"a picture"
    assert fetch(server, "/moved") == b"a picture"
    assert fetch(server, "/large", max_bytes=LARGE) == b"x" * LARGE


@pytest.mark.parametrize(
    ("path", "expected", "num_requests"),
    [("/flaky/1", b"picture", 3), ("/busy/1", b"picture", 2),
     ("/reset/1", b"picture", 2), ("/short/1", b"pict", 2)],
)  # fmt: skip
def test_what_passes_is_tried_again(
    server: Server, path: str, expected: bytes, num_requests: int
) -> None:
    started = time.monotonic()
    assert fetch(server, path) == expected
    assert server.requests[path] == num_requests
    if "busy" in path:  # as long as the server asks for
        assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    ("path", "message", "num_requests"),
    [
        ("/files/nothing.jpg", "HTTP 404 Not Found", 1),
        ("/forbidden/1", "HTTP 403 Forbidden", 1),
        ("/broken/1", "HTTP 503 Service Unavailable", 3),
        ("/flaky/2?retries", "HTTP 500", 2),
        ("/escape", "file:///etc/passwd", 3),
    ],
)
def test_what_stays_is_told(server: Server, path: str, message: str, num_requests: int) -> None:
    retries = 1 if "retries" in path else 2
    with pytest.raises(ImageError, match=message):
        fetch(server, path, retries=retries)
    assert server.requests[path] == num_requests


def test_nobody_listens(server: Server) -> None:
    fetcher = Fetcher([], FetchSettings(retries=1))
    for address in (
        "http://127.0.0.1:9/a.jpg",
        "http://nowhere.invalid/a.jpg",
        "http://",
        "http://[",
    ):
        with pytest.raises(ImageError):
            fetcher.read(Location(address))


@pytest.mark.parametrize("path", ["/drip/1", "/silent/1", "/broken/2"])
def test_the_time_limit_is_for_all_attempts(server: Server, path: str) -> None:
    started = time.monotonic()
    with pytest.raises(ImageError, match=r"not there within 0\.5 s"):
        fetch(server, path, timeout_seconds=0.5, retries=100)
    assert 0.4 < time.monotonic() - started < 1.5


@pytest.mark.parametrize("path", ["/large", "/endless"])
def test_more_than_is_allowed_is_not_taken(server: Server, path: str) -> None:
    before = server.requests[path]
    with pytest.raises(ImageError, match="too large: at most 100,000 bytes"):
        fetch(server, path, max_bytes=100_000)
    assert server.requests[path] == before + 1


def test_threads_wait_at_the_same_time(server: Server) -> None:
    fetcher = Fetcher([], FetchSettings())
    paths = [f"/delayed/{number}" for number in range(64)]
    server.most_at_once = 0
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda path: fetcher.read(Location(server.address + path)), paths))
    assert found == [path.encode() for path in paths]
    assert 24 <= server.most_at_once <= 32


@pytest.mark.parametrize(
    "name", ["m.csv", "m.tsv", "m.csv.gz", "m.jsonl", "m.parquet", "m.csv?v=1.x"]
)
def test_a_remote_manifest_names_its_images(
    server: Server, tmp_path: Path, read: ReadSource, name: str
) -> None:
    images = ["a.jpg", "", f"{server.address}/moved", "/etc/passwd"]
    rows = pl.DataFrame({"id": ["a", "b", "c", "d"], "image": images})
    path = tmp_path / "manifest"
    if "csv" in name or "tsv" in name:
        rows.write_csv(path, separator="\t" if "tsv" in name else ",")
    else:
        (rows.write_ndjson if "jsonl" in name else rows.write_parquet)(path)
    data = path.read_bytes()
    server.files[f"/files/{name}"] = gzip.compress(data) if name.endswith(".gz") else data
    catalogue = read(f"{server.address}/files/{name}")
    files = f"{server.address}/files"
    assert addresses(catalogue) == [
        f"{files}/a.jpg", None, f"{server.address}/moved", f"{files}/etc/passwd"
    ]  # fmt: skip
    assert (catalogue.is_remote, catalogue.roots) == (True, (files,))
    fetcher = Fetcher(catalogue.roots, FetchSettings())
    for place in catalogue.locations(0, 4)[::2]:
        assert place is not None
        assert fetcher.read(place) == b"a picture"


def test_a_local_manifest_may_name_addresses(
    server: Server, tmp_path: Path, read: ReadSource
) -> None:
    (tmp_path / "m.csv").write_text(f"id,image\na,{server.address}/files/a.jpg\nb,file:///x\n")
    catalogue = read(tmp_path / "m.csv")
    assert addresses(catalogue) == [f"{server.address}/files/a.jpg", "file:///x"]
    assert catalogue.is_remote
    (tmp_path / "l.csv").write_text("id,image\na,a.jpg\n")
    assert not read(tmp_path / "l.csv").is_remote
    rooted = read(tmp_path / "l.csv", image_root=f"{server.address}/files/")
    assert addresses(rooted) == [f"{server.address}/files/a.jpg"]
    assert rooted.is_remote


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{}/files/nothing.csv", r"nothing\.csv can't be read: HTTP 404 Not Found"),
        ("{}/files/0.tar", "shards are read from a disk"),
        ("{}/files/", "is no manifest"),
        ("file:///etc/passwd.csv", "is not fetched"),
        ("zip://m.csv::{}/x.zip", "is not fetched"),
        ("{}/x::file:///etc/m.csv", "is not fetched"),
    ],
)
def test_remote_sources_that_are_refused(
    server: Server, read: ReadSource, source: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read(source.format(server.address))


def test_image_roots_of_this_machine_are_paths(tmp_path: Path, read: ReadSource) -> None:
    (tmp_path / "m.csv").write_text("id,image\na,a.jpg\n")
    with pytest.raises(SourceError, match="--image-root file:///etc is not fetched"):
        read(tmp_path / "m.csv", image_root="file:///etc")


def test_a_manifest_that_breaks_off_is_fetched_again(server: Server, tmp_path: Path) -> None:
    server.files.pop("/short/m.csv", None)
    with pytest.raises(SourceError, match="has no column 'id': its columns are pict"):
        read_source(f"{server.address}/short/m.csv", SourceSettings(), tmp_path / "spool")
    assert server.requests["/short/m.csv"] == 2
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_fetched_ends_at_once(server: Server) -> None:
    code = (
        "import sys; from concurrent.futures import ThreadPoolExecutor\n"
        "from embed.sources import Fetcher, FetchSettings, Location\n"
        "fetcher = Fetcher([], FetchSettings())\n"
        "places = [Location(sys.argv[1])] * 16\n"
        "with ThreadPoolExecutor(8) as pool: print(len(set(pool.map(fetcher.read, places))))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, f"{server.address}/files/a.jpg"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


MISSING = """
import sys
sys.modules[sys.argv[1]] = None
from pathlib import Path
from embed.errors import SourceError
from embed.sources import SourceSettings, read_source
assert not {"fsspec", "aiohttp", "s3fs"} & {name for name, found in sys.modules.items() if found}
try:
    read_source(sys.argv[2], SourceSettings(), Path(sys.argv[3]))
except SourceError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("fsspec", "https://h.invalid/m.csv", "https:// addresses need fsspec[http], which is not"),
        ("aiohttp", "http://h.invalid/m.csv", "http:// addresses need fsspec[http], which is not"),
        ("s3fs", "m.csv", "s3:// addresses need s3fs, which is not installed"),
    ],
)
def test_what_is_not_installed_is_told_at_once(
    tmp_path: Path, module: str, source: str, message: str
) -> None:
    (tmp_path / "m.csv").write_text("id,image\na,s3://bucket/a.jpg\n")
    done = subprocess.run(
        [sys.executable, "-c", MISSING, module, source, str(tmp_path / "spool")],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert message in done.stdout
