"""Memory of `heads train` on features that don't fit: python benchmarks/heads_memory.py [--quick].

One head (--kind) is trained twice on the same store, each in a process of its own: with all
features in memory, and with --memory of an eighth of them, so that they are read from the mapped
store again and again. Both heads must have the same weights. Memory is what the process itself
holds (RssAnon); the pages of the mapped file are the kernel's, which takes them back when it needs
them.
"""

import sys
from pathlib import Path

# In place of this folder, in which a module is named as the package is.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

from safetensors.numpy import load_file  # noqa: E402

from benchmarks import heads_attributes  # noqa: E402
from benchmarks.heads import ProjectionCase, write_store  # noqa: E402
from benchmarks.heads_attributes import AttributeCase  # noqa: E402
from benchmarks.machine import describe_machine, write_results  # noqa: E402

SECONDS_BETWEEN_LOOKS = 0.02


def main() -> None:
    arguments = _arguments()
    rows = 20_000 if arguments.quick else 200_000
    write = {"projection": _write_projection, "attributes": _write_attributes}[arguments.kind]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        num_bytes, options = write(folder / "store.h5", rows)
        whole = _measure(folder, "whole", num_bytes * 2, options)
        streamed = _measure(folder, "streamed", num_bytes // 8, options)
        first, second = (load_file(folder / f"{n}.safetensors") for n in ("whole", "streamed"))
        assert all((first[key] == second[key]).all() for key in first)
    results: dict[str, Any] = {
        "machine": describe_machine(),
        "kind": arguments.kind,
        "features_mib": round(num_bytes / 2**20, 1),
        "whole": whole,
        "streamed": streamed,
        "streamed_over_whole_seconds": round(streamed["epoch_seconds"] / whole["epoch_seconds"], 3),
    }
    if not arguments.quick:
        suffix = "" if arguments.kind == "projection" else f"-{arguments.kind}"
        write_results(f"heads-memory{suffix}", results)
    print(json.dumps(results, indent=2) if arguments.json else _table(results))


def _write_projection(path: Path, rows: int) -> tuple[int, list[str]]:
    """The bytes of the features, and what the command takes for this kind."""
    case = ProjectionCase(num_rows=rows, num_classes=rows // 20, num_val_classes=100)
    write_store(path, case)
    options = ["--space", "drawn", "--target", "label", "--split-column", "split", "--dim", "128"]
    return case.num_rows * case.num_features * 4, options


def _write_attributes(path: Path, rows: int) -> tuple[int, list[str]]:
    case = AttributeCase(rows)
    heads_attributes.write_store(path, case)
    options = ["--kind", "attributes", "--space", "drawn", "--split-column", "split"]
    options += ["--category", "category"]
    for number in range(max(heads_attributes.PAIRS)):
        options += ["--target", f"attr_{number}"]
    return case.num_rows * case.num_features * 4, options


def _measure(folder: Path, name: str, memory: int, options: list[str]) -> dict[str, float]:
    """Peak memory, and the seconds of the second epoch, which holds no start."""
    head = folder / f"{name}.safetensors"
    command = [sys.executable, "-m", "heads", "train", str(folder / "store.h5"), "-o", str(head)]
    command += options
    command += ["--epochs", "2", "--memory", str(memory), "--precision", "fp32"]
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=sys.path[0]) as process:
        while process.poll() is None:
            peak = max(peak, _anonymous_mib(process.pid))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    assert process.returncode == 0, f"exit status {process.returncode}"
    history = head.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    seconds = json.loads(history[-1])["seconds"]
    return {
        "memory_mib": round(memory / 2**20, 1),
        "peak_anonymous_mib": round(peak, 1),
        "epoch_seconds": round(seconds, 3),
    }


def _anonymous_mib(process: int) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:  # it has just ended
        return 0.0
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def _table(results: dict[str, Any]) -> str:
    lines = [f"features: {results['features_mib']:,.0f} MiB, the same head twice"]
    for name in ("whole", "streamed"):
        run = results[name]
        lines.append(
            f"{name:9} --memory {run['memory_mib']:8,.0f} MiB: peak "
            f"{run['peak_anonymous_mib']:8,.0f} MiB, {run['epoch_seconds']:.1f} s an epoch"
        )
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--kind", choices=["projection", "attributes"], default="projection")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--folder", type=Path, help="where the store of features is written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
