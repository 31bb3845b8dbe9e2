"""Feed damaged image files to `read_pixels`, in a process whose crashes and hangs are noticed.

Every case is made from its number and the seed alone; `--only 1234` runs that one again.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Not the folder of this file, in which `embed` may be a benchmark.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import io
import json
import multiprocessing
import os
import resource
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from multiprocessing.connection import Connection

import numpy as np
from PIL import Image

from embed.decoding import read_pixels
from embed.errors import ImageError
from embed.images import SUFFIXES, ImageTransform, register_heif

TRANSFORMS = (
    ImageTransform((40, 40), (32, 32)),
    ImageTransform((32, 32), (32, 32), "longest", "bilinear", (255, 255, 255)),
    ImageTransform((32, 32), (32, 32), "squash", "lanczos", color="L"),
)
TIME_LIMIT_SECONDS = 20.0
START_LIMIT_SECONDS = 300.0  # importing torch on a machine that is busy
LENGTH_AT = 4  # of a PNG chunk: before its name; of a WebP chunk: after it


def _encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@cache
def originals() -> tuple[bytes, ...]:
    """Sound files of each kind: coded, coloured and tagged differently."""
    blocks = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    picture = Image.fromarray(blocks).resize((120, 90), Image.Resampling.BICUBIC)
    exif = picture.getexif()
    exif[274], exif[271], exif[282] = 6, "maker", 72.0
    deep = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    frames = [picture.rotate(90), picture.rotate(180)]
    jpegs = (
        _encoded(picture, "JPEG", exif=exif),
        _encoded(picture, "JPEG", progressive=True, exif=exif),
        _encoded(picture, "JPEG", subsampling=0, restart_marker_blocks=4),
        _encoded(picture.convert("L"), "JPEG"),
        _encoded(picture.convert("CMYK"), "JPEG"),
        _encoded(picture.resize((1200, 900)), "JPEG", quality=40),  # decoded at a fraction
    )
    pngs = (
        _encoded(picture, "PNG", exif=exif),
        _encoded(picture.convert("RGBA"), "PNG"),
        _encoded(picture.convert("P"), "PNG", transparency=3),
        _encoded(deep, "PNG"),
        _encoded(picture, "PNG", save_all=True, append_images=frames),
    )
    webps = (
        _encoded(picture, "WEBP", exif=exif),
        _encoded(picture, "WEBP", lossless=True),
        _encoded(picture.convert("RGBA"), "WEBP"),
        _encoded(picture, "WEBP", save_all=True, append_images=frames),
    )
    others = [_encoded(picture.convert("P"), "GIF", save_all=True, append_images=frames)]
    others += [_encoded(picture, "TIFF", compression=name) for name in ("raw", "tiff_lzw", "jpeg")]
    others += [_encoded(picture, "BMP")]
    if ".avif" in SUFFIXES:
        others += [_encoded(picture, "AVIF")]
    if ".heic" in SUFFIXES and register_heif():
        others += [_encoded(picture, "HEIF")]
    return (*jpegs, *pngs, *webps, *others)


def mutated(case: int, seed: int) -> bytes:
    """The damaged file of that number."""
    generator = np.random.default_rng((seed, case))
    files = originals()
    data = bytearray(files[generator.integers(len(files))])
    for _ in range(max(1, int(generator.integers(-2, 4)))):
        change = generator.choice(["flip", "header", "cut", "swap", "splice", "edge", "repeat"])
        data = _changed(data, str(change), generator) or data
    return bytes(data)


def _changed(data: bytearray, change: str, generator: np.random.Generator) -> bytearray:
    size = len(data)
    first, second = sorted(int(place) for place in generator.integers(0, size, 2))
    if change == "flip":
        for place in generator.integers(0, size, generator.integers(1, 9)):
            data[place] ^= 1 << int(generator.integers(8))
    elif change == "header":
        for place in generator.integers(0, min(size, 700), generator.integers(1, 5)):
            data[place] = int(
                generator.choice([0, 1, 0x7F, 0x80, 0xFF, int(generator.integers(256))])
            )
    elif change == "cut":
        return data[:first] if generator.random() < 0.5 else data[:first] + data[second:]
    elif change == "splice":
        other = originals()[generator.integers(len(originals()))]
        return data[:first] + other[int(generator.integers(len(other))) :]
    elif change == "repeat":
        return data[:second] + data[first:second] * int(generator.integers(1, 20)) + data[second:]
    else:
        return _with_chunks_changed(data, change, generator)
    return data


def _with_chunks_changed(data: bytearray, change: str, generator: np.random.Generator) -> bytearray:
    """Two chunks in each other's place, or (`edge`) an extreme number at the head of one."""
    bounds = list(_chunks(bytes(data)))
    if len(bounds) < 3:
        return data
    one, other = sorted(int(index) for index in generator.choice(len(bounds) - 1, 2, replace=False))
    parts = [data[start:stop] for start, stop in zip(bounds, [*bounds[1:], len(data)], strict=True)]
    if change == "swap":
        parts[one], parts[other] = parts[other], parts[one]
    else:
        extreme = generator.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
        place = int(generator.integers(2, 14))
        width = int(generator.choice([2, 4]))
        number = int(extreme) % 256**width
        parts[other][place : place + width] = number.to_bytes(width, "big")
    return data[: bounds[0]] + bytearray().join(parts)


def _chunks(data: bytes) -> Iterator[int]:
    """Where the chunks of a PNG or WebP file, or the segments of a JPEG file, begin."""
    if data[:2] == b"\xff\xd8":
        place = 2
        while data[place : place + 1] == b"\xff":
            yield place
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        return
    is_png = data[1:4] == b"PNG"
    place, extra = (8, 12) if is_png else (12, 8)
    while place + 8 <= len(data):
        yield place
        at = place if is_png else place + LENGTH_AT
        place += extra + int.from_bytes(data[at : at + 4], "big" if is_png else "little")


def outcome_of(data: bytes) -> str:
    """`decoded`, `refused`, or what went wrong."""
    try:
        results = read_pixels(data, TRANSFORMS)
    except ImageError as error:
        return "refused" if str(error) else "escaped: a refusal without a reason"
    except Exception:  # noqa: BLE001 - finding what escapes is what this program is for
        return "escaped: " + " | ".join(traceback.format_exc().splitlines()[-5:])
    for transform, pixels in results.items():
        channels = 3 if transform.color == "RGB" else 1
        expected = (*transform.crop_to, channels)
        if pixels.shape != expected or pixels.dtype != np.uint8 or not pixels.flags.c_contiguous:
            return f"escaped: {pixels.shape} of {pixels.dtype} in place of {expected}"
    return "decoded"


def _work(connection: Connection) -> None:
    """Run the cases that come through the connection; every warning counts as an error."""
    warnings.simplefilter("error")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where libtiff writes what it thinks of a file
    outcome_of(originals()[0])
    connection.send(("ready", 0))
    while True:
        case, seed = connection.recv()
        outcome = outcome_of(mutated(case, seed))
        connection.send((outcome, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


class _Worker:
    """A process that can crash or hang without harm, and is then replaced by another."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(START_LIMIT_SECONDS):
            raise SystemExit("the worker does not start")
        self._connection.recv()

    def run(self, case: int, seed: int) -> tuple[str, int]:
        """The outcome and the peak memory so far in KiB."""
        try:
            self._connection.send((case, seed))
            if not self._connection.poll(TIME_LIMIT_SECONDS):
                self.stop()
                return "over the time limit", 0
            outcome, peak = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            return f"crashed: exit code {self._process.exitcode}", 0
        return str(outcome), int(peak)

    @property
    def is_usable(self) -> bool:
        return self._process.is_alive()

    def stop(self) -> None:
        self._process.kill()
        self._process.join()


def fuzz(cases: range, seed: int) -> dict[str, object]:
    """Counts of outcomes, the bad cases by number, the slowest case and the peak of memory."""
    worker, counts, bad = _Worker(), Counter[str](), {}
    peak, slowest = 0, (0.0, -1)
    started = time.perf_counter()
    for case in cases:
        if not worker.is_usable:
            worker = _Worker()
        began = time.perf_counter()
        outcome, memory = worker.run(case, seed)
        slowest = max(slowest, (time.perf_counter() - began, case))
        peak = max(peak, memory)
        counts[outcome.split(":")[0]] += 1
        if outcome not in ("decoded", "refused"):
            bad[case] = outcome
    worker.stop()
    names = ("decoded", "refused", "crashed", "over the time limit", "escaped")
    return {
        "seed": seed,
        "num_cases": len(cases),
        **{name.replace(" ", "_"): counts[name] for name in names},
        "bad_cases": bad,
        "slowest_seconds": round(slowest[0], 3),
        "slowest_case": slowest[1],
        "peak_mib": round(peak / 1024),
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run one case, by its number")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cases = range(arguments.count)
    if arguments.only is not None:
        cases = range(arguments.only, arguments.only + 1)
    result = fuzz(cases, arguments.seed)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name.replace('_', ' '):20} {value}")
    sys.exit(1 if result["bad_cases"] else 0)


if __name__ == "__main__":
    main()
