"""A search whose gallery does not fit, in a process of its own, for benchmarks/retrieval.py.

10,000 queries look among 1,000,000 × 512 in float16, from a store, with 2 GiB; on a GPU the million
look among one another. Peak memory is all that the process ever held, its libraries and the pages
of the mapped file included.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # in place of this folder, in which a module is named as the package is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import json
import re
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from embed.store import SpaceInfo, Store, StoreWriter
from retrieval.search.neighbours import iterate_neighbours
from retrieval.search.sides import StoreRows, between

K = 50
WRITTEN_ROWS = 20_000
SAMPLE_ROWS = 2**15


@dataclass(frozen=True)
class LargeCase:
    """Queries are the first rows of the gallery."""

    num_queries: int = 10_000
    num_gallery: int = 1_000_000
    dim: int = 512
    memory_bytes: int = 2**31


QUICK = LargeCase(num_queries=1_000, num_gallery=100_000, memory_bytes=2**29)


def large_results(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Seconds of the search over those of its bare products, and its peak over the budget."""
    import torch

    case = QUICK if quick else LargeCase()
    if torch.cuda.is_available() and not quick:
        case = LargeCase(num_queries=case.num_gallery)
    path = folder / "large.h5"
    write_store(path, case)
    found = _search(path, case)
    bare = bare_products(case)
    return {
        "large_case": vars(case),
        "large_seconds": found["seconds"],
        "large_over_bare_products": {name: found["seconds"] / bare[name] for name in bare},
        "large_peak_mib": found["peak_mib"],
        "peak_over_budget_mib": found["peak_mib"] - case.memory_bytes / 2**20,
    }


def write_store(path: Path, case: LargeCase) -> None:
    generator = np.random.default_rng(0)
    info = SpaceInfo("dense", "image", "drawn", "d" * 32, "fp16", True, case.dim)
    with StoreWriter(path, "", {}) as writer:
        ids = np.array([f"{row}" for row in range(case.num_gallery)], object)
        writer.write_items(ids, {}, {"image": np.zeros((len(ids), 16), np.uint8)})
        shape = case.num_gallery, case.dim
        space = writer.create_array("drawn", info, shape, np.float16)
        for start in range(0, case.num_gallery, WRITTEN_ROWS):
            count = min(WRITTEN_ROWS, case.num_gallery - start)
            block = generator.standard_normal((count, case.dim), np.float32)
            block /= np.linalg.norm(block, axis=1, keepdims=True)
            space[start : start + count] = block


def bare_products(case: LargeCase) -> dict[str, float]:
    """Seconds of the same multiplications and nothing else, from a sample of the gallery."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    num_queries = min(4096, case.num_queries)
    strip_rows = 512 if device.type == "cpu" else num_queries
    share = num_queries * SAMPLE_ROWS / (case.num_queries * case.num_gallery)
    seconds = {}
    for dtype in (torch.bfloat16, torch.float32):
        queries = torch.randn(num_queries, case.dim, device=device, dtype=dtype)
        gallery = torch.randn(SAMPLE_ROWS, case.dim, device=device, dtype=dtype)

        def multiply(one: torch.Tensor = queries, other: torch.Tensor = gallery) -> None:
            for first in range(0, SAMPLE_ROWS, 2048):
                for start in range(0, num_queries, strip_rows):
                    torch.mm(one[start : start + strip_rows], other[first : first + 2048].T)

        name = str(dtype).removeprefix("torch.")
        seconds[name] = _best_of(multiply, device.type == "cuda") / share
    return seconds


def _best_of(function: Callable[[], None], is_cuda: bool) -> float:
    """The quickest of four: what the machine can do when nothing else is in the way."""
    import torch

    times = []
    for _ in range(4):
        started = time.perf_counter()
        function()
        if is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times)


def _search(path: Path, case: LargeCase) -> dict[str, float]:
    command = [sys.executable, __file__, str(path), str(case.num_queries), str(case.memory_bytes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _search_here(path: Path, num_queries: int, memory_bytes: int) -> dict[str, float]:
    """Each query must find itself where it is not left out, and the rest in descending order."""
    with Store(path) as store:
        gallery = StoreRows(store, np.arange(len(store)))
        queries = StoreRows(store, np.arange(num_queries))
        started = time.perf_counter()
        for start, found in iterate_neighbours(
            between(queries, gallery), "drawn", K, memory_bytes=memory_bytes
        ):
            assert (found.rows[:, 0] == np.arange(start, start + len(found.rows))).all()
            assert (np.diff(found.scores[:, 1:], axis=1) <= 0).all()
        measured = {"seconds": time.perf_counter() - started, "peak_mib": _peak_mib()}
        _assert_best(store, found.rows[-1], found.scores[-1])
    return measured


def _peak_mib() -> float:
    """The most that this program held; ru_maxrss may be its parent's, which started it."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        if found:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _assert_best(store: Store, rows: Any, scores: Any) -> None:
    """The last query's neighbours are those of a plain product over the whole gallery."""
    vectors = store.array("drawn")
    query = vectors[rows[0]].astype(np.float32)
    plain = np.concatenate(
        [vectors[at : at + WRITTEN_ROWS] @ query for at in range(0, len(vectors), WRITTEN_ROWS)]
    )
    plain[rows[0]] = -np.inf
    best = -np.sort(-plain)[: K - 1]
    np.testing.assert_allclose(scores[1:], best, atol=2e-3)  # as stored, lengths are not quite 1


if __name__ == "__main__":
    print(json.dumps(_search_here(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
