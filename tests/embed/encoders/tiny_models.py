"""Tiny models with random weights, saved as their libraries save them, and their encoders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import save_file

from embed.encoders.base import ImageEncoder, TextEncoder
from embed.encoders.registry import load_encoders
from embed.encoders.specs import parse_specs

TITLES = ["red mug", "a much longer title of a green shoe, size 42", "", "ÜBER größe"]


def image_encoder(spec: str, precision: str = "fp32") -> ImageEncoder:
    return load_encoders(parse_specs([spec], []), "cpu", precision).image[0]


def text_encoder(spec: str, precision: str = "fp32") -> TextEncoder:
    return load_encoders(parse_specs([], [spec]), "cpu", precision).text[0]


def encode(encoder: ImageEncoder, pictures: list[Image.Image]) -> Float[np.ndarray, "n d"]:
    return encoder.encode(np.stack([encoder.transform.apply(image) for image in pictures]))


def photographs(shared: Path, count: int) -> list[Image.Image]:
    """Real photographs, taken evenly from the grocery catalogue."""
    paths = sorted((shared / "data" / "grocery").rglob("*.jpg"))
    return [Image.open(path).convert("RGB") for path in paths[:: len(paths) // count]][:count]


def cosines(ours: Any, theirs: Any) -> Float[np.ndarray, " n"]:
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    return np.asarray((np.asarray(ours, np.float32) * theirs).sum(axis=1))


def open_clip_folder(folder: Path, **preprocess: Any) -> Path:
    """A two-layer OpenCLIP model with random weights and a configuration of its own."""
    import open_clip

    quick_gelu = preprocess.pop("quick_gelu", False)
    size = preprocess.pop("image_size", 32)
    model_cfg = {
        "embed_dim": 16,
        "quick_gelu": quick_gelu,
        "vision_cfg": {"image_size": size, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {
            "context_length": 20,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    }
    folder.mkdir()
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = open_clip.model.CLIP(**model_cfg)
    for parameter in model.parameters():  # large activations tell QuickGELU and GELU apart
        parameter.data.mul_(3 if parameter.ndim > 1 else 1)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def clip_folder(folder: Path, kind: str) -> Path:
    """A tiny CLIP or SigLIP of the transformers library with random weights and a tokenizer."""
    import transformers

    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    vision = sizes | {"image_size": 32, "patch_size": 8}
    text = sizes | {"vocab_size": 100, "max_position_embeddings": 12, "bos_token_id": 2}
    text |= {"eos_token_id": 3, "pad_token_id": 0}
    torch.manual_seed(0)
    if kind == "clip":
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
        transformers.CLIPModel(config).save_pretrained(folder)
        sized = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
        transformers.CLIPImageProcessor(**sized).save_pretrained(folder)
    else:
        config = transformers.SiglipConfig(text_config=text, vision_config=vision)
        transformers.SiglipModel(config).save_pretrained(folder)
        processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
        processor.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def bert_folder(folder: Path) -> Path:
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=12,
    )
    transformers.BertModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def vit_folder(folder: Path) -> Path:
    """A tiny classifier: its checkpoint has no pooler."""
    import transformers

    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
    )
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.ViTImageProcessor(size=size).save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [
        "[PAD]",
        "[UNK]",
        "[BOS]",
        "[EOS]",
        "red",
        "mug",
        "a",
        "green",
        "shoe",
        "size",
        "title",
    ]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[BOS]", 2), ("[EOS]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[BOS] $A [EOS]", None, ends)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        model_max_length=12,
    )
    fast.save_pretrained(folder)
