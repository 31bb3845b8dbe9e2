"""Requests that mean harm, or none that make sense: never a 500, a crash or a foreign file."""

import http.client
import resource
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from PIL import Image
from schemathesis.core.result import Ok

from retrieval.service.settings import ServiceSettings
from tests.retrieval.service.conftest import Demo, serving

NUM_CONNECTIONS = 1_000
NUM_THRESHOLDS = 60
EXAMPLES = settings(
    max_examples=6,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def hostile_address(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own over a copy, which decisions and thresholds may be written beside."""
    copy = Demo(tmp_path_factory.mktemp("hostile"))
    for path in (demo.store, demo.threshold, demo.head, demo.attribute_head):
        shutil.copy(path, copy.folder)
    settings = replace(copy.settings, image_root=demo.folder / "catalogue")
    before = _files_of(demo.folder)
    with serving(settings) as address:
        yield address
    assert _files_of(demo.folder) == before


def _files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_fits_the_document_and_what_does_not_is_answered(hostile_address: str) -> None:
    schema = schemathesis.openapi.from_url(f"{hostile_address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) >= 12
    with httpx.Client(base_url=hostile_address, timeout=60) as client:
        for operation in operations:
            for mode in schemathesis.GenerationMode:
                _try_many(operation, mode, client)
        assert client.get("/healthz").status_code == 200


def _try_many(
    operation: schemathesis.APIOperation[Any, Any, Any, Any],
    mode: schemathesis.GenerationMode,
    client: httpx.Client,
) -> None:
    @seed(0)
    @EXAMPLES
    @given(case=operation.as_strategy(generation_mode=mode))
    def try_one(case: schemathesis.Case[Any]) -> None:
        answer = case.call(headers={"X-Requested-With": "product-search"})
        assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.text}"
        if answer.status_code >= 400:
            assert list(answer.json()) == ["detail"], answer.text
        declared = {int(code) for code in operation.definition.raw["responses"]}
        assert answer.status_code in declared, (operation.label, answer.status_code)

    try:
        try_one()
    except Unsatisfiable:  # an operation that nothing can be wrong with
        assert mode is schemathesis.GenerationMode.NEGATIVE


def raw(address: str, target: bytes, method: bytes = b"GET", header: bytes = b"") -> int:
    """The status of a request whose target no client would send."""
    with socket.create_connection(place_of(address), 30) as connection:
        host = urlsplit(address).netloc.encode()
        connection.sendall(
            method
            + b" "
            + target
            + b" HTTP/1.1\r\nHost: "
            + host
            + b"\r\n"
            + header
            + b"Connection: close\r\n\r\n"
        )
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert b"root:x:0" not in answer.read()
        return answer.status


TRICKS = [
    b"../../../../../../etc/passwd",
    b"..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    b"%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    b"/etc/passwd",
    b"%2fetc%2fpasswd",
    b"%00",
    b"p00000-00%00.jpg",
    b"%ed%a0%80",
    b"%ff%fe",
    b"..%5c..%5cetc%5cpasswd",
    b"a" * 8_000,
    b"images/p00000-00.jpg",
    b"p00000-00/../p00000-01",
    b"file:%2f%2f%2fetc%2fpasswd",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_ids_never_become_paths(hostile_address: str, trick: bytes) -> None:
    for place in (b"/items/", b"/image/", b"/", b"/views/", b"/search?id=", b"/match?id="):
        assert raw(hostile_address, place + trick) in (400, 403, 404, 405), place
    own = b"X-Requested-With: product-search\r\n"
    for method in (b"BREW", b"PUT", b"DELETE"):
        assert raw(hostile_address, b"/items/" + trick, method) == 403
        assert raw(hostile_address, b"/items/" + trick, method, own) in (400, 404, 405), method


@seed(0)
@EXAMPLES
@given(where=st.text(max_size=50), threshold=st.text(max_size=50), space=st.text(max_size=50))
def test_odd_texts_are_told(hostile_address: str, where: str, threshold: str, space: str) -> None:
    for odd in ({"where": where}, {"threshold": threshold}, {"space": space}):
        texts = {name: text.encode("utf-8", "replace").decode() for name, text in odd.items()}
        answer = httpx.get(f"{hostile_address}/search", params={"id": "p00000-00", **texts})
        assert answer.status_code in (200, 400), answer.text


def _photo(size: tuple[int, int]) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, "red").save(file, "JPEG")
    return file.getvalue()


def _gif_of_many(num: int) -> bytes:
    file = BytesIO()
    frames = [Image.new("L", (64, 64), shade) for shade in range(num)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


PHOTO = _photo((300, 200))
UPLOADS = {
    "empty": b"",
    "one byte": b"\xff",
    "cut in half": PHOTO[: len(PHOTO) // 2],
    "turned bytes": PHOTO[:200] + bytes(reversed(PHOTO[200:])),
    "pixels of a bomb": _photo((10_000, 10_000)),
    "one line": _photo((60_000, 1)),
    "many frames": _gif_of_many(200),
    "an archive": b"PK\x03\x04" + b"\0" * 1_000,
    "a page": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
}


@pytest.mark.parametrize("name", UPLOADS)
def test_odd_uploads_are_told(hostile_address: str, name: str) -> None:
    for path in ("/search", "/match", "/attributes"):
        upload = {"image": ("a.jpg", UPLOADS[name], "image/jpeg")}
        answer = httpx.post(f"{hostile_address}{path}", files=upload, timeout=60)
        assert answer.status_code in (200, 400, 422), answer.text
        assert answer.status_code == 200 or list(answer.json()) == ["detail"]


def test_more_than_a_megabyte_of_title_is_told(hostile_address: str) -> None:
    form = {"title": "mug " * 500_000}
    answer = httpx.post(f"{hostile_address}/search", data=form, timeout=60)
    assert answer.status_code in (400, 413, 422)


def test_a_thousand_open_connections_leave_it_healthy(hostile_address: str, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * NUM_CONNECTIONS + 500  # both ends are in this process
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} open files, and the system allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    with ExitStack() as stack:
        begun = []
        for number in range(NUM_CONNECTIONS):
            opened = stack.enter_context(socket.create_connection(place_of(hostile_address), 30))
            if number % 2:
                opened.sendall(b"GET /search?id=p00000-00 HTTP/1.1\r\nHost: loc")
                begun.append(opened)
        assert httpx.get(f"{hostile_address}/healthz", timeout=60).status_code == 200
        for opened in begun[::10]:
            opened.sendall(b"alhost\r\n\r\n")
            assert status_of(opened) == 200
    assert httpx.get(f"{hostile_address}/search?id=p00000-00", timeout=60).status_code == 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_connections_than_there_may_be_are_told(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.service.server.MOST_CONNECTIONS", 20)
    settings = ServiceSettings(demo.store, space="phash", decisions=tmp_path / "d.jsonl")
    request = b"GET /search?id=p00000-00 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(settings) as address:
        with ExitStack() as stack:
            for _ in range(20):
                opened = socket.create_connection(place_of(address), 30)
                stack.enter_context(opened).sendall(request[:20])
            refused = stack.enter_context(socket.create_connection(place_of(address), 30))
            refused.sendall(request)
            assert status_of(refused) == 503
        for _ in range(500):  # until the server has seen that they are closed
            if httpx.get(f"{address}/healthz", timeout=60).status_code == 200:
                break
            time.sleep(0.01)
        assert httpx.get(f"{address}/search?id=p00000-00", timeout=60).status_code == 200


def test_many_thresholds_at_once_are_answered_or_told_to_wait(hostile_address: str) -> None:
    statuses: list[int] = []

    def ask(number: int) -> None:
        parameters = {"threshold": f"{0.3 + number / 100:.2f}"}
        answer = httpx.get(f"{hostile_address}/groups", params=parameters, timeout=60)
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(NUM_THRESHOLDS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == NUM_THRESHOLDS and set(statuses) <= {200, 503}, sorted(statuses)
    assert 200 in statuses
    assert httpx.get(f"{hostile_address}/healthz", timeout=60).status_code == 200


def place_of(address: str) -> tuple[str, int]:
    """The host and the port of an address."""
    place = urlsplit(address)
    assert place.hostname and place.port
    return place.hostname, place.port


def status_of(connection: socket.socket) -> int:
    """The status of the answer that a connection waits for."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status
