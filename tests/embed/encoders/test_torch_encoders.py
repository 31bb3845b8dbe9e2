"""What the encoders on torch share: batches, precision, fingerprints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from embed.encoders.runtime import Runtime
from embed.errors import EncoderError
from tests.embed.encoders.tiny_models import (
    TITLES,
    clip_folder,
    cosines,
    encode,
    image_encoder,
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
