"""Clients that ask a server at once, in a process of their own, for benchmarks/serve.py."""

import http.client
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

BOUNDARY = "benchmark"
WORDS = [
    f"{stem}{end}" for stem in ["mug", "lamp", "chair", "shoe", "bag", "ring"] for end in range(300)
]


@cache
def photo() -> bytes:
    """A drawn photograph of 640 × 480."""
    from PIL import Image

    from embed.encoders.probes import draw_photographs

    file = io.BytesIO()
    Image.fromarray(draw_photographs(480, 640)[0]).save(file, "JPEG", quality=90)
    return file.getvalue()


def request_for(kind: str, number: int) -> tuple[Any, ...]:
    if kind == "id":
        return "GET", f"/search?k=24&id={quote(f'item {number}')}"
    if kind == "title":
        words = "+".join(WORDS[(number * step) % len(WORDS)] for step in (1, 7, 31))
        return "GET", f"/search?k=24&space=tfidf&title={words}"
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    body = head.encode() + photo() + f"\r\n--{BOUNDARY}--\r\n".encode()
    return "POST", "/search", body, f"multipart/form-data; boundary={BOUNDARY}"


def connect(address: str) -> http.client.HTTPConnection:
    place = urlsplit(address)
    assert place.hostname is not None
    return http.client.HTTPConnection(place.hostname, place.port, timeout=120)


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    content_type: str = "",
) -> tuple[int, bytes]:
    headers = {} if body is None else {"Content-Type": content_type}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def clients(address: str, kind: str, num_clients: int, num_requests: int) -> dict[str, float]:
    """What `ask_many` finds in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.serve_clients", address, kind]
    done = subprocess.run(
        [*command, f"{num_clients}", f"{num_requests}"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def ask_many(address: str, kind: str, num_clients: int, num_requests: int) -> dict[str, float]:
    """Latencies in milliseconds and requests a second, of clients that never wait."""
    photo()  # drawn once, before the clock starts
    asked = _Asked(iter(range(num_requests)))
    threads = [
        threading.Thread(target=_run, args=(address, kind, asked)) for _ in range(num_clients)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    return {
        "median_ms": round(1000 * float(np.median(asked.times)), 2),
        "p99_ms": round(1000 * float(np.quantile(asked.times, 0.99)), 2),
        "per_second": round(num_requests / seconds, 1),
        "errors": asked.num_errors,
    }


@dataclass
class _Asked:
    """The requests that are left, and what became of the others."""

    numbers: Iterator[int]
    times: list[float] = field(default_factory=list)
    num_errors: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_number(self) -> int | None:
        with self.lock:
            return next(self.numbers, None)

    def keep(self, status: int, seconds: float) -> None:
        with self.lock:
            self.times.append(seconds)
            self.num_errors += status != 200


def _run(address: str, kind: str, asked: _Asked) -> None:
    connection = connect(address)
    while (number := asked.next_number()) is not None:
        started = time.perf_counter()
        status, _ = ask(connection, *request_for(kind, number))
        asked.keep(status, time.perf_counter() - started)


if __name__ == "__main__":
    address, kind, num_clients, num_requests = sys.argv[1:]
    print(json.dumps(ask_many(address, kind, int(num_clients), int(num_requests))))
