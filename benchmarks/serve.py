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
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any

import numpy as np

CLIENTS = (1, 8, 64)
KINDS = ("id", "title", "image")


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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), QUICK if options.quick else Scale())
    if not options.quick:
        from benchmarks.machine import write_results

        write_results("serve", results)
    print(json.dumps(results, indent=2) if options.json else _described(results))


def measure(folder: Path, scale: Scale) -> dict[str, Any]:
    """All figures, after the answers were found to be right."""
    from benchmarks.machine import describe_machine
    from benchmarks.serve_clients import clients
    from benchmarks.serve_store import write_store

    store, head = write_store(folder, scale.num_rows)
    results: dict[str, Any] = {"machine": describe_machine(), "scale": vars(scale)}
    with serving(store, head) as (address, pid, start_seconds):
        results["start_seconds"] = start_seconds
        check(address, store)
        for kind in KINDS:
            clients(address, kind, 8, 64)  # warm
            for num_clients in CLIENTS:
                found = clients(address, kind, num_clients, scale.num_requests)
                results |= {f"{name}_by_{kind}_{num_clients}": found[name] for name in found}
        results["median_ms_by_id"] = results["median_ms_by_id_1"]
        results["p99_ms_by_id"] = results["p99_ms_by_id_1"]
        before = _resident_mib(pid)
        found = clients(address, "id", 8, scale.num_of_memory)
        results["rss_mib_before"], results["rss_mib_after"] = before, _resident_mib(pid)
        results["errors"] = found["errors"] + sum(
            results[f"errors_by_{kind}_{num}"] for kind in KINDS for num in CLIENTS
        )
    assert results["errors"] == 0
    return results


@contextmanager
def serving(store: Path, head: Path) -> Iterator[tuple[str, int, float]]:
    """The address of a server, its process, and the seconds until it answered."""
    from benchmarks.serve_clients import ask, connect

    command = [sys.executable, "-m", "retrieval", "serve", str(store), "--port", "0"]
    options = ["--head", str(head), "--space", "drawn", "--threshold", "0.5", "--device", "cpu"]
    root = Path(__file__).resolve().parents[1]
    compiled = {"PYTHONPYCACHEPREFIX": str(store.parent / "compiled"), "PYTHONPATH": str(root)}
    environment = {**os.environ, **compiled}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    importing = [sys.executable, "-c", "import heads.head, retrieval.service.server"]
    subprocess.run(importing, check=True, cwd=root, env=environment)  # as it is once installed
    started = time.perf_counter()
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, text=True, cwd=root, env=environment
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        connection = connect(address)
        assert ask(connection, "GET", "/healthz")[0] == 200
        try:
            yield address, process.pid, round(time.perf_counter() - started, 2)
        finally:
            process.terminate()


def check(address: str, path: Path) -> None:
    """The answers are those of the command line, and an image of the store is found."""
    from benchmarks.serve_clients import connect
    from embed.store import Store
    from retrieval.search.neighbours import find_neighbours
    from retrieval.search.sides import StoreRows, between

    connection = connect(address)
    with Store(path) as store:
        rows = np.array([0, len(store) // 2, len(store) - 1])
        sides = between(StoreRows(store, rows), StoreRows(store, np.arange(len(store))))
        expected = find_neighbours(sides, "drawn", 25)
        for place, row in enumerate(rows.tolist()):
            results = _results(connection, "id", row)
            own = expected.rows[place, 1:]
            assert [each["id"] for each in results] == store.ids[own].tolist()
            scores = np.array([each["score"] for each in results], np.float32)
            assert np.array_equal(scores, expected.scores[place, 1:])
    assert _results(connection, "image", 0)[0]["id"] == "item 0"
    assert _results(connection, "title", 0)


def _results(connection: HTTPConnection, kind: str, number: int) -> list[dict[str, Any]]:
    """What a search finds, once its encoder is loaded."""
    from benchmarks.serve_clients import ask, request_for

    status, body = ask(connection, *request_for(kind, number))
    while status == HTTPStatus.SERVICE_UNAVAILABLE:
        time.sleep(0.1)
        status, body = ask(connection, *request_for(kind, number))
    results: list[dict[str, Any]] = json.loads(body)["results"]
    return results


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
