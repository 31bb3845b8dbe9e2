"""Either tower of any OpenCLIP model, with the preprocessing that its configuration names."""

import difflib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg

from embed.encoders.base import ImageEncoder, TextEncoder
from embed.encoders.hub import require_repository, weights_not_found
from embed.encoders.open_clip_text import CutText
from embed.encoders.runtime import Runtime
from embed.encoders.specs import EncoderSpec
from embed.encoders.tokens import Tokens
from embed.encoders.torch_encoders import Preprocessing, TorchImageEncoder, TorchTextEncoder
from embed.encoders.towers import UNREADABLE, Tower, require_file
from embed.errors import EncoderError, SpecError
from embed.images import ImageTransform


@dataclass(frozen=True)
class _Source:
    """Where a model comes from: open_clip's name for it, its tag's settings, its weights."""

    model_name: str
    tag: str = ""
    weights: Path | None = None

    @property
    def tag_settings(self) -> dict[str, Any]:
        """What open_clip publishes with the tag: preprocessing, activation, address."""
        return dict(open_clip.get_pretrained_cfg(self.model_name, self.tag)) if self.tag else {}


def load_image(spec: EncoderSpec, runtime: Runtime) -> ImageEncoder:
    """The image tower.

    Raises:
        SpecError: an architecture or a tag that open_clip does not know.
        WeightsNotFoundError: the tag's weights can't be had.
        EncoderError: a weights file that is missing or does not fit.
    """
    source = _read_source(spec)
    model = _load_model(source, spec)
    preprocessing = _preprocessing(open_clip.get_model_preprocess_cfg(model))
    settings = {
        "library": "open_clip",
        "tower": "image",
        "model": _model_settings(source, "text_cfg"),
        "preprocessing": asdict(preprocessing),
    }
    keep_tower(model, "image")
    tower = Tower(model, model.encode_image, settings, tower_weights(model, "image"))
    return TorchImageEncoder(spec, preprocessing, tower, runtime)


def load_text(spec: EncoderSpec, runtime: Runtime) -> TextEncoder:
    """The text tower, with the tokenizer of its configuration. Raises what `load_image` does."""
    source = _read_source(spec)
    model = _load_model(source, spec)
    settings = {
        "library": "open_clip",
        "tower": "text",
        "model": _model_settings(source, "vision_cfg"),
    }
    keep_tower(model, "text")
    cut = CutText(model)
    tower = Tower(model, cut.encode, settings, tower_weights(model, "text"))
    tokenizer = open_clip.get_tokenizer(source.model_name)

    def tokenize(titles: list[str]) -> Tokens:
        text = tokenizer(titles)  # (b, context)
        lengths = cut.num_needed(text)
        return Tokens(lengths, lambda rows: {"text": text[rows, : lengths[rows].max()]})

    return TorchTextEncoder(spec, tokenize, tower, runtime)


def keep_tower(model: torch.nn.Module, tower: str) -> None:
    """Take the other tower off the model: half of the memory, and never used."""
    parts = (*model.named_children(), *model.named_parameters(recurse=False))
    for name, _ in (*parts, *model.named_buffers(recurse=False)):
        if (name == "visual") != (tower == "image") and not name.startswith("logit_"):
            delattr(model, name)


def tower_weights(model: torch.nn.Module, tower: str) -> list[tuple[str, torch.Tensor]]:
    """The tower's weights; the temperature belongs to neither."""
    state = [item for item in model.state_dict().items() if not item[0].startswith("logit_")]
    return [item for item in state if item[0].startswith("visual.") == (tower == "image")]


def _read_source(spec: EncoderSpec) -> _Source:
    spec.check_options(())
    if spec.folder:
        if spec.weights:
            raise SpecError(
                f"encoder '{spec.text}': a folder brings its own weights: "
                f"write open_clip:{spec.model}, without @{spec.weights}"
            )
        return _Source(f"local-dir:{spec.folder}")
    arch, _, tag = spec.model.partition("/")
    if arch not in open_clip.list_models():
        near = ", ".join(difflib.get_close_matches(arch, open_clip.list_models(), 4))
        raise SpecError(
            f"encoder '{spec.text}': open_clip has no architecture '{arch}', and there is no such "
            f"folder{f'; near it: {near}' if near else ''}"
        )
    tags = open_clip.list_pretrained_tags_by_model(arch)
    if tag and tag not in tags:
        raise SpecError(
            f"encoder '{spec.text}': {arch} has no weights '{tag}': it has {', '.join(tags)}"
        )
    if not tag and spec.weights is None:
        raise SpecError(
            f"encoder '{spec.text}': say which weights: open_clip:{arch}/TAG with one of "
            f"{', '.join(tags) or 'none'}, or open_clip:{arch}@WEIGHTS_FILE"
        )
    return _Source(arch, tag, spec.weights and require_file(spec.weights, spec))


def _load_model(source: _Source, spec: EncoderSpec) -> Any:
    settings = source.tag_settings
    if source.weights is None and settings.get("hf_hub"):
        repository = "/".join(settings["hf_hub"].split("/")[:2])
        require_repository(repository, f"'{spec.text}'", _advice(source))
    try:
        return open_clip.create_model(
            source.model_name,
            pretrained=str(source.weights or source.tag) or None,
            # Weights trained with QuickGELU give other vectors under GELU: the tag decides.
            force_quick_gelu=bool(settings.get("quick_gelu", False)),
            force_preprocess_cfg=_known_preprocessing(settings),
            require_pretrained=True,
        )
    except UNREADABLE as error:
        if source.weights is None and source.tag:
            address = settings.get("hf_hub") or settings.get("url") or "open_clip's list"
            raise weights_not_found(f"'{spec.text}'", address, _advice(source), error) from error
        message = " ".join(str(error).split())[:300]
        raise EncoderError(f"encoder '{spec.text}': its weights do not load: {message}") from error


def _advice(source: _Source) -> str:
    return f"Give a file that you have, open_clip:{source.model_name}/{source.tag}@WEIGHTS_FILE"


def _known_preprocessing(settings: dict[str, Any]) -> dict[str, Any]:
    """The part of a tag's settings that is preprocessing."""
    keys = ("mean", "std", "interpolation", "resize_mode")
    return {key: settings[key] for key in keys if key in settings}


def _preprocessing(settings: dict[str, Any]) -> Preprocessing:
    """open_clip's preprocessing settings in our words."""
    known = PreprocessCfg(**settings)
    size = known.size if isinstance(known.size, tuple | list) else (known.size, known.size)
    target = (int(size[0]), int(size[1]))
    fill = (known.fill_color,) * 3
    # open_clip reads any interpolation but bilinear as bicubic outside of training.
    interpolation = "bilinear" if known.interpolation == "bilinear" else "bicubic"
    transform = ImageTransform(target, target, known.resize_mode, interpolation, fill)  # type: ignore[arg-type]
    mean, std = (tuple(map(float, values)) for values in (known.mean, known.std))
    return Preprocessing(transform, mean, std)  # type: ignore[arg-type]


def _model_settings(source: _Source, other_tower: str) -> dict[str, Any]:
    """What, beside weights, decides a tower's numbers: the configuration less the other tower."""
    if source.model_name.startswith("local-dir:"):
        folder = Path(source.model_name.removeprefix("local-dir:"))
        config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    else:
        config = open_clip.get_model_config(source.model_name)
    quick_gelu = config.get("quick_gelu", False) or source.tag_settings.get("quick_gelu", False)
    settings = {key: value for key, value in config.items() if key != other_tower}
    return settings | {"quick_gelu": bool(quick_gelu)}
