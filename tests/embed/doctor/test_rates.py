"""Rates are of the work that was done, on all of it."""

import io
import time
from pathlib import Path

import pytest
from PIL import Image

from embed.doctor.rates import decode_rate, rate, rate_in_threads, write_rate
from embed.images import ImageTransform
from embed.parts import PartsFolder
from embed.store import SpaceInfo


def test_work_is_repeated_for_the_time_given() -> None:
    calls: list[int] = []

    def work() -> int:
        calls.append(0)
        time.sleep(0.01)
        return 5

    assert rate(work, 0.1) == pytest.approx(500, rel=0.6)
    assert len(calls) > 2
    calls.clear()
    rate(work, 0.0)
    assert len(calls) == 1


def test_every_item_is_worked_on() -> None:
    done: list[int] = []
    assert rate_in_threads(done.append, range(7), 3, 0.0) > 0
    assert sorted(done) == list(range(7))


def test_files_that_can_not_be_decoded_count_too() -> None:
    data = io.BytesIO()
    Image.new("RGB", (32, 32)).save(data, "JPEG")
    transform = ImageTransform((8, 8), (8, 8), "squash", "bilinear")
    files = [data.getvalue(), b"not an image"]
    assert decode_rate(files, {transform}, 2, 0.0) > 0
    assert decode_rate(files, {transform}, 2, 0.0, max_pixels=100) > 0


def test_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    def info(kind: str, precision: str) -> SpaceInfo:
        return SpaceInfo(kind, "image", "x", "0", precision, kind == "dense", 64)  # type: ignore[arg-type]

    spaces = [info("dense", "fp32"), info("dense", "bf16"), info("binary", "binary")]
    assert write_rate(spaces, tmp_path, 0.0) > 0
    assert not PartsFolder(tmp_path / "written.h5").names()
    assert not list(tmp_path.rglob("*.part*/*"))
