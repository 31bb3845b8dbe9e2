"""Peak memory of `embed run` as a catalogue grows: python benchmarks/embed_memory.py [--quick].

Each run is a process of its own on a manifest of that many rows, whose images are a few small ones
again and again. The store must hold every row before its peak is counted.
"""

import sys
from pathlib import Path

# In place of this folder, in which a module is named as the package is.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks.machine import describe_machine, write_results  # noqa: E402
from embed.store import Store  # noqa: E402

NUM_IMAGES = 50


def main() -> None:
    arguments = _arguments()
    counts = [int(count) for count in arguments.rows.split(",")]
    if arguments.quick:
        counts = [2_000, 20_000]
    with tempfile.TemporaryDirectory() as folder:
        _draw_images(Path(folder))
        runs = {str(count): _measure(Path(folder), count) for count in counts}
    results: dict[str, Any] = {"machine": describe_machine(), "runs": runs}
    peaks = [run["peak_mib"] for run in runs.values()]
    results["largest_over_smallest"] = round(peaks[-1] / peaks[0], 4)
    if not arguments.quick:
        write_results("embed-memory", results)
    print(json.dumps(results, indent=2) if arguments.json else _table(results))


def _measure(folder: Path, count: int) -> dict[str, float]:
    """Peak memory and time of a run over so many rows, whose store must be whole."""
    manifest, output = folder / f"{count}.csv", folder / f"{count}.h5"
    _write_manifest(manifest, count)
    command = [sys.executable, "-m", "embed", "run", str(manifest), "-o", str(output)]
    command += ["--image-encoder", "classic:phash", "--batch-size", "256", "--json"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=sys.path[0]) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    assert process.returncode == 0, f"exit status {process.returncode}"
    with Store(output) as store:
        assert len(store) == count
        assert not store.failures
    for path in (manifest, output):
        path.unlink()
    return {
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
        "seconds": round(seconds, 1),
        "rows_per_second": round(count / seconds, 1),
    }


def _draw_images(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(NUM_IMAGES):
        pixels = generator.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def _write_manifest(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("id,image,title,label,price\n")
        for row in range(count):
            title = f"a plain thing of model {row * 7919 % count}"
            image, label, price = f"{row % NUM_IMAGES}.png", f"label-{row // 5}", row % 9973 / 100
            file.write(f"product-{row:08},{image},{title},{label},{price}\n")


def _table(results: dict[str, Any]) -> str:
    lines = [f"{'rows':>10} {'peak MiB':>9} {'rows/s':>8}"]
    for count, run in results["runs"].items():
        lines.append(f"{count:>10} {run['peak_mib']:9.0f} {run['rows_per_second']:8.0f}")
    return "\n".join([*lines, f"largest over smallest: {results['largest_over_smallest']}"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rows", default="10000,100000", help="row counts, with commas between")
    return parser.parse_args()


if __name__ == "__main__":
    main()
