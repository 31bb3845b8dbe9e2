"""Queries by id, title and image over 100,000 × 512 rows, from clients of another process.

    python benchmarks/serve.py [--quick] [--json]

First the answers are checked: an item's neighbours are those of `retrieval neighbours`, to the bit,
and an image that the store has is found. Then latencies and rates are measured with 1, 8 and 64
clients on loopback, and what the server's memory grows by over 10,000 requests. Server and clients
share the machine's cores. The vectors are drawn at random; images pass through a perceptual hash
and a projection to 512 numbers, titles through TF-IDF.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # in place of this folder, in which a module is named as the package is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import http.client
import io
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

CLIENTS = (1, 8, 64)
KINDS = ("id", "title", "image")
DIM = 512
BOUNDARY = "benchmark"
WORDS = [
    f"{stem}{end}" for stem in ["mug", "lamp", "chair", "shoe", "bag", "ring"] for end in range(300)
]


@dataclass(frozen=True)
class Scale:
    """How much is asked."""

    num_rows: int = 100_000
    num_requests: int = 300
    num_of_memory: int = 10_000


QUICK = Scale(20_000, 60, 1_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer rows and requests")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        address, kind, num_clients, num_requests = options.client
        print(json.dumps(_ask_many(address, kind, int(num_clients), int(num_requests))))
        return
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), QUICK if options.quick else Scale())
    if not options.quick:
        from benchmarks.machine import write_results

        write_results("serve", results)
    print(json.dumps(results, indent=2) if options.json else _described(results))


def measure(folder: Path, scale: Scale) -> dict[str, Any]:
    """All figures, after the answers were found to be right."""
    from benchmarks.machine import describe_machine

    store, head = write_store(folder, scale.num_rows)
    results: dict[str, Any] = {"machine": describe_machine(), "scale": vars(scale)}
    with serving(store, head) as (address, pid, start_seconds):
        results["start_seconds"] = start_seconds
        check(address, store)
        for kind in KINDS:
            _clients(address, kind, 8, 64)  # warm
            for num_clients in CLIENTS:
                found = _clients(address, kind, num_clients, scale.num_requests)
                results |= {f"{name}_by_{kind}_{num_clients}": found[name] for name in found}
        results["median_ms_by_id"] = results["median_ms_by_id_1"]
        results["p99_ms_by_id"] = results["p99_ms_by_id_1"]
        before = _resident_mib(pid)
        found = _clients(address, "id", 8, scale.num_of_memory)
        results["rss_mib_before"], results["rss_mib_after"] = before, _resident_mib(pid)
        results["errors"] = found["errors"] + sum(
            results[f"errors_by_{kind}_{num}"] for kind in KINDS for num in CLIENTS
        )
    assert results["errors"] == 0
    return results


def write_store(folder: Path, num_rows: int) -> tuple[Path, Path]:
    """A store with vectors at random, and the head that images pass through."""
    import torch

    from embed.encoders.classic import PerceptualHash
    from embed.encoders.specs import EncoderSpec
    from embed.encoders.tfidf import TfIdf
    from embed.store import SpaceInfo, StoreWriter
    from heads.features import SpaceReference
    from heads.head import load_head, save_head
    from heads.info import HeadInfo
    from heads.projection.bodies import BodySettings, make_body

    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    hashing = PerceptualHash(EncoderSpec.parse("phash=classic:phash", "image"))
    settings = BodySettings(dim=DIM)
    body = make_body(hashing.info.dim, settings)
    reference = SpaceReference("phash", hashing.info.fingerprint, hashing.info.dim)
    info = HeadInfo("projection", (reference,), (), (), vars(settings), {}, 0, 0, {})
    head_path = folder / "head.safetensors"
    save_head(head_path, info, body)
    fingerprint = load_head(head_path).fingerprint
    codes = generator.integers(0, 256, (num_rows, 8)).astype(np.uint8)
    codes[0] = hashing.encode(_pixels(hashing))[0]
    titles = [" ".join(generator.choice(WORDS, 6)) for _ in range(num_rows)]
    path = folder / "store.h5"
    with StoreWriter(path, "", {}) as writer:
        ids = np.array([f"item {row}" for row in range(num_rows)], object)
        columns = {"title": np.array(titles, object), "code": np.arange(num_rows)}
        writer.write_items(ids, columns, {"image": np.zeros((num_rows, 16), np.uint8)})
        writer.write_array("phash", hashing.info, codes)
        made = SpaceInfo("dense", "image", "head:projection(phash)", fingerprint, "fp16", True, DIM)
        space = writer.create_array("drawn", made, (num_rows, DIM), np.float16)
        bits = np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1
        with torch.no_grad():
            for start in range(0, num_rows, 10_000):
                units = bits[start : start + 10_000] / np.float32(np.sqrt(hashing.info.dim))
                space[start : start + 10_000] = body.eval()(torch.from_numpy(units)).numpy()
        tfidf = TfIdf(EncoderSpec.parse("tfidf", "text")).fit_encode(titles)
        writer.write_sparse("tfidf", tfidf.info, tfidf.vectors, tfidf.fitted)
    return path, head_path


@cache
def photo() -> bytes:
    """A drawn photograph of 640 × 480."""
    from PIL import Image

    from embed.encoders.probes import draw_photographs

    file = io.BytesIO()
    Image.fromarray(draw_photographs(480, 640)[0]).save(file, "JPEG", quality=90)
    return file.getvalue()


def _pixels(encoder: Any) -> Any:
    from embed.decoding import read_pixels

    return read_pixels(photo(), {encoder.transform})[encoder.transform][None]


@contextmanager
def serving(store: Path, head: Path) -> Iterator[tuple[str, int, float]]:
    """The address of a server, its process, and the seconds until it answered."""
    command = [sys.executable, "-m", "retrieval", "serve", str(store), "--port", "0"]
    options = ["--head", str(head), "--space", "drawn", "--threshold", "0.5", "--device", "cpu"]
    root = Path(__file__).resolve().parents[1]
    compiled = {"PYTHONPYCACHEPREFIX": str(store.parent / "compiled"), "PYTHONPATH": str(root)}
    environment = {**os.environ, **compiled}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    importing = [sys.executable, "-c", "import retrieval.service.server"]
    subprocess.run(importing, check=True, cwd=root, env=environment)  # as it is once installed
    started = time.perf_counter()
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, text=True, cwd=root, env=environment
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        connection = _connect(address)
        assert _ask(connection, "GET", "/healthz")[0] == 200
        try:
            yield address, process.pid, round(time.perf_counter() - started, 2)
        finally:
            process.terminate()


def check(address: str, path: Path) -> None:
    """The answers are those of the command line, and an image of the store is found."""
    from embed.store import Store
    from retrieval.search.neighbours import find_neighbours
    from retrieval.search.sides import StoreRows, between

    connection = _connect(address)
    with Store(path) as store:
        rows = np.array([0, len(store) // 2, len(store) - 1])
        sides = between(StoreRows(store, rows), StoreRows(store, np.arange(len(store))))
        expected = find_neighbours(sides, "drawn", 25)
        for place, row in enumerate(rows.tolist()):
            _, body = _ask(connection, *_request("id", row))
            results = json.loads(body)["results"]
            own = expected.rows[place, 1:]
            assert [each["id"] for each in results] == store.ids[own].tolist()
            scores = np.array([each["score"] for each in results], np.float32)
            assert np.array_equal(scores, expected.scores[place, 1:])
    _, body = _ask(connection, *_request("image", 0))
    assert json.loads(body)["results"][0]["id"] == "item 0"
    _, body = _ask(connection, *_request("title", 0))
    assert json.loads(body)["results"]


def _request(kind: str, number: int) -> tuple[Any, ...]:
    if kind == "id":
        return "GET", f"/search?k=24&id={quote(f'item {number}')}"
    if kind == "title":
        words = "+".join(WORDS[(number * step) % len(WORDS)] for step in (1, 7, 31))
        return "GET", f"/search?k=24&space=tfidf&title={words}"
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    body = head.encode() + photo() + f"\r\n--{BOUNDARY}--\r\n".encode()
    return "POST", "/search", body, f"multipart/form-data; boundary={BOUNDARY}"


def _connect(address: str) -> http.client.HTTPConnection:
    place = urlsplit(address)
    assert place.hostname is not None
    return http.client.HTTPConnection(place.hostname, place.port, timeout=120)


def _ask(
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


def _clients(address: str, kind: str, num_clients: int, num_requests: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--client", address, kind, f"{num_clients}"]
    done = subprocess.run(
        [*command, f"{num_requests}"], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _ask_many(address: str, kind: str, num_clients: int, num_requests: int) -> dict[str, float]:
    """Latencies in milliseconds and requests a second, of clients that never wait."""
    photo()  # drawn once, before the clock starts
    times: list[float] = []
    errors: list[int] = []
    numbers = iter(range(num_requests))
    lock = threading.Lock()

    def run() -> None:
        connection = _connect(address)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            started = time.perf_counter()
            status, _ = _ask(connection, *_request(kind, number))
            times.append(time.perf_counter() - started)
            if status != 200:
                errors.append(status)

    threads = [threading.Thread(target=run) for _ in range(num_clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    return {
        "median_ms": round(1000 * float(np.median(times)), 2),
        "p99_ms": round(1000 * float(np.quantile(times, 0.99)), 2),
        "per_second": round(num_requests / seconds, 1),
        "errors": len(errors),
    }


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None
    return round(int(found[1]) / 1024, 1)


def _described(results: dict[str, Any]) -> str:
    lines = [f"starts in {results['start_seconds']} s; {results['errors']} errors"]
    for kind in KINDS:
        for num in CLIENTS:
            median, p99, rate = (
                results[f"{name}_by_{kind}_{num}"] for name in ("median_ms", "p99_ms", "per_second")
            )
            lines.append(
                f"by {kind:5} {num:2} clients: median {median:8.2f} ms, 99 % {p99:8.2f} ms, "
                f"{rate:7.1f} a second"
            )
    lines.append(f"memory: {results['rss_mib_before']} → {results['rss_mib_after']} MiB")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
