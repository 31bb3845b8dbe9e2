"""What is slow does not hold up the rest: encoders that load, and clients that do not read."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from retrieval.service import connections
from retrieval.service.app import create_app
from retrieval.service.encoders import LoadedEncoder
from retrieval.service.guard import GuardSettings
from retrieval.service.server import NUM_THREADS, opened
from retrieval.service.settings import ServiceSettings
from tests.retrieval.service.conftest import Demo, running, serving, wait_for_encoders

NUM_SLOW = 20
ONE_MORE = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_while_an_encoder_is_loading_queries_are_put_off_and_the_rest_goes_on(demo: Demo) -> None:
    with opened(ServiceSettings(demo.store, space="tfidf")) as service:
        wait_for_encoders(service)
        store, loading = service.snapshot.store, Future[LoadedEncoder]()
        with running(create_app(service)) as address:
            known = service.encoders._encoders
            loaded = service.encoders.of(store, "tfidf", "text")
            (key,) = (key for key, future in known.items() if future is loaded)
            known[key] = loading
            loaded.result(60)
            with httpx.Client(base_url=address, timeout=20) as client:
                title = "/search?title=red"
                with ThreadPoolExecutor(60) as pool:
                    answers = list(pool.map(lambda _: client.get(title), range(60)))
                assert {answer.status_code for answer in answers} == {503}
                assert {answer.headers["retry-after"] for answer in answers} == {"1"}
                assert "being loaded" in answers[0].json()["detail"]
                assert client.get("/healthz").status_code == 200
                known[key] = loaded
                assert client.get(title).status_code == 200


def test_a_client_that_does_not_read_is_left(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "READING_SECONDS", 0.2)
    with serving(ServiceSettings(demo.store, space="hog")) as address:
        host, port = httpx.URL(address).host, httpx.URL(address).port
        assert port is not None
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect((host, port))
            one = f"GET /openapi.json HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
            with pytest.raises(ConnectionError):
                for _ in range(3000):  # more answers than the system keeps for a client
                    lazy.sendall(one)
                    time.sleep(0.002)


def test_a_body_that_drips_is_ended_in_all(demo: Demo) -> None:
    guard = GuardSettings(body_seconds=5.0, whole_body_seconds=0.2)
    with serving(ServiceSettings(demo.store, space="hog"), guard) as address:

        def drips() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            for _ in range(10):
                yield b"x"
                time.sleep(0.1)

        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = httpx.post(f"{address}/search", content=drips(), headers=kind, timeout=20)
        assert answer.status_code == 408


def test_headers_that_drip_are_ended_in_all_and_others_are_answered(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    with (
        serving(ServiceSettings(demo.store, space="hog")) as address,
        httpx.Client(base_url=address) as others,
        ExitStack() as stack,
    ):
        dripping = [stack.enter_context(_connected(address)) for _ in range(NUM_SLOW)]
        begun, ended = time.monotonic(), set[int]()
        for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 200:
            for number, slow in enumerate(dripping):
                if number not in ended and not _takes(slow, bytes([byte])):
                    ended.add(number)
            assert others.get("/items/p00000-00").elapsed.total_seconds() < 5
            if len(ended) == NUM_SLOW:
                break
            time.sleep(0.02)
        assert len(ended) == NUM_SLOW and time.monotonic() - begun >= 0.5


def test_slow_bodies_and_clients_that_do_not_read_hold_up_nobody(demo: Demo) -> None:
    """As many bodies as there are threads: none of them takes one."""
    with (
        serving(ServiceSettings(demo.store, space="hog")) as address,
        httpx.Client(base_url=address, timeout=20) as others,
        ExitStack() as stack,
    ):
        form = "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x"
        unread = "\r\n" + 20 * ONE_MORE
        asked = (("POST /search", form, NUM_THREADS), ("GET /openapi.json", unread, 5))
        for line, rest, num_clients in asked:
            for _ in range(num_clients):
                slow = stack.enter_context(_connected(address, 4096))
                slow.setblocking(False)
                slow.send(f"{line} HTTP/1.1\r\nHost: localhost\r\n{rest}".encode())
        for path in ("/healthz", "/items/p00000-00", "/search?id=p00000-00", "/image/p00000-00"):
            assert others.get(path).status_code == 200, path


def _connected(address: str, received: int | None = None) -> socket.socket:
    """A connection; `received` bytes are what the system keeps of what is not read."""
    slow = socket.socket()
    if received is not None:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
    slow.connect((httpx.URL(address).host, httpx.URL(address).port))
    return slow


def _takes(slow: socket.socket, data: bytes) -> bool:
    """Whether a connection is still open for more."""
    try:
        slow.sendall(data)
        slow.setblocking(False)
        return slow.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        slow.setblocking(True)
