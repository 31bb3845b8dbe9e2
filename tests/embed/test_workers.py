"""Several worker processes: the same store as one makes, whoever dies on the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embed.run import RunSettings, run
from tests.conftest import write_catalogue
from tests.embed.test_run import PHASH, contents

# A file, and not `python -c`: the workers import it as well, and write parts as often.
SCRIPT = """
import embed.part_writer
embed.part_writer.PART_SECONDS = 0.02
if __name__ == "__main__":
    from embed.cli import main
    main(prog_name="embed")
"""


def start(catalogue: Path, output: Path) -> subprocess.Popen[str]:
    script = output.with_name("embed_often.py")
    script.write_text(SCRIPT)
    command: list[str | Path] = [sys.executable, script, "run", catalogue, "-o", output]
    command += ["--device", "cpu,cpu", "--batch-size", "8"]
    command += ["--image-encoder", PHASH, "--image-encoder", f"b={PHASH}"]  # need no torch
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        stderr=pipe,
        stdout=pipe,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The child processes that run workers (and not multiprocessing's own tracker)."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if is_worker(pid)]


def is_worker(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def wait_for_part(output: Path, process: subprocess.Popen[str]) -> None:
    parts = output.with_name(f"{output.name}.parts")
    while process.poll() is None and not list(parts.glob("*.part")):
        time.sleep(0.01)


def test_two_workers_make_the_store_of_one(tmp_path: Path) -> None:
    catalogue = write_catalogue(tmp_path / "catalogue", num_products=40, num_photos=8)
    encoders = (PHASH, f"b={PHASH}")  # need no torch, which each worker would import
    settings = RunSettings(
        catalogue, tmp_path / "one.h5", encoders, ("tfidf",), batch_size=8, device="cpu"
    )
    run(settings)
    two = RunSettings(
        catalogue, tmp_path / "two.h5", encoders, ("tfidf",), batch_size=8, device="cpu,cpu"
    )
    summary = run(two)
    assert summary.num_encoded == 320
    assert contents(tmp_path / "two.h5") == contents(tmp_path / "one.h5")
    assert not (tmp_path / "two.h5.parts").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_a_worker_that_dies_is_started_again(large_catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    process = start(large_catalogue, output)
    wait_for_part(output, process)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "died (SIGKILL) and was started again" in errors
    encoders = (PHASH, f"b={PHASH}")
    run(RunSettings(large_catalogue, tmp_path / "whole.h5", encoders, batch_size=8, device="cpu"))
    assert contents(output) == contents(tmp_path / "whole.h5")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_a_worker_that_dies_twice_ends_the_run(large_catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    process = start(large_catalogue, output)
    wait_for_part(output, process)
    while process.poll() is None:  # each worker again and again
        for pid in workers_of(process):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "finished rows are kept, and the same command goes on from them" in errors
    assert list(tmp_path.glob("s.h5.parts/*.part"))


@pytest.mark.skipif(sys.platform != "linux", reason="relies on prctl")
def test_workers_die_with_their_parent(large_catalogue: Path, tmp_path: Path) -> None:
    process = start(large_catalogue, tmp_path / "s.h5")
    wait_for_part(tmp_path / "s.h5", process)
    workers = workers_of(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while any(is_worker(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers
    assert not any(is_worker(pid) for pid in workers)


@pytest.mark.skipif(sys.platform != "linux", reason="sends signals to process groups")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_workers_and_keeps_finished_rows(
    large_catalogue: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C reaches every process of the terminal's group; so may a scheduler's SIGTERM."""
    output = tmp_path / "s.h5"
    process = start(large_catalogue, output)
    wait_for_part(output, process)
    workers = workers_of(process)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("stopped: finished rows are kept")
    assert "Traceback" not in errors
    assert not any(is_worker(pid) for pid in workers)
    assert list(tmp_path.glob("s.h5.parts/*.part"))
