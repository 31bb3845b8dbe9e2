"""timm's backbones give what the library gives."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.embed.encoders.tiny_models import cosines, encode, image_encoder, photographs


@pytest.mark.parametrize("arch", ["test_vit", "test_byobnet", "mobilenetv3_small_050"])
def test_timm(tmp_path: Path, pictures: list[Image.Image], arch: str) -> None:
    import timm
    from timm.data import create_transform, resolve_model_data_config

    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    save_file(timm.create_model(arch).state_dict(), path)  # with its classifier
    model = timm.create_model(arch, num_classes=0).eval()
    model.load_state_dict(torch.load(_pth(path)), strict=False)
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        theirs = model(torch.stack([transform(image) for image in pictures])).numpy()
    ours = encode(image_encoder(f"timm:{arch}@{path}"), pictures)
    assert cosines(ours, theirs).min() > 0.9999


def _pth(path: Path) -> Path:
    from safetensors.torch import load_file

    torch.save(load_file(path), path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def test_mobilenet_on_real_photographs(shared: Path) -> None:
    import timm
    from timm.data import create_transform, resolve_model_data_config

    weights = shared / "models" / "mobilenetv2_100.safetensors"
    model = timm.create_model("mobilenetv2_100", num_classes=0, checkpoint_path=str(weights)).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    images = photographs(shared, 30)
    with torch.inference_mode():
        theirs = model(torch.stack([transform(image) for image in images])).numpy()
    ours = encode(image_encoder(f"timm:mobilenetv2_100@{weights}"), images)
    assert cosines(ours, theirs).min() > 0.9995
