import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embed.errors import ImageError
from embed.images import ImageTransform, decode_image

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def picture() -> Image.Image:
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:, :24] = RED
    return Image.fromarray(pixels)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_formats_decode_to_rgb(file_format: str) -> None:
    image = decode_image(encoded(picture(), file_format))
    assert (image.mode, image.size) == ("RGB", (48, 32))
    np.testing.assert_allclose(np.asarray(image)[16, 8], RED, atol=6)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB"])
def test_modes_become_rgb(mode: str) -> None:
    image = decode_image(encoded(picture().convert("RGB").convert(mode), "TIFF"))
    assert image.mode == "RGB"


def test_cmyk_jpeg_keeps_its_colours() -> None:
    image = decode_image(encoded(picture().convert("CMYK"), "JPEG"))
    np.testing.assert_allclose(np.asarray(image)[16, 8], RED, atol=8)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_goes_onto_white(mode: str) -> None:
    image = Image.new(mode, (4, 4))  # black, fully transparent
    assert decode_image(encoded(image, "PNG")).getpixel((0, 0)) == WHITE


def test_transparent_palette_goes_onto_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    data = encoded(image, "PNG", transparency=0)
    assert decode_image(data).getpixel((0, 0)) == WHITE


def test_16_bits_are_scaled_not_cut_off() -> None:
    levels = np.array([[0, 257 * 100, 65535]], np.uint16)
    image = decode_image(encoded(Image.fromarray(levels), "PNG"))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 100, 255]


def test_exif_orientation_is_applied() -> None:
    image = picture()
    exif = image.getexif()
    exif[274] = 6  # the camera was turned by a quarter
    turned = decode_image(encoded(image, "JPEG", exif=exif, quality=95))
    assert turned.size == (32, 48)
    np.testing.assert_allclose(np.asarray(turned)[8, 16], RED, atol=8)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(data).getpixel((4, 4)) == RED


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_truncated_files_are_refused(file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), file_format)
    with pytest.raises(ImageError):
        decode_image(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "0 bytes"), (b"hello" * 100, "not a JPEG"), (b"\xff\xd8\xff", "not a JPEG")],
)
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_image(data)


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(ImageError, match="floating-point"):
        decode_image(encoded(Image.new("F", (4, 4)), "TIFF"))


def test_shortest_edge_then_centre_crop_by_hand() -> None:
    # 4 wide, 2 high, columns 0 1 2 3: the middle two are left
    pixels = np.repeat(np.arange(4, dtype=np.uint8)[None, :, None] * 10, 2, 0).repeat(3, 2)
    transform = ImageTransform((2, 2), (2, 2))
    assert transform.apply(Image.fromarray(pixels))[0, :, 0].tolist() == [10, 20]


def test_longest_edge_pads_with_the_fill() -> None:
    transform = ImageTransform((4, 4), (4, 4), "longest", fill=(7, 8, 9))
    result = transform.apply(Image.new("RGB", (4, 2), WHITE))
    assert result[0, 0].tolist() == result[3, 3].tolist() == [7, 8, 9]
    assert result[1, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("size", [(50, 31), (31, 50), (33, 33), (20, 90), (7, 8)])
@pytest.mark.parametrize("edge", [24, 29])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_equals_torchvision(size: tuple[int, int], edge: int, interpolation: str) -> None:
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(noise)
    theirs = Compose([Resize(edge, InterpolationMode(interpolation)), CenterCrop(21)])
    ours = ImageTransform((edge, edge), (21, 21), "shortest", interpolation)  # type: ignore[arg-type]
    np.testing.assert_array_equal(ours.apply(image), np.asarray(theirs(image)))


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("target", [(24, 24), (20, 28)])
def test_equals_open_clip(mode: str, target: tuple[int, int]) -> None:
    import open_clip.transform

    noise = np.random.default_rng(2).integers(0, 256, (37, 50, 3), np.uint8)
    image = Image.fromarray(noise)
    theirs = open_clip.transform.image_transform(target, False, resize_mode=mode)
    ours = ImageTransform(target, target, mode)  # type: ignore[arg-type]
    expected = np.asarray(image)
    for step in theirs.transforms[:2]:  # resize and crop; then come conversions
        if type(step).__name__ in ("Resize", "ResizeKeepRatio", "CenterCrop", "CenterCropOrPad"):
            expected = np.asarray(step(Image.fromarray(expected)))
    np.testing.assert_array_equal(ours.apply(image), expected)


def test_golden_pictures(shared: Path) -> None:
    folder = shared / "data" / "golden" / "images"
    for name in ("ukbench09380.bmp", "ukbench09380.jpeg", "ukbench09380.png", "ukbench09380.webp"):
        image = decode_image((folder / "formats_images" / name).read_bytes())
        assert (image.mode, min(image.size) > 0) == ("RGB", True)
    alpha = decode_image((folder / "alpha_channel_image.png").read_bytes())
    assert alpha.mode == "RGB"
    with pytest.raises(ImageError):
        decode_image((folder / "mixed_images" / "ukbench09268_corrupt.jpg").read_bytes())
    with pytest.raises(ImageError, match="not a JPEG"):
        decode_image((folder / "formats_images" / "baboon.pgm").read_bytes())


def test_16_bits_with_a_transparent_level() -> None:
    levels = np.array([[0, 257 * 100, 65535]], np.uint16)
    data = encoded(Image.fromarray(levels), "PNG", transparency=257 * 100)
    assert np.asarray(decode_image(data))[0, :, 0].tolist() == [0, 255, 255]


def test_damaged_metadata_never_ends_a_run() -> None:
    """Whatever Pillow raises for a mutated file, it comes as an ImageError or not at all."""
    exif = Image.Exif()
    exif[274], exif[271], exif[282] = 6, "maker", 72
    data = bytearray(encoded(picture(), "JPEG", exif=exif))
    generator = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(1500):
            mutated = bytearray(data)
            for position in generator.integers(0, 160, 3):  # the header and its EXIF block
                mutated[position] = generator.integers(0, 256)
            with contextlib.suppress(ImageError):
                decode_image(bytes(mutated))


@pytest.mark.parametrize(("rounding", "first"), [("nearest", 2), ("down", 1)])
def test_half_a_pixel_of_margin(rounding: str, first: int) -> None:
    """Six columns, three wanted: torchvision takes 2 to 4, transformers 1 to 3."""
    pixels = np.repeat(np.arange(6, dtype=np.uint8)[None, :, None] * 10, 3, 0).repeat(3, 2)
    transform = ImageTransform((3, 6), (3, 3), "squash", crop_rounding=rounding)  # type: ignore[arg-type]
    assert transform.apply(Image.fromarray(pixels))[0, 0, 0] == first * 10
