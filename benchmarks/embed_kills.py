"""Kill `embed run` at random moments and compare what it seals: python benchmarks/embed_kills.py.

The same run of two encoders is started again and again and killed (SIGKILL) at a random moment of
the time that a whole run takes, on one worker and on two. Whenever one gets as far as to seal its
store, the items and vectors must be those of a run that was never killed, bit by bit; then it
begins anew. Parts are written twenty times a second, so that most kills leave some.
"""

import sys
from pathlib import Path

# In place of this folder, in which a module is named as the package is.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse  # noqa: E402
import json  # noqa: E402
import random  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import h5py  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

CODE = (
    "import embed.part_writer; embed.part_writer.PART_SECONDS = 0.05; "
    "from embed.cli import main; main(prog_name='embed')"
)
ENCODERS = ["--image-encoder", "classic:color-hog", "--image-encoder", "classic:phash"]
DEVICES = {"one worker": "cpu", "two workers": "cpu,cpu"}


def main() -> None:
    arguments = _arguments()
    generator = random.Random(arguments.seed)
    num_kills = 5 if arguments.quick else arguments.kills
    with tempfile.TemporaryDirectory() as folder:
        source = _draw_images(Path(folder, "images"), arguments.images)
        expected, seconds = _whole_run(source, Path(folder, "whole.h5"))
        results: dict[str, Any] = {
            name: _kill(source, Path(folder, "killed.h5"), device, num_kills, generator, expected)
            for name, device in DEVICES.items()
        }
    results["seconds_of_a_whole_run"] = round(seconds, 1)
    print(json.dumps(results, indent=2))


def _kill(
    source: Path,
    output: Path,
    device: str,
    num_kills: int,
    generator: random.Random,
    expected: dict[str, Any],
) -> dict[str, int]:
    """Counts of kills, of those that left parts behind, and of sealed stores that were compared."""
    output.unlink(missing_ok=True)
    _, seconds = _timed(source, output, device)
    _compare(output, expected)
    counts = {"kills": 0, "kills_that_left_parts": 0, "stores_compared": 0}
    while counts["kills"] < num_kills or not counts["stores_compared"]:
        output.unlink(missing_ok=True)
        while not output.exists():
            lets_it_end = counts["kills"] >= num_kills
            moment = None if lets_it_end else generator.uniform(0.05, 1.05) * seconds
            if _run_for(source, output, device, moment):
                counts["kills"] += 1
                parts = output.with_name(f"{output.name}.parts")
                counts["kills_that_left_parts"] += bool(list(parts.glob("*.part")))
        _timed(source, output, device)  # one killed after it had sealed leaves its parts behind
        _compare(output, expected)
        assert not output.with_name(f"{output.name}.parts").exists()
        counts["stores_compared"] += 1
    return counts


def _whole_run(source: Path, output: Path) -> tuple[dict[str, Any], float]:
    _, seconds = _timed(source, output, "cpu")
    return _contents(output), seconds


def _timed(source: Path, output: Path, device: str) -> tuple[int, float]:
    started = time.perf_counter()
    done = subprocess.run(_command(source, output, device), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.returncode, time.perf_counter() - started


def _run_for(source: Path, output: Path, device: str, seconds: float | None) -> bool:
    """Run for some time at most; whether it had to be killed."""
    process = subprocess.Popen(
        _command(source, output, device), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    return process.returncode == -signal.SIGKILL


def _command(source: Path, output: Path, device: str) -> list[str]:
    command = [sys.executable, "-c", CODE, "run", str(source), "-o", str(output), *ENCODERS]
    return [*command, "--device", device, "--batch-size", "8"]


def _contents(path: Path) -> dict[str, Any]:
    """Every data set of the store, byte for byte."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, node: (
                found.__setitem__(name, node[...]) if isinstance(node, h5py.Dataset) else None
            )
        )
    return found


def _compare(path: Path, expected: dict[str, Any]) -> None:
    found = _contents(path)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.array_equal(found[name], values), f"{name} differs"


def _draw_images(folder: Path, count: int) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(folder / f"{number:04}.jpg")
    return folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five kills")
    parser.add_argument("--kills", type=int, default=50, help="on each number of workers")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
