"""Models of the transformers library: towers of CLIP and SigLIP, vision models, text encoders."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from embed.encoders.base import ImageEncoder, TextEncoder
from embed.encoders.hub import require_repository, weights_not_found
from embed.encoders.image_processors import read_preprocessing
from embed.encoders.runtime import Runtime
from embed.encoders.specs import EncoderSpec
from embed.encoders.tokens import Tokens
from embed.encoders.torch_encoders import TorchImageEncoder, TorchTextEncoder
from embed.encoders.towers import UNREADABLE, Tower
from embed.errors import EncoderError, SpecError

POOLINGS = ("mean", "cls")
# By tower: the beginnings of the weights that it does not use.
UNUSED: Mapping[str, tuple[str, ...]] = {
    "image": ("text_model.", "text_projection.", "logit_"),
    "text": ("vision_model.", "visual_projection.", "logit_"),
}
SUPPORTED_MODULES = ("Transformer", "Pooling", "Normalize")
# Settings that say where a model came from, and so do not change its numbers.
ORIGINS = frozenset(("_name_or_path", "transformers_version", "architectures", "dtype"))


def load_image(spec: EncoderSpec, runtime: Runtime) -> ImageEncoder:
    """The image tower of a model of two towers, or a vision model with its pooled output.

    A vision model whose checkpoint has no pooler (a classifier's) gives its class token's state.

    Raises:
        WeightsNotFoundError: the model is neither a folder here nor to be had from the hub.
        EncoderError: a model without an image tower or with weights missing from its checkpoint,
            or preprocessing that is not understood.
    """
    spec.check_options(())
    model = _load_model(spec, "image")
    preprocessing = read_preprocessing(_load(spec, AutoImageProcessor), spec)
    forward = _image_forward(model, spec)
    settings = {
        "library": "transformers",
        "tower": "image",
        "model": _model_settings(model),
        "preprocessing": asdict(preprocessing),
    }
    tower = Tower(model, forward, settings, _weights_of(model, "image"))
    return TorchImageEncoder(spec, preprocessing, tower, runtime)


def load_text(spec: EncoderSpec, runtime: Runtime) -> TextEncoder:
    """The text tower of a model of two towers, or a BERT-like encoder with pooling.

    Pooling, `mean` over the title's tokens or `cls` for the first one, is named in the spec
    (`,pooling=mean`) or read from the model's own files, as sentence-transformers writes them.

    Raises:
        WeightsNotFoundError: the model is neither a folder here nor to be had from the hub.
        SpecError: pooling is neither named nor, as mean or cls alone, in the model's files.
        EncoderError: weights missing from the checkpoint, or sentence-transformers modules
            behind the pooling, such as Dense.
    """
    spec.check_options(("pooling",))
    model = _load_model(spec, "text")
    _require_supported_modules(spec)
    tokenizer = _load(spec, AutoTokenizer)
    max_tokens = _max_tokens(spec, tokenizer, model)
    has_towers = hasattr(model, "get_text_features")
    pooling = "tower" if has_towers else _pooling(spec)
    # SigLIP was trained on titles padded to the full length, without a mask.
    padding = "max_length" if model.config.model_type.startswith("siglip") else True

    def tokenize(titles: list[str]) -> Tokens:
        return _tokenize(tokenizer, titles, padding, max_tokens)

    settings = {
        "library": "transformers",
        "tower": "text",
        "model": _model_settings(model),
        "pooling": pooling,
        "max_tokens": max_tokens,
        "tokenizer": _tokenizer_settings(tokenizer),
    }
    forward = _text_forward(model, pooling)
    tower = Tower(model, forward, settings, _weights_of(model, "text"))
    return TorchTextEncoder(spec, tokenize, tower, runtime)


def _load_model(spec: EncoderSpec, tower: str) -> Any:
    """The model less its other tower, complete: transformers makes up what a checkpoint lacks."""
    model, report = _load(spec, AutoModel, output_loading_info=True)
    unused = (*UNUSED[tower], "pooler.")
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(unused))
    if missing:
        raise EncoderError(
            f"encoder '{spec.text}': its checkpoint lacks {missing[0]} and {len(missing) - 1} "
            f"other weights of {type(model).__name__}: give a complete checkpoint"
        )
    if tower == "text" and hasattr(model, "pooler"):
        # Never used, so neither run nor fingerprinted. Not None: SqueezeBERT calls it regardless.
        model.pooler = torch.nn.Identity()
    elif any(key.startswith("pooler.") for key in report["missing_keys"]):
        model.pooler = None  # the class token's state instead
    for name in [name for name, _ in model.named_children() if f"{name}." in UNUSED[tower]]:
        delattr(model, name)
    return model


def _load(spec: EncoderSpec, loader: Any, **options: Any) -> Any:
    """A model, tokenizer or processor, from a folder or from the hub."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    advice = "Give a folder that you have, transformers:FOLDER"
    if spec.folder is None:
        if spec.model.startswith((".", "/", "~")) or spec.model.count("/") != 1:
            raise EncoderError(
                f"encoder '{spec.text}': there is no folder {spec.model}; "
                f"models of the hub are written OWNER/NAME"
            )
        require_repository(spec.model, f"'{spec.text}'", advice)
    try:
        return loader.from_pretrained(str(spec.folder or spec.model), **options)
    except UNREADABLE as error:
        raise weights_not_found(f"'{spec.text}'", spec.model, advice, error) from error


def _tokenize(tokenizer: Any, titles: list[str], padding: bool | str, max_tokens: int) -> Tokens:
    encoded = tokenizer(titles, truncation=True, max_length=max_tokens)
    pad_to = max_tokens if padding == "max_length" else None
    counts = [pad_to or len(ids) for ids in encoded["input_ids"]]

    def take(rows: Sequence[int]) -> Mapping[str, torch.Tensor]:
        chosen = {key: [values[row] for row in rows] for key, values in encoded.items()}
        padded: Mapping[str, torch.Tensor] = tokenizer.pad(
            chosen, padding=padding, max_length=pad_to, return_tensors="pt"
        )
        return padded

    return Tokens(np.array(counts), take)


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
        named = " and ".join(_pooling_modes(_file_of(spec, "1_Pooling/config.json")))
    if named not in POOLINGS:
        found = f"found '{named}'" if named else "and the model's own files do not say"
        raise SpecError(
            f"encoder '{spec.text}': pooling is {' or '.join(POOLINGS)}, {found}: "
            f"add ,pooling=mean or ,pooling=cls to the spec"
        )
    return named


def _pooling_modes(config: Mapping[str, Any]) -> list[str]:
    """The modes that sentence-transformers joins: by name, or before its version 6 by flags."""
    if "pooling_mode" in config:
        modes = config["pooling_mode"]
        return [modes] if isinstance(modes, str) else list(modes)
    flags = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    return [re.sub(r"^pooling_mode_|_tokens?$", "", flag) for flag in flags]


def _require_supported_modules(spec: EncoderSpec) -> None:
    for module in _file_of(spec, "modules.json"):
        kind = module["type"].rpartition(".")[2]
        if kind not in SUPPORTED_MODULES:
            raise EncoderError(
                f"encoder '{spec.text}': its modules.json lists the module {kind}, which is not "
                f"supported: only {', '.join(SUPPORTED_MODULES)} are"
            )


def _max_tokens(spec: EncoderSpec, tokenizer: Any, model: Any) -> int:
    """The most tokens of a title: what sentence-transformers says, else tokenizer and positions."""
    config = getattr(model.config, "text_config", model.config)
    limits = [
        _file_of(spec, "sentence_bert_config.json").get("max_seq_length"),
        tokenizer.model_max_length,
        getattr(config, "max_position_embeddings", None),
    ]
    return int(min(limit for limit in limits if limit))


def _file_of(spec: EncoderSpec, name: str) -> Any:
    """What one of the model's JSON files holds; {} where there is none."""
    path = spec.folder / name if spec.folder else None
    if path is None:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(spec.model, name)
        path = Path(cached) if isinstance(cached, str) else None
    if path is None or not path.is_file():
        return {}
    return json.loads(path.read_text(encoding="utf-8"))


def _model_settings(model: Any) -> dict[str, Any]:
    return {key: value for key, value in model.config.to_dict().items() if key not in ORIGINS}


def _tokenizer_settings(tokenizer: Any) -> dict[str, Any]:
    """What decides the tokens of a title: vocabulary, normalisation, special tokens, sides."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return {
        "class": type(tokenizer).__name__,
        "state": backend.to_str() if backend else sorted(tokenizer.get_vocab().items()),
        "special_tokens": tokenizer.special_tokens_map,
        "sides": [tokenizer.padding_side, tokenizer.truncation_side],
    }


def _weights_of(model: Any, tower: str) -> list[tuple[str, torch.Tensor]]:
    """The model's weights but for the other tower's and the temperature."""
    return [item for item in model.state_dict().items() if not item[0].startswith(UNUSED[tower])]
