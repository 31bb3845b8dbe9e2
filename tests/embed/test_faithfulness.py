"""From the file to the store: the vectors are those of each library's own transform and model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float
from PIL import Image

from embed.run import RunSettings, run
from embed.store import Store
from tests.embed.encoders.tiny_models import clip_folder, cosines, open_clip_folder

Encode = Callable[[list[Image.Image]], torch.Tensor]
SIZES = ((640, 480), (417, 903), (1000, 400), (224, 224), (2600, 1900))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Encode]]:
    """A tiny model of each library: its spec, and what the library itself makes of images."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "open_clip": _open_clip(folder / "open_clip"),
        "timm": _timm(folder),
        "transformers": _transformers(folder / "clip"),
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEGs with coarse and fine structure; the largest is decoded at a fraction of its size."""
    folder = tmp_path_factory.mktemp("drawn")
    generator = np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES):
        coarse = Image.fromarray(generator.integers(0, 256, (9, 9, 3), np.uint8))
        fine = generator.integers(0, 256, (height // 5, width // 5, 3), np.uint8)
        rough = Image.fromarray(fine).resize((width, height), Image.Resampling.BILINEAR)
        smooth = coarse.resize((width, height), Image.Resampling.BICUBIC)
        Image.blend(smooth, rough, 0.3).save(folder / f"{number}.jpg", quality=88)
    return folder


@pytest.mark.parametrize("library", ["open_clip", "timm", "transformers"])
def test_drawn_photographs(
    models: dict[str, tuple[str, Encode]], drawn: Path, tmp_path: Path, library: str
) -> None:
    assert least_cosine(*models[library], drawn, tmp_path / "s.h5") >= 0.9995


@pytest.mark.parametrize("library", ["open_clip", "timm", "transformers"])
def test_real_photographs(
    models: dict[str, tuple[str, Encode]], shared: Path, tmp_path: Path, library: str
) -> None:
    photographs = sorted((shared / "data/grocery").rglob("*.jpg"))
    for number, path in enumerate(photographs[:: len(photographs) // 60]):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(path.read_bytes())
    assert least_cosine(*models[library], tmp_path / "photos", tmp_path / "s.h5") >= 0.9995


def test_vectors_depend_on_nothing_but_the_image(
    models: dict[str, tuple[str, Encode]], drawn: Path, tmp_path: Path
) -> None:
    """Neither on the batch size, nor on the order of rows, nor on the cores that a worker has.

    That nothing is lost between processes is seen in test_workers, without the libraries.
    """
    specs = tuple(f"{name}={spec}" for name, (spec, _) in models.items())
    names = [path.name for path in sorted(drawn.iterdir())]
    found = []
    threads = torch.get_num_threads()
    for number, (order, batch_size, num_threads) in enumerate(
        [(names, 32, threads), (names[::-1], 2, threads), (names, 1, 1)]
    ):
        manifest = drawn.parent / f"{number}.csv"
        manifest.write_text("\n".join(["id,image", *(f"{name},{name}" for name in order)]))
        settings = RunSettings(
            manifest, tmp_path / f"{number}.h5", specs, precision="fp32", device="cpu"
        )
        torch.set_num_threads(num_threads)
        found.append(vectors(settings, str(drawn), batch_size, names))
        torch.set_num_threads(threads)
    for other in found[1:]:
        for name, vectors_found in other.items():
            np.testing.assert_allclose(vectors_found, found[0][name], atol=1e-5)


def vectors(
    settings: RunSettings, root: str, batch_size: int, ids: list[str]
) -> dict[str, Float[np.ndarray, "n d"]]:
    """Every space of a run, its rows in the order of `ids`."""
    from dataclasses import replace

    columns = replace(settings.columns, image_root=root)
    run(replace(settings, columns=columns, batch_size=batch_size))
    with Store(settings.output) as store:
        return {name: store.array(name)[store.rows_of(ids)] for name in store.spaces}


def least_cosine(spec: str, encode: Encode, photographs: Path, output: Path) -> float:
    """Between the store of a run and the library's own vectors."""
    run(RunSettings(photographs, output, (f"x={spec}",), precision="fp32", device="cpu"))
    with Store(output) as store, torch.inference_mode():
        images = [Image.open(photographs / item_id).convert("RGB") for item_id in store.ids]
        return float(cosines(store.array("x"), encode(images).numpy()).min())


def _open_clip(folder: Path) -> tuple[str, Encode]:
    import open_clip

    open_clip_folder(folder, image_size=64, interpolation="bicubic", resize_mode="shortest")
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    return f"open_clip:{folder}", lambda images: model.encode_image(
        torch.stack([transform(image) for image in images])
    )


def _timm(folder: Path) -> tuple[str, Encode]:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model: Any = timm.create_model("test_vit", pretrained=False, num_classes=0).eval()
    save_file(model.state_dict(), folder / "vit.safetensors")
    transform: Any = timm.data.create_transform(
        **timm.data.resolve_model_data_config(model), is_training=False
    )
    return f"timm:test_vit@{folder / 'vit.safetensors'}", lambda images: model(
        torch.stack([transform(image) for image in images])
    )


def _transformers(folder: Path) -> tuple[str, Encode]:
    from transformers import AutoImageProcessor, CLIPModel

    clip_folder(folder, "clip")
    model = CLIPModel.from_pretrained(str(folder)).eval()
    processor = AutoImageProcessor.from_pretrained(str(folder))

    def encode(images: list[Image.Image]) -> torch.Tensor:
        pixels = processor(images=images, return_tensors="pt")["pixel_values"]
        features: Any = model.get_image_features(pixel_values=pixels)
        vectors: torch.Tensor = getattr(features, "pooler_output", features)
        return vectors

    return f"transformers:{folder}", encode
