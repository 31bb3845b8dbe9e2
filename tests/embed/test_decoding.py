"""The fast way to pixels against the plain one, and both against hostile files."""

import dataclasses
import io
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image

import embed.images
from benchmarks.fuzz_images import mutated, outcome_of
from embed.decoding import read_pixels
from embed.errors import ImageError
from embed.images import SUFFIXES, ImageTransform, decode_image
from embed.jpeg import MOST_SCANS, decode_jpeg

ROOT = Path(__file__).resolve().parents[2]
SQUARE = ImageTransform((56, 56), (48, 48))
MODES = (
    SQUARE,
    ImageTransform((40, 56), (40, 56)),
    ImageTransform((48, 48), (48, 48), "longest", "bilinear", (255, 128, 0)),
    ImageTransform((48, 60), (48, 60), "squash", "bicubic"),
    ImageTransform((48, 48), (48, 48), "squash", "lanczos"),
    ImageTransform((48, 48), (64, 40), "shortest", "bilinear", (1, 2, 3), crop_rounding="down"),
    ImageTransform((32, 32), (32, 32), "squash", "bicubic", color="L"),
    ImageTransform((32, 32), (24, 24), "shortest", "nearest"),
    ImageTransform((48, 48), (48, 48), "longest", "box", color="L"),
    ImageTransform((48, 48), (48, 48), "longest", "hamming"),
)


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours, edges and grain, as a camera would have them."""
    generator = np.random.default_rng(seed)
    blocks = Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8))
    pixels = np.asarray(blocks.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels[height // 3 : height // 2, width // 4 :] //= 2
    pixels += generator.integers(-8, 9, pixels.shape, np.int16)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, file_format: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


WAYS: tuple[Callable[[bytes], object], ...] = (
    decode_image,
    lambda data: read_pixels(data, [SQUARE]),
)


def turned_by(orientation: int, image: Image.Image, **options: Any) -> bytes:
    exif = image.getexif()
    exif[274] = orientation
    return encoded(image, exif=exif, **options)


def assert_near(
    data: bytes, transforms: tuple[ImageTransform, ...], most: int = 3, mean: float = 0.5
) -> None:
    results = read_pixels(data, transforms)
    assert set(results) == set(transforms)
    image = decode_image(data)
    for transform in transforms:
        pixels, expected = results[transform], transform.apply(image)
        assert pixels.shape == expected.shape
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        difference = np.abs(pixels.astype(int) - expected)
        assert difference.max() <= most, (transform, difference.max())
        assert difference.mean() < mean, transform


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("size", [(160, 120), (121, 161), (97, 97), (30, 200)])
def test_equals_the_reference_in_each_format(file_format: str, size: tuple[int, int]) -> None:
    assert_near(encoded(photograph(*size), file_format), MODES)


@pytest.mark.parametrize("size", [(1, 1), (1, 1000), (1000, 1), (2, 3), (7, 5), (3, 700)])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_tiny_and_thin_images(size: tuple[int, int], file_format: str) -> None:
    assert_near(encoded(photograph(*size), file_format), MODES)


KINDS: dict[str, dict[str, Any]] = {
    "4:2:0": {"subsampling": 2},
    "4:2:2": {"subsampling": 1},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "RGB without a transform": {"keep_rgb": True},
    "coarse": {"quality": 20},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(160, 120), (161, 121), (1, 1), (9, 200)])
def test_full_scale_is_equal_to_the_last_bit(kind: str, size: tuple[int, int]) -> None:
    data = encoded(photograph(*size), **KINDS[kind])
    pixels = decode_jpeg(data, "RGB", size, 1)
    np.testing.assert_array_equal(pixels, np.asarray(decode_image(data)))
    assert_near(data, (SQUARE,))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_are_equal_to_the_last_bit(mode: str) -> None:
    data = encoded(photograph(121, 83).convert(mode))
    pixels = decode_jpeg(data, mode, (121, 83), 1)
    np.testing.assert_array_equal(pixels, np.asarray(decode_image(data)))
    assert_near(data, MODES)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(161, 90), (1500, 1100)])
def test_orientations(orientation: int, size: tuple[int, int]) -> None:
    data = turned_by(orientation, photograph(*size, seed=orientation))
    assert_near(data, MODES)


@pytest.mark.parametrize("size", [(2048, 1536), (2001, 1503), (1111, 2777), (4003, 1027)])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_reduced_decoding_stays_near(size: tuple[int, int], subsampling: int) -> None:
    transforms = MODES[:5]  # none of them picks single pixels, which would forbid it
    assert_near(encoded(photograph(*size), subsampling=subsampling), transforms, most=4)


def test_large_photographs_are_decoded_at_a_fraction(monkeypatch: pytest.MonkeyPatch) -> None:
    divisors = []

    def noting(
        data: bytes, mode: str, size: tuple[int, int], divisor: int
    ) -> UInt8[np.ndarray, "h w 3"] | None:
        divisors.append(divisor)
        return decode_jpeg(data, mode, size, divisor)

    monkeypatch.setattr("embed.decoding.decode_jpeg", noting)
    large = encoded(photograph(2100, 1100))
    read_pixels(large, [SQUARE])
    read_pixels(large, [ImageTransform((256, 256), (224, 224))])
    read_pixels(large, [ImageTransform((224, 224), (224, 224), "squash"), SQUARE])
    read_pixels(large, [SQUARE, dataclasses.replace(SQUARE, interpolation="nearest")])
    read_pixels(encoded(photograph(1000, 1000)), [SQUARE])
    assert divisors == [2, 1, 1, 1, 1]
    assert decode_jpeg(large, "RGB", (2100, 1100), 4).shape == (275, 525, 3)  # type: ignore[union-attr]


def test_one_resize_for_those_that_differ_in_the_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    from embed.resizing import resize

    sizes = []

    def counting(
        pixels: UInt8[np.ndarray, "h w c"], size: tuple[int, int], *rest: object
    ) -> UInt8[np.ndarray, "to_h to_w c"]:
        sizes.append(size)
        return resize(pixels, size, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("embed.decoding.resize", counting)
    smaller = dataclasses.replace(SQUARE, crop_to=(20, 30), fill=(9, 9, 9))
    other = dataclasses.replace(SQUARE, interpolation="bilinear")
    data = encoded(photograph(160, 120))
    results = read_pixels(data, [SQUARE, smaller, other])
    assert len(sizes) == 2
    np.testing.assert_allclose(
        results[smaller].astype(int), smaller.apply(decode_image(data)), atol=1
    )


def test_only_the_crop_of_a_thread_is_made() -> None:
    """Whole, this one would be 224 × 268 million pixels."""
    transform = ImageTransform((224, 224), (224, 224))
    data = encoded(Image.new("RGB", (60_000, 1), (10, 20, 30)), "PNG")
    started = time.perf_counter()
    pixels = read_pixels(data, [transform])[transform]
    assert pixels.shape == (224, 224, 3)
    assert pixels[100, 100].tolist() == [10, 20, 30]
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_the_crop_alone_is_the_crop_of_the_whole(
    interpolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = photograph(2500, 33)
    transform = ImageTransform((24, 24), (20, 31), interpolation=interpolation)  # type: ignore[arg-type]
    assert transform.is_mostly_cut_off(2500, 33)
    alone = transform.apply(image)
    monkeypatch.setattr(embed.images, "_MOST_SURPLUS", 10**9)
    np.testing.assert_allclose(alone.astype(int), transform.apply(image), atol=1)


def test_wide_images_within_the_limit() -> None:
    pixels = read_pixels(encoded(photograph(60_000, 40)), MODES)
    assert pixels[SQUARE].shape == (48, 48, 3)


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"


def with_size(file_format: str, width: int, height: int) -> bytes:
    """A small file whose header tells of a large picture."""
    if file_format == "PNG":
        return png_header(width, height)
    data = bytearray(encoded(Image.new("RGB", (16, 16)), file_format))
    if file_format == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
    elif file_format == "GIF":
        data[6:10] = struct.pack("<HH", width, height)
    elif file_format == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    elif file_format == "WEBP":
        canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        extended = b"VP8X" + struct.pack("<IBBBB", 10, 2, 0, 0, 0) + canvas
        animation = b"ANIM" + struct.pack("<IIH", 6, 0, 0)
        chunk = bytes(data[12:])
        head = bytes(6) + struct.pack("<I", 15)[:3] * 2 + bytes(4)
        frame = b"ANMF" + struct.pack("<I", 16 + len(chunk)) + head + chunk
        body = b"WEBP" + extended + animation + frame
        return b"RIFF" + struct.pack("<I", len(body)) + body
    else:
        for tag, value in ((256, width), (257, height)):
            at = data.index(struct.pack("<HH", tag, 4), 8) + 8
            data[at : at + 4] = struct.pack("<I", value)
    return bytes(data)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("size", [(16_000, 7_000), (15_900, 15_900)])
def test_bombs_are_refused_from_the_header(file_format: str, size: tuple[int, int]) -> None:
    data = with_size(file_format, *size)
    for read in WAYS:
        started = time.perf_counter()
        with pytest.raises(ImageError, match="too many pixels"):
            read(data)
        assert time.perf_counter() - started < 1


def test_the_limit_can_be_set() -> None:
    data = encoded(photograph(40, 30))
    assert read_pixels(data, [SQUARE], max_pixels=1200)
    with pytest.raises(ImageError, match="40 × 30, more than the 1,199 allowed"):
        read_pixels(data, [SQUARE], max_pixels=1199)


def test_a_frame_larger_than_its_gif_is_counted() -> None:
    data = bytearray(encoded(Image.new("P", (16, 16)), "GIF"))
    at = data.index(b"\x2c", 13)
    data[at + 5 : at + 9] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(ImageError, match="too many pixels"):
        read_pixels(bytes(data), [SQUARE])


def with_scans(data: bytes, num_more: int) -> bytes:
    """A progressive file whose last scan comes again and again."""
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    return data[:-2] + scan * num_more + b"\xff\xd9"


def test_scan_bombs_are_refused() -> None:
    data = encoded(photograph(200, 200), progressive=True)
    for read in WAYS:
        started = time.perf_counter()
        with pytest.raises(ImageError, match=f"more than {MOST_SCANS} scans of 200 × 200"):
            read(with_scans(data, 20_000))
        assert time.perf_counter() - started < 1


def test_scans_are_bounded_with_the_pixels() -> None:
    data = encoded(photograph(200, 200), progressive=True)
    assert read_pixels(data, [SQUARE], max_pixels=40_000)
    with pytest.raises(ImageError, match="more than 20 scans"):
        read_pixels(with_scans(data, 40), [SQUARE], max_pixels=40_000)


def test_scans_of_a_thumbnail_and_after_the_end_do_not_count() -> None:
    picture = photograph(200, 200)
    thumbnail = b"\xff\xda\0\2" * 2000
    data = encoded(picture, progressive=True)
    padded = data[:2] + b"\xff\xeb" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    assert_near(padded + thumbnail, (SQUARE,))


def test_many_scans_of_a_sequential_file_count_too() -> None:
    grey = encoded(photograph(64, 64).convert("L"))
    start = grey.index(b"\xff\xda")
    color = bytearray(encoded(photograph(64, 64)))
    header = bytes(color[: color.index(b"\xff\xda")])
    data = header + grey[start:-2] * (MOST_SCANS + 1) + b"\xff\xd9"
    with pytest.raises(ImageError, match="scans"):
        read_pixels(data, [SQUARE])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
@pytest.mark.parametrize("size", [(160, 120), (1400, 1200)])
def test_truncated_jpegs_are_refused(options: dict[str, Any], size: tuple[int, int]) -> None:
    data = encoded(photograph(*size), **options)
    for length in (1, 2, 10, len(data) // 3, len(data) - 700):
        with pytest.raises(ImageError, match=r"."):
            read_pixels(data[:length], [SQUARE])
        with pytest.raises(ImageError, match=r"."):
            decode_image(data[:length])


def test_only_a_missing_end_marker_is_judged_as_pillow_does() -> None:
    files = [encoded(photograph(150 + n, 120, seed=n))[:-2] for n in range(20)]
    for data in files:
        assert is_refused(WAYS[0], data) == is_refused(WAYS[1], data)


def is_refused(read: Callable[[bytes], object], data: bytes) -> bool:
    try:
        read(data)
    except ImageError:
        return True
    return False


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_files_are_refused(file_format: str) -> None:
    data = encoded(photograph(64, 64), file_format)
    for length in (5, 30, len(data) // 2):
        with pytest.raises(ImageError, match=r"."):
            read_pixels(data[:length], [SQUARE])


def test_a_picture_that_would_be_half_grey_is_refused() -> None:
    """The end of the image in the midst of its pixels: Pillow is content, and shows grey."""
    data = encoded(photograph(160, 120))
    half = len(data) // 2
    with pytest.raises(ImageError, match="premature end"):
        read_pixels(data[:half] + b"\xff\xd9" + data[half:], [SQUARE])


@pytest.mark.parametrize("more", [b"\0" * 50, b"\xff\xd8\xff\xd9", b"hello"])
def test_what_follows_the_end_does_no_harm(more: bytes) -> None:
    assert_near(encoded(photograph(160, 120)) + more, (SQUARE,))


def test_extra_bytes_before_the_end_do_no_harm() -> None:
    data = encoded(photograph(160, 120), restart_marker_blocks=1)
    assert_near(data[:-2] + bytes(9) + data[-2:], (SQUARE,))


def test_damaged_exif_does_not_fail_a_good_image() -> None:
    data = turned_by(6, photograph(160, 120))
    start = data.index(b"Exif\0\0") + 6
    generator = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(data)
        for place in generator.integers(start, start + 26, 4):
            broken[place] = generator.integers(256)
        assert_near(bytes(broken), (SQUARE,))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_no_warning_is_an_error(file_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns of an image that is large, and of an EXIF block that is cut short."""
    data = encoded(photograph(40, 30), file_format, exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="another")
        assert read_pixels(data, [SQUARE])


def test_damaged_files_are_decoded_or_refused() -> None:
    outcomes = [outcome_of(mutated(case, seed=7)) for case in range(400)]
    assert set(outcomes) == {"decoded", "refused"}


def test_threads_get_the_same_pixels() -> None:
    files = [encoded(photograph(200 + n, 150, seed=n), ["JPEG", "PNG"][n % 2]) for n in range(12)]
    alone = [read_pixels(data, MODES) for data in files]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda data: read_pixels(data, MODES), files * 4))
    for position, results in enumerate(together):
        for transform, pixels in results.items():
            np.testing.assert_array_equal(pixels, alone[position % 12][transform])


def in_new_process(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)  # one, where the tests themselves keep to it
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux does")
@pytest.mark.parametrize("first", ["", "import torch; torch.set_num_threads(3)"])
def test_torch_starts_no_team_and_keeps_its_threads(tmp_path: Path, first: str) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(encoded(photograph(1600, 1200)))
    code = f"""
import os, threading
{first}
from pathlib import Path
from embed.decoding import read_pixels
from embed.images import ImageTransform
data = Path({str(path)!r}).read_bytes()
kinds = [ImageTransform((256, 256), (224, 224), interpolation=i, color=c)
         for i in ("bilinear", "bicubic") for c in ("RGB", "L")]
num_tasks = []
def read():
    read_pixels(data, kinds)
    num_tasks.append(len(os.listdir("/proc/self/task")))
for _ in range(3):
    thread = threading.Thread(target=read); thread.start(); thread.join()
import torch
a_team = torch.zeros(10**7).sum()
print(max(num_tasks), len(os.listdir("/proc/self/task")) + 1, torch.get_num_threads())
"""
    most, with_a_team, num_threads = (int(word) for word in in_new_process(code).split())
    assert most < with_a_team
    if first:
        assert num_threads == 3
    else:
        assert num_threads > 1 or os.cpu_count() == 1


def test_torch_is_imported_only_for_a_resize() -> None:
    code = """
import sys, embed.decoding, embed.images
print(sorted({"torch", "simplejpeg", "pillow_heif"} & set(sys.modules)))
"""
    assert in_new_process(code) == "[]"


@pytest.mark.skipif(".avif" not in SUFFIXES, reason="needs a Pillow built with AVIF")
def test_avif() -> None:
    assert_near(encoded(photograph(160, 120), "AVIF"), MODES)
    with pytest.raises(ImageError, match="too many pixels"):
        read_pixels(encoded(photograph(160, 120), "AVIF"), [SQUARE], max_pixels=100)
    with pytest.raises(ImageError):
        read_pixels(encoded(photograph(160, 120), "AVIF")[:900], [SQUARE])


def heic() -> bytes:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    return encoded(photograph(160, 120), "HEIF")


def test_heic() -> None:
    data = heic()
    assert {".heic", ".heif"} <= SUFFIXES
    assert_near(data, MODES)
    with pytest.raises(ImageError, match="too many pixels"):
        read_pixels(data, [SQUARE], max_pixels=100)
    with pytest.raises(ImageError):
        read_pixels(data[: len(data) // 2], [SQUARE])


def test_heic_without_its_reader_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "picture.heic"
    path.write_bytes(heic())
    code = f"""
import sys
sys.modules["pillow_heif"] = None  # what an installation without it looks like
from embed.decoding import read_pixels
from embed.errors import ImageError
from embed.images import SUFFIXES
assert ".jpg" in SUFFIXES
try:
    read_pixels(open({str(path)!r}, "rb").read(), [])
except ImageError as error:
    print(error)
"""
    assert in_new_process(code).endswith("pip install pillow-heif")


def test_golden_pictures_in_each_format(shared: Path) -> None:
    folder = shared / "data" / "golden" / "images"
    paths = [p for p in folder.rglob("*") if p.suffix in SUFFIXES and "corrupt" not in p.name]
    assert len(paths) > 15
    for path in paths:
        assert_near(path.read_bytes(), MODES)
    with pytest.raises(ImageError):
        read_pixels((folder / "mixed_images" / "ukbench09268_corrupt.jpg").read_bytes(), [SQUARE])


@pytest.mark.parametrize("data", [b"", b"hello" * 100, b"\xff\xd8\xff", b"\0\0\0\x18ftypqt  "])
def test_what_is_no_image_is_refused_alike(data: bytes) -> None:
    messages = []
    for read in WAYS:
        with pytest.raises(ImageError) as caught:
            read(data)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_without_transforms_an_image_is_still_checked() -> None:
    data = encoded(photograph(160, 120))
    assert read_pixels(data, []) == {}
    with pytest.raises(ImageError):
        read_pixels(data[:900], [])


def test_other_threads_go_on_while_one_decodes() -> None:
    data = encoded(photograph(3000, 3000))
    read_pixels(data, [SQUARE])
    thread = threading.Thread(target=lambda: [read_pixels(data, [SQUARE]) for _ in range(4)])
    thread.start()
    num_beats = 0
    while thread.is_alive():
        time.sleep(0.001)
        num_beats += 1
    assert num_beats > 20


def test_embeddings_stay_near_those_of_full_decoding(shared: Path) -> None:
    """Large photographs, decoded at half their size: cosine .9995 at the least."""
    import timm
    import torch
    from torch.nn import functional

    weights = shared / "models" / "mobilenetv2_100.safetensors"
    model = timm.create_model("mobilenetv2_100", num_classes=0, checkpoint_path=str(weights)).eval()
    transform = ImageTransform((224, 224), (224, 224))
    paths = sorted((shared / "data" / "golden" / "images" / "base_images").glob("*.jpg"))[:2]
    pairs = []
    for path in paths:
        data = encoded(enlarged(decode_image(path.read_bytes()), 2401, 1803))
        pairs += [read_pixels(data, [transform])[transform], transform.apply(decode_image(data))]
    batch = torch.from_numpy(np.stack(pairs)).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        vectors = functional.normalize(model((batch - 0.45) / 0.225).double(), dim=1)
    assert float((vectors[::2] * vectors[1::2]).sum(1).min()) >= 0.9995


def enlarged(image: Image.Image, width: int, height: int) -> Image.Image:
    """With grain, so that the finest detail is as fine as the pixels."""
    large = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)).astype(np.int16)
    large += np.random.default_rng(0).integers(-12, 13, large.shape, np.int16)
    return Image.fromarray(np.clip(large, 0, 255).astype(np.uint8))
