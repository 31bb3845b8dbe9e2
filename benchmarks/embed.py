"""How near `embed run` comes to what the machine can do: python benchmarks/embed.py [--quick].

On JPEGs of 400 to 1,000 px a side and encoders of random weights: the encoders alone on resident
pixels, decoding alone on all cores, and the whole run, one after the other in each round, so that
what else the machine does falls on all of them. The ceiling is what the encoders alone would reach
or, on a CPU, where decoding needs the same cores, both in turn. The ratio is that of the whole run
without loading the models.
"""

import sys
from pathlib import Path

# In place of this folder, in which a module is named as the package is.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from statistics import median  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import open_clip  # noqa: E402
import torch  # noqa: E402
from open_clip.transform import PreprocessCfg, image_transform_v2  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from benchmarks.machine import describe_machine, write_results  # noqa: E402
from embed.decoding import read_pixels  # noqa: E402
from embed.doctor.rates import decode_rate, rate, rate_in_threads, write_rate  # noqa: E402
from embed.encoders.registry import load_encoders  # noqa: E402
from embed.encoders.specs import parse_specs  # noqa: E402
from embed.encoders.torch_encoders import TorchImageEncoder  # noqa: E402
from embed.images import decode_image  # noqa: E402
from embed.jpeg import decode_jpeg  # noqa: E402
from embed.resizing import resize  # noqa: E402
from embed.run import RunSettings, run  # noqa: E402
from embed.store import Store  # noqa: E402

CPU_CASES = (("ViT-S-32",), ("ViT-B-32",), ("ViT-S-32", "ViT-B-32"))
GPU_CASES = (("ViT-H-14",), ("ViT-L-14-336",), ("ViT-H-14", "ViT-L-14-336"))
MATRIX_SIDE = {"cpu": 4096, "cuda": 8192}
BATCH_SIZE = {"cpu": 32, "cuda": 256}
# A run should last for seconds: a GPU takes thousands of images in one.
NUM_IMAGES = {"cpu": 640, "cuda": 16384}
NUM_IMAGES_QUICK = {"cpu": 160, "cuda": 4096}
MOST_DRAWN = 640
ROUNDS, ROUNDS_QUICK = 3, 2
SECONDS_A_STEP = 1.0
SECONDS_OF_ENCODING = 4.0


@dataclass(frozen=True)
class Setup:
    """What every case is measured on: `files` are the bytes of the images that differ."""

    folder: Path
    images: Path
    files: list[bytes]
    device: torch.device
    precision: str
    cores: int
    rounds: int


def main() -> None:
    arguments = _arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cases: tuple[tuple[str, ...], ...] = GPU_CASES if device.type == "cuda" else CPU_CASES
    if arguments.quick:
        cases = cases[:1]
    precision = arguments.precision or ("bf16" if device.type == "cuda" else "auto")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images")
        num_images = (
            arguments.images or (NUM_IMAGES_QUICK if arguments.quick else NUM_IMAGES)[device.type]
        )
        files = draw_photographs(images, num_images)
        machine = describe_machine()
        rounds = arguments.rounds or (ROUNDS_QUICK if arguments.quick else ROUNDS)
        setup = Setup(Path(folder), images, files, device, precision, machine["cores"], rounds)
        for name in dict.fromkeys(name for case in cases for name in case):
            _save_random_weights(name, _weights(setup, name))
        assert_faithful(setup, cases[0][0])
        results = {"machine": machine, "num_images": num_images} | measure(setup, cases)
    if not arguments.quick:
        write_results("embed", results)
    print(json.dumps(results, indent=2) if arguments.json else _table(results))


def measure(setup: Setup, cases: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Every case, and the steps that they share."""
    measured = {" + ".join(case): measure_case(setup, case) for case in cases}
    largest = max(measured.values(), key=lambda case: case["matrix_rate_share"])
    return {
        "end_to_end_over_ceiling": {
            name: case["end_to_end_over_ceiling"] for name, case in measured.items()
        },
        "matrix_rate_share": largest["matrix_rate_share"],
        "cases": measured,
        "steps": measure_steps(setup, cases[0][0]),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def measure_case(setup: Setup, names: tuple[str, ...]) -> dict[str, Any]:
    """Encoders alone, decoding alone, and the whole run, in turn."""
    encoders = _load(setup, names)
    batch = BATCH_SIZE[setup.device.type]
    transforms = {encoder.transform for encoder in encoders}
    rounds = []
    for number in range(setup.rounds):
        alone = [_encode_rate(encoder, setup, batch) for encoder in encoders]
        decoding = decode_rate(setup.files, transforms, setup.cores, SECONDS_A_STEP)
        together = _run(setup, names, batch, number)
        turns = [*alone, decoding] if setup.device.type == "cpu" else alone
        ceiling = 1 / sum(1 / rate for rate in turns)
        rounds.append((alone, decoding, together, together / ceiling))
    precision = encoders[0].info.precision
    matrix_rate = measure_matrix_rate(setup.device, precision)
    alone = [median(rates) for rates in zip(*(entry[0] for entry in rounds), strict=True)]
    flops = [_flops(encoder, setup) for encoder in encoders]
    seconds = sum(1 / rate for rate in alone)  # of one image through all encoders
    share = sum(flops) / seconds / matrix_rate
    return {
        "precision": precision,
        "batch_size": batch,
        "encoders_images_per_second": {
            name: round(rate, 2) for name, rate in zip(names, alone, strict=True)
        },
        "decode_and_resize_images_per_second": round(median(entry[1] for entry in rounds), 1),
        "end_to_end_images_per_second": round(median(entry[2] for entry in rounds), 2),
        "end_to_end_over_ceiling": round(median(entry[3] for entry in rounds), 4),
        "rounds_over_ceiling": [round(entry[3], 4) for entry in rounds],
        "matrix_tflops": round(matrix_rate / 1e12, 3),
        "matrix_rate_share": round(share, 4),
    }


def measure_steps(setup: Setup, name: str) -> dict[str, float]:
    """Each step by itself, on all cores where it has threads: images a second."""
    encoder = _load(setup, (name,))[0]
    transform = encoder.transform
    pictures = [Image.open(io.BytesIO(data)) for data in setup.files]
    decoded = [np.array(picture.convert("RGB")) for picture in pictures]
    sizes = [picture.size for picture in pictures]
    batch = np.stack([read_pixels(data, {transform})[transform] for data in setup.files[:32]])
    places, seconds = range(len(pictures)), SECONDS_A_STEP

    def decode(place: int) -> None:
        decode_jpeg(setup.files[place], "RGB", sizes[place], 1)

    def resize_one(place: int) -> None:
        size = transform.resized_size(*sizes[place])
        resize(decoded[place], size, transform.interpolation, sizes[place])

    def copy() -> int:
        torch.from_numpy(np.stack(list(batch))).to(setup.device)
        _wait(setup.device)
        return len(batch)

    return {
        "decode_at_full_size": round(rate_in_threads(decode, places, setup.cores, seconds), 1),
        "resize": round(rate_in_threads(resize_one, places, setup.cores, seconds), 1),
        "copy": round(rate(copy, seconds), 1),
        "write": round(write_rate([encoder.info], setup.folder, seconds), 1),
    }


def measure_matrix_rate(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of one large matrix product, the best of several."""
    side = MATRIX_SIDE[device.type] if precision != "fp32" or device.type == "cuda" else 2048
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        _wait(device)
        started = time.perf_counter()
        torch.mm(left, right)
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def draw_photographs(folder: Path, count: int) -> list[bytes]:
    """JPEGs with the texture of photographs, 400 to 1,000 px a side; the same every time.

    Returns the bytes of those that differ: the others are further names of the same files.
    """
    folder.mkdir()
    generator = np.random.default_rng(0)
    num_drawn = min(count, MOST_DRAWN)
    for number in range(num_drawn):
        width, height = (int(edge) for edge in generator.integers(400, 1001, 2))
        coarse = Image.fromarray(generator.integers(0, 256, (12, 12, 3), np.uint8))
        fine = Image.fromarray(generator.integers(0, 256, (height // 4, width // 4, 3), np.uint8))
        sizes = (width, height)
        smooth, rough = coarse.resize(sizes, 3), fine.resize(sizes, 2)
        Image.blend(smooth, rough, 0.25).save(folder / f"{number:05}.jpg", quality=87)
    drawn = sorted(folder.iterdir())
    for number in range(num_drawn, count):
        (folder / f"{number:05}.jpg").hardlink_to(drawn[number % num_drawn])
    return [path.read_bytes() for path in drawn]


def assert_faithful(setup: Setup, name: str) -> None:
    """The store's vectors are those of OpenCLIP's own transform and model, in fp32.

    The library's are computed on the CPU, the store's on the device that is measured.
    """
    model = open_clip.create_model(name, pretrained=str(_weights(setup, name))).eval()
    transform = image_transform_v2(
        PreprocessCfg(**open_clip.get_model_preprocess_cfg(model)), is_train=False
    )
    few = setup.folder / "few"
    few.mkdir()
    for path in sorted(setup.images.iterdir())[:16]:
        (few / path.name).hardlink_to(path)
    spec, device = _spec(setup, name), str(setup.device)
    run(RunSettings(few, setup.folder / "few.h5", (spec,), precision="fp32", device=device))
    with Store(setup.folder / "few.h5") as store, torch.inference_mode():
        images = [decode_image((few / item_id).read_bytes()) for item_id in store.ids]
        expected = model.encode_image(torch.stack([transform(image) for image in images]))
        expected = torch.nn.functional.normalize(expected).numpy()
        cosines = (expected * store.array(name)).sum(axis=1)
    assert cosines.min() >= 0.9995, f"not faithful: cosine {cosines.min()}"


def _load(setup: Setup, names: Sequence[str]) -> list[TorchImageEncoder]:
    specs = parse_specs([_spec(setup, name) for name in names], [])
    encoders = load_encoders(specs, str(setup.device), setup.precision).image
    return [encoder for encoder in encoders if isinstance(encoder, TorchImageEncoder)]


def _run(setup: Setup, names: Sequence[str], batch: int, number: int) -> float:
    output = setup.folder / f"{'-'.join(names)}-{number}.h5"
    specs = tuple(_spec(setup, name) for name in names)
    summary = run(
        RunSettings(
            setup.images,
            output,
            specs,
            device=str(setup.device),
            precision=setup.precision,
            batch_size=batch,
        )
    )
    return summary.num_items / (summary.seconds - summary.loading_seconds)


def _encode_rate(encoder: TorchImageEncoder, setup: Setup, batch: int) -> float:
    """On pixels that lie on the device already."""
    few = [read_pixels(data, {encoder.transform})[encoder.transform] for data in setup.files[:16]]
    pixels = np.stack([few[place % len(few)] for place in range(batch)])
    resident = torch.from_numpy(pixels).to(setup.device)
    encoder.features(resident)

    def encode() -> int:
        encoder.features(resident)
        _wait(setup.device)
        return batch

    return rate(encode, SECONDS_OF_ENCODING)


def _flops(encoder: TorchImageEncoder, setup: Setup) -> float:
    """Floating-point operations of one image."""
    pixels = torch.zeros((2, *encoder.transform.crop_to, 3), dtype=torch.uint8)
    torch.backends.mha.set_fastpath_enabled(False)  # its fused layers would not be counted
    with FlopCounterMode(display=False) as counter:
        encoder.features(pixels.to(setup.device))
    torch.backends.mha.set_fastpath_enabled(True)
    return float(counter.get_total_flops()) / 2


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _weights(setup: Setup, name: str) -> Path:
    return setup.folder / f"{name}.safetensors"


def _spec(setup: Setup, name: str) -> str:
    return f"{name}=open_clip:{name}@{_weights(setup, name)}"


def _save_random_weights(name: str, path: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained=None)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)


def _table(results: dict[str, Any]) -> str:
    lines = [f"{'case':24} {'encoders/s':>18} {'decode/s':>9} {'run/s':>8} {'of ceiling':>10}"]
    for name, case in results["cases"].items():
        rates = ", ".join(f"{rate:.1f}" for rate in case["encoders_images_per_second"].values())
        lines.append(
            f"{name:24} {rates:>18} {case['decode_and_resize_images_per_second']:9.0f} "
            f"{case['end_to_end_images_per_second']:8.1f} {case['end_to_end_over_ceiling']:10.3f}"
        )
    steps = ", ".join(f"{name} {rate:,.0f}" for name, rate in results["steps"].items())
    return "\n".join(
        [
            *lines,
            f"steps alone, images/s: {steps}",
            f"share of the matrix rate: {results['matrix_rate_share']:.3f}",
            f"peak memory: {results['peak_memory_mib']} MiB",
        ]
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one case, few images")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--images", type=int, help="how many photographs")
    parser.add_argument("--rounds", type=int, help="how often each case is measured")
    parser.add_argument("--precision", help="fp32, bf16, fp16 or auto")
    return parser.parse_args()


if __name__ == "__main__":
    main()
