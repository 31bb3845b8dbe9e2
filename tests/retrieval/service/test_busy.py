"""What is slow does not hold up the rest: encoders that load, and clients that do not read."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from retrieval.service import connections
from retrieval.service.app import create_app
from retrieval.service.encoders import LoadedEncoder
from retrieval.service.guard import GuardSettings
from retrieval.service.server import opened
from retrieval.service.settings import ServiceSettings
from tests.retrieval.service.conftest import Demo, running, serving, wait_for_encoders


def test_while_an_encoder_is_loading_queries_are_put_off_and_the_rest_goes_on(demo: Demo) -> None:
    with opened(ServiceSettings(demo.store, space="tfidf")) as service:
        wait_for_encoders(service)
        store, loading = service.snapshot.store, Future[LoadedEncoder]()
        with running(create_app(service)) as address:
            known = service.encoders._encoders
            loaded = service.encoders.of(store, "tfidf", "text")
            (key,) = (key for key, future in known.items() if future is loaded)
            known[key] = loading
            with ThreadPoolExecutor(60) as pool:
                title = f"{address}/search?title=red"
                answers = list(pool.map(lambda _: httpx.get(title, timeout=20), range(60)))
            assert {answer.status_code for answer in answers} == {503}
            assert {answer.headers["retry-after"] for answer in answers} == {"1"}
            assert "being loaded" in answers[0].json()["detail"]
            assert httpx.get(f"{address}/healthz").status_code == 200
            known[key] = loaded
            assert httpx.get(title).status_code == 200


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
    guard = GuardSettings(body_seconds=5.0, whole_body_seconds=0.5)
    with serving(ServiceSettings(demo.store, space="hog"), guard) as address:

        def drips() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            for _ in range(30):
                yield b"x"
                time.sleep(0.1)

        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = httpx.post(f"{address}/search", content=drips(), headers=kind, timeout=20)
        assert answer.status_code == 408
