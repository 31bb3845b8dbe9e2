"""OpenCLIP's towers give what the library gives, whatever its configuration says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.embed.encoders.tiny_models import (
    TITLES,
    cosines,
    encode,
    image_encoder,
    open_clip_folder,
    photographs,
    text_encoder,
)

CLIP_MEAN, CLIP_STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]


@pytest.mark.parametrize(
    "settings",
    [
        {"resize_mode": "shortest", "interpolation": "bicubic"},
        {
            "resize_mode": "shortest",
            "interpolation": "bilinear",
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
        },
        {"resize_mode": "squash", "interpolation": "bicubic", "mean": CLIP_MEAN, "std": CLIP_STD},
        {"resize_mode": "longest", "interpolation": "bicubic", "fill_color": 128},
        {
            "resize_mode": "squash",
            "interpolation": "bilinear",
            "quick_gelu": True,
            "image_size": 40,
        },
    ],
)
def test_open_clip_images(tmp_path: Path, pictures: list[Image.Image], settings: Any) -> None:
    import open_clip

    folder = open_clip_folder(tmp_path / "model", **settings)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.inference_mode():
        theirs = model.eval().encode_image(torch.stack([transform(image) for image in pictures]))
    ours = encode(image_encoder(f"open_clip:{folder}"), pictures)
    # So near that GELU instead of QuickGELU would be seen.
    expected = theirs / theirs.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(ours, expected.numpy(), atol=2e-5)


def test_open_clip_text(tmp_path: Path) -> None:
    import open_clip

    folder = open_clip_folder(tmp_path / "model")
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        theirs = model.encode_text(tokenizer(TITLES)).numpy()
    assert cosines(text_encoder(f"open_clip:{folder}").encode(TITLES), theirs).min() > 0.9999


def test_open_clip_weights_file(tmp_path: Path, pictures: list[Image.Image]) -> None:
    """A built-in architecture with a file of weights, and with the preprocessing of a tag."""
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-S-32", load_weights=False, pretrained=None)
    path = tmp_path / "w.safetensors"
    save_file(model.state_dict(), path)
    transform = open_clip.image_transform(224, is_train=False)
    with torch.inference_mode():
        theirs = model.eval().encode_image(torch.stack([transform(image) for image in pictures]))
    ours = encode(image_encoder(f"open_clip:ViT-S-32@{path}"), pictures)
    assert cosines(ours, theirs.numpy()).min() > 0.9999


def test_openai_tags_bring_quick_gelu() -> None:
    from embed.encoders.open_clip import _model_settings, _Source

    settings = _model_settings(_Source("ViT-L-14-336", "openai"), "text_cfg")
    assert settings["quick_gelu"] is True
    assert not _model_settings(_Source("ViT-H-14", "laion2b_s32b_b79k"), "text_cfg")["quick_gelu"]


def test_towers_of_open_clip_share_no_weights() -> None:
    from embed.encoders.open_clip import tower_weights

    model = torch.nn.Module()
    model.visual, model.transformer = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    model.logit_scale = torch.nn.Parameter(torch.ones(()))
    names = {
        tower: [name for name, _ in tower_weights(model, tower)] for tower in ("image", "text")
    }
    assert names["image"] == ["visual.weight", "visual.bias"]
    assert names["text"] == ["transformer.weight", "transformer.bias"]


@pytest.mark.parametrize("resize_mode", ["shortest", "squash", "longest"])
def test_open_clip_on_real_photographs(tmp_path: Path, shared: Path, resize_mode: str) -> None:
    import open_clip

    folder = open_clip_folder(tmp_path / "model", resize_mode=resize_mode)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    images = photographs(shared, 100)
    with torch.inference_mode():
        theirs = model.eval().encode_image(torch.stack([transform(image) for image in images]))
    assert (
        cosines(encode(image_encoder(f"open_clip:{folder}"), images), theirs.numpy()).min() > 0.9995
    )


@pytest.mark.parametrize(
    ("setting", "one", "other"),
    [
        ("quick_gelu", False, True),
        ("resize_mode", "shortest", "squash"),
        ("resize_mode", "shortest", "longest"),
        ("interpolation", "bicubic", "bilinear"),
        ("mean", [0.48, 0.46, 0.41], [0.5, 0.5, 0.5]),
        ("std", [0.27, 0.26, 0.28], [0.5, 0.5, 0.5]),
    ],
)
def test_every_setting_shows_in_vectors_and_fingerprint(
    tmp_path: Path, pictures: list[Image.Image], setting: str, one: Any, other: Any
) -> None:
    """The test of faithfulness could not tell a setting that changes nothing."""
    encoders = [
        image_encoder(f"open_clip:{open_clip_folder(tmp_path / str(index), **{setting: value})}")
        for index, value in enumerate((one, other))
    ]
    first, second = (encode(encoder, pictures) for encoder in encoders)
    assert np.abs(first - second).max() > 1e-3
    assert encoders[0].info.fingerprint != encoders[1].info.fingerprint
