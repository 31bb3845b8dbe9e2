"""Models of the transformers library: towers of CLIP and SigLIP, vision models, text encoders."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from embed.encoders.base import ImageEncoder, TextEncoder
from embed.encoders.hub import require_repository, weights_not_found
from embed.encoders.specs import EncoderSpec
from embed.encoders.torch_encoders import (
    UNREADABLE,
    Preprocessing,
    Runtime,
    TorchImageEncoder,
    TorchTextEncoder,
    fingerprint_of,
    preprocessing_settings,
)
from embed.errors import EncoderError, SpecError
from embed.images import ImageTransform, Interpolation

POOLINGS = ("mean", "cls")
# Pillow's numbers for its filters, as image processors keep them.
INTERPOLATIONS: Mapping[int, Interpolation] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}
# Settings that say where a model came from, and so do not change its numbers.
ORIGINS = frozenset(("_name_or_path", "transformers_version", "architectures", "dtype"))


def load_image(spec: EncoderSpec, runtime: Runtime) -> ImageEncoder:
    """The image tower of a model of two towers, or a vision model with its pooled output.

    Raises:
        WeightsNotFoundError: the model is neither a folder here nor to be had from the hub.
        EncoderError: a model that has no image tower, or preprocessing that is not understood.
    """
    spec.check_options(())
    model = _load(spec, AutoModel)
    processor = _load(spec, AutoImageProcessor)
    preprocessing = _preprocessing(processor, spec)
    forward = _image_forward(runtime.place(model), spec)
    settings = {
        "library": "transformers",
        "tower": "image",
        "model": _model_settings(model),
        "preprocessing": preprocessing_settings(preprocessing),
    }
    weights = _weights_without(model, ("text_model.", "text_projection."))
    fingerprint = fingerprint_of(settings, weights, runtime.precision)
    return TorchImageEncoder(spec, preprocessing, forward, fingerprint, runtime)


def load_text(spec: EncoderSpec, runtime: Runtime) -> TextEncoder:
    """The text tower of a model of two towers, or a BERT-like encoder with pooling.

    Pooling, `mean` over the title's tokens or `cls` for the first one, is named in the spec
    (`,pooling=mean`) or read from the model's own files, as sentence-transformers writes them.

    Raises:
        WeightsNotFoundError: the model is neither a folder here nor to be had from the hub.
        SpecError: pooling is neither named nor in the model's files.
    """
    spec.check_options(("pooling",))
    model = _load(spec, AutoModel)
    tokenizer = _load(spec, AutoTokenizer)
    max_tokens = _max_tokens(spec, tokenizer, model)
    has_towers = hasattr(model, "get_text_features")
    pooling = "tower" if has_towers else _pooling(spec)
    # SigLIP was trained on titles padded to the full length, without a mask.
    padding = "max_length" if model.config.model_type.startswith("siglip") else True

    def tokenize(titles: list[str]) -> Mapping[str, torch.Tensor]:
        tokens: Mapping[str, torch.Tensor] = tokenizer(
            titles, padding=padding, truncation=True, max_length=max_tokens, return_tensors="pt"
        )
        return tokens

    settings = {
        "library": "transformers",
        "tower": "text",
        "model": _model_settings(model),
        "pooling": pooling,
        "max_tokens": max_tokens,
    }
    weights = _weights_without(model, ("vision_model.", "visual_projection."))
    fingerprint = fingerprint_of(settings, weights, runtime.precision)
    forward = _text_forward(runtime.place(model), pooling)
    return TorchTextEncoder(spec, tokenize, forward, fingerprint, runtime)


def _load(spec: EncoderSpec, loader: Any) -> Any:
    """A model, tokenizer or processor, from a folder or from the hub."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    advice = "Give a folder that you have, transformers:FOLDER"
    if not Path(spec.model).is_dir():
        if spec.model.startswith((".", "/", "~")) or spec.model.count("/") != 1:
            raise EncoderError(f"encoder '{spec.text}': there is no folder {spec.model}")
        require_repository(spec.model, f"'{spec.text}'", advice)
    try:
        return loader.from_pretrained(spec.model)
    except UNREADABLE as error:
        raise weights_not_found(f"'{spec.text}'", spec.model, advice, error) from error


def _image_forward(model: Any, spec: EncoderSpec) -> Callable[[torch.Tensor], torch.Tensor]:
    if hasattr(model, "get_image_features"):
        return lambda pixels: _tensor_of(model.get_image_features(pixel_values=pixels))
    if model.main_input_name != "pixel_values":
        raise EncoderError(f"encoder '{spec.text}': this model takes text, not images")

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        output = model(pixel_values=pixels)
        pooled = getattr(output, "pooler_output", None)
        vectors: torch.Tensor = output.last_hidden_state[:, 0] if pooled is None else pooled
        return vectors.flatten(1)

    return forward


def _text_forward(model: Any, pooling: str) -> Callable[..., torch.Tensor]:
    def forward(**tokens: torch.Tensor) -> torch.Tensor:
        if pooling == "tower":
            return _tensor_of(model.get_text_features(**tokens))
        states: torch.Tensor = model(**tokens).last_hidden_state  # (b, tokens, d)
        if pooling == "cls":
            return states[:, 0]
        mask = tokens["attention_mask"][..., None].to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)

    return forward


def _tensor_of(features: Any) -> torch.Tensor:
    """The tower's vector; transformers wraps it from version 5 on."""
    return features if isinstance(features, torch.Tensor) else features.pooler_output


def _pooling(spec: EncoderSpec) -> str:
    named = spec.options.get("pooling")
    if named is None:
        config = _file_of(spec, "1_Pooling/config.json")
        modes = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
        named = next((name for name, key in modes.items() if config.get(key)), None)
    if named not in POOLINGS:
        found = f"found '{named}'" if named else "and the model's own files do not say"
        raise SpecError(
            f"encoder '{spec.text}': pooling is {' or '.join(POOLINGS)}, {found}: "
            f"add ,pooling=mean to the spec"
        )
    return named


def _max_tokens(spec: EncoderSpec, tokenizer: Any, model: Any) -> int:
    """The most tokens of a title: what sentence-transformers says, else tokenizer and positions."""
    config = getattr(model.config, "text_config", model.config)
    limits = [
        _file_of(spec, "sentence_bert_config.json").get("max_seq_length"),
        tokenizer.model_max_length,
        getattr(config, "max_position_embeddings", None),
    ]
    return int(min(limit for limit in limits if limit))


def _file_of(spec: EncoderSpec, name: str) -> dict[str, Any]:
    """One of the model's JSON files; {} where it has none."""
    path: Path | None = Path(spec.model) / name
    if not Path(spec.model).is_dir():
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(spec.model, name)
        path = Path(cached) if isinstance(cached, str) else None
    if path is None or not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _preprocessing(processor: Any, spec: EncoderSpec) -> Preprocessing:
    """An image processor's settings in our words."""
    size = dict(processor.size)
    edge = size.get("shortest_edge")
    height, width = (edge, edge) if edge else (size.get("height"), size.get("width"))
    if not (processor.do_resize and height and width):
        raise EncoderError(
            f"encoder '{spec.text}': its image processor resizes to {size}: "
            f"only shortest_edge, or height and width, are understood"
        )
    crop = dict(processor.crop_size) if getattr(processor, "do_center_crop", False) else None
    crop_to = (crop["height"], crop["width"]) if crop else (height, width)
    transform = ImageTransform(
        (height, width),
        crop_to,
        "shortest" if edge else "squash",
        INTERPOLATIONS[int(processor.resample)],
    )
    return Preprocessing(transform, tuple(processor.image_mean), tuple(processor.image_std))


def _model_settings(model: Any) -> dict[str, Any]:
    return {key: value for key, value in model.config.to_dict().items() if key not in ORIGINS}


def _weights_without(model: Any, prefixes: tuple[str, ...]) -> list[tuple[str, torch.Tensor]]:
    """The model's weights but for the other tower's and the temperature."""
    left_out = (*prefixes, "logit_")
    return [item for item in model.state_dict().items() if not item[0].startswith(left_out)]
