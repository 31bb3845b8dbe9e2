"""Images a second from the bytes of a JPEG file to pixels: Pillow's way and `read_pixels`.

Results are compared before anything is timed. Both ways take turns, since a machine's speed varies,
and the fastest turn of each counts.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Not the folder of this file, in which `embed` may be a benchmark.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import io
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from embed.decoding import read_pixels
from embed.images import ImageTransform, decode_image

TRANSFORM = ImageTransform((224, 224), (224, 224))
EDGES = (500, 1000, 4000)
MOST_LEVELS, MEAN_LEVELS = 4, 0.5

Way = Callable[[bytes], UInt8[np.ndarray, "h w c"]]


def through_pillow(data: bytes) -> UInt8[np.ndarray, "h w c"]:
    return TRANSFORM.apply(decode_image(data))


def through_read_pixels(data: bytes) -> UInt8[np.ndarray, "h w c"]:
    return read_pixels(data, (TRANSFORM,))[TRANSFORM]


def photographs(edge: int, count: int) -> list[bytes]:
    """JPEG files of 4:3 with shapes, edges and grain; about 1 bit a pixel, as shops have them."""
    return [_photograph(edge, np.random.default_rng((edge, number))) for number in range(count)]


def _photograph(edge: int, generator: np.random.Generator) -> bytes:
    width, height = edge, edge * 3 // 4
    shapes = Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8))
    details = Image.fromarray(generator.integers(0, 256, (90, 120, 3), np.uint8))
    pixels = sum(
        np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16) * part
        for layer, part in ((shapes, 3), (details, 1))
    )
    pixels = pixels // 4 + generator.integers(-7, 8, (height, width, 3), np.int16)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def assert_agreement(files: list[bytes]) -> dict[str, float]:
    """The greatest and the mean difference in levels of 255, which must be small."""
    pairs = [(through_read_pixels(data), through_pillow(data)) for data in files]
    differences = np.abs(np.stack([ours.astype(int) - theirs for ours, theirs in pairs]))
    assert differences.max() <= MOST_LEVELS, differences.max()
    assert differences.mean() < MEAN_LEVELS, differences.mean()
    return {
        "greatest_difference": int(differences.max()),
        "mean_difference": float(differences.mean().round(4)),
    }


def images_per_second(way: Way, files: list[bytes], num_threads: int) -> float:
    started = time.perf_counter()
    if num_threads == 1:
        for data in files:
            way(data)
    else:
        with ThreadPoolExecutor(num_threads) as pool:
            list(pool.map(way, files))
    return len(files) / (time.perf_counter() - started)


def measure(edge: int, turns: int, count: int) -> dict[str, object]:
    files = photographs(edge, 8)
    result: dict[str, object] = {
        "edge": edge,
        "bytes": len(files[0]),
        **assert_agreement(files),
    }
    files = (files * count)[:count]
    for name, num_threads in (("core", 1), ("machine", os.cpu_count() or 1)):
        best = {"pillow": 0.0, "read_pixels": 0.0}
        for _ in range(turns):
            for way, function in (("pillow", through_pillow), ("read_pixels", through_read_pixels)):
                best[way] = max(best[way], images_per_second(function, files, num_threads))
        for way, rate in best.items():
            result[f"{way}_per_{name}"] = round(rate, 1)
        result[f"speedup_per_{name}"] = round(best["read_pixels"] / best["pillow"], 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images and turns")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    turns, pixels = (3, 1.5e7) if arguments.quick else (7, 4e7)
    results = [measure(edge, turns, max(4, int(pixels / edge**2))) for edge in EDGES]
    if arguments.json:
        print(json.dumps({"num_cores": os.cpu_count(), "results": results}))
        return
    columns = list(results[0])
    print("  ".join(columns))
    for row in results:
        print("  ".join(f"{row[name]!s:>{len(name)}}" for name in columns))


if __name__ == "__main__":
    main()
