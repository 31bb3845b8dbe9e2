"""What the encoders on torch share: batches, precision, fingerprints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from embed.encoders.runtime import Runtime
from embed.encoders.specs import EncoderSpec
from embed.encoders.tokens import batches_by_length
from embed.errors import EncoderError
from tests.embed.encoders.tiny_models import (
    TITLES,
    clip_folder,
    cosines,
    encode,
    image_encoder,
    open_clip_folder,
    text_encoder,
)


def test_vectors_that_are_not_finite_are_refused() -> None:
    with pytest.raises(EncoderError, match="inf or nan in fp16: choose --precision bf16 or fp32"):
        Runtime.choose("cpu", "fp16").stored(torch.tensor([[1.0, float("inf")]]))


def test_vectors_do_not_depend_on_the_batch(tmp_path: Path, pictures: list[Image.Image]) -> None:
    folder = clip_folder(tmp_path / "model", "clip")
    encoder, text = image_encoder(f"transformers:{folder}"), text_encoder(f"transformers:{folder}")
    alone = np.concatenate([encode(encoder, [image]) for image in pictures])
    np.testing.assert_allclose(encode(encoder, pictures), alone, atol=1e-6)
    alone = np.concatenate([text.encode([title]) for title in TITLES])
    np.testing.assert_allclose(text.encode(TITLES), alone, atol=1e-6)


def test_half_precision_is_near_and_has_its_own_fingerprint(
    tmp_path: Path, pictures: list[Image.Image]
) -> None:
    folder = clip_folder(tmp_path / "model", "clip")
    full, half = (
        image_encoder(f"transformers:{folder}", precision=precision)
        for precision in ("fp32", "bf16")
    )
    assert encode(half, pictures).dtype == np.float16
    assert cosines(encode(half, pictures), encode(full, pictures)).min() > 0.999
    assert full.info.fingerprint != half.info.fingerprint


def test_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    folder = clip_folder(tmp_path / "model", "clip")
    before = image_encoder(f"transformers:{folder}").info.fingerprint
    assert image_encoder(f"transformers:{folder}").info.fingerprint == before
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    weights["visual_projection.weight"][0, 0] += 1e-3
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert image_encoder(f"transformers:{folder}").info.fingerprint != before


def test_batches_can_be_begun_before_the_first_is_awaited(
    tmp_path: Path, pictures: list[Image.Image]
) -> None:
    folder = clip_folder(tmp_path / "model", "clip")
    images, titles = image_encoder(f"transformers:{folder}"), text_encoder(f"transformers:{folder}")
    pixels = np.stack([images.transform.apply(image) for image in pictures])
    waits = [images.start(pixels[:2]), images.start(pixels[2:])]
    pixels[:] = 0  # what was begun no longer depends on the caller's array
    second, first = waits[1](), waits[0]()
    np.testing.assert_allclose(np.concatenate([first, second]), encode(images, pictures), atol=1e-6)
    wait = titles.start(TITLES)
    np.testing.assert_array_equal(titles.encode(TITLES[:1]), titles.start(TITLES[:1])())
    np.testing.assert_array_equal(wait(), titles.encode(TITLES))


def test_encoders_off_torch_can_be_begun_too(pictures: list[Image.Image]) -> None:
    encoder = image_encoder("classic:phash")
    pixels = np.stack([encoder.transform.apply(image) for image in pictures])
    np.testing.assert_array_equal(encoder.start(pixels)(), encoder.encode(pixels))


def test_batches_by_length_waste_little_and_keep_every_row() -> None:
    lengths = np.array([3, 9, 4, 9, 1, 30])
    assert batches_by_length(lengths, 18) == [[5], [1, 3], [2, 0, 4]]


@pytest.mark.parametrize("tower", ["image", "text"])
def test_only_the_tower_that_is_used_stays(tmp_path: Path, tower: str) -> None:
    import open_clip

    from embed.encoders.open_clip import keep_tower
    from embed.encoders.transformers import _load_model

    first = open_clip.create_model(f"local-dir:{open_clip_folder(tmp_path / 'open_clip')}")
    keep_tower(first, tower)
    folder = clip_folder(tmp_path / "clip", "clip")
    second = _load_model(EncoderSpec.parse(f"transformers:{folder}", "image"), tower)
    for model in (first, second):
        tensors = (*model.named_parameters(), *model.named_buffers())
        names = [name for name, _ in tensors if not name.startswith("logit_")]
        assert names
        assert {name.startswith("vis") for name in names} == {tower == "image"}
