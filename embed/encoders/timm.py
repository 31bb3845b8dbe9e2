"""Any timm backbone: its pooled features, with the preprocessing of its data configuration."""

import difflib
import math
from dataclasses import asdict
from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import load_state_dict

from embed.encoders.base import ImageEncoder
from embed.encoders.hub import require_repository, weights_not_found
from embed.encoders.runtime import Runtime
from embed.encoders.specs import EncoderSpec
from embed.encoders.torch_encoders import Preprocessing, TorchImageEncoder
from embed.encoders.towers import UNREADABLE, Tower, require_file
from embed.errors import EncoderError, SpecError
from embed.images import ImageTransform, ResizeMode


def load(spec: EncoderSpec, runtime: Runtime) -> ImageEncoder:
    """The backbone without its classifier, with timm's own preprocessing for it.

    The option `crop_pct` sets another share of the resized image that the centre crop keeps, for
    weights that were trained or published with another one than timm's configuration names.

    Raises:
        SpecError: an architecture that timm does not know.
        WeightsNotFoundError: no weights file was given and the published ones can't be had.
        EncoderError: a weights file that is missing or does not fit.
    """
    spec.check_options(("crop_pct",))
    if not timm.is_model(spec.model):
        near = ", ".join(difflib.get_close_matches(spec.model, timm.list_models(), 4))
        raise SpecError(
            f"encoder '{spec.text}': timm has no architecture '{spec.model}'"
            f"{f'; near it: {near}' if near else ''}"
        )
    overrides = _overrides(spec)
    model = _published(spec) if spec.weights is None else _from_file(spec)
    preprocessing = _preprocessing(resolve_model_data_config(model) | overrides)
    settings = {
        "library": "timm",
        "model": spec.model,
        "preprocessing": asdict(preprocessing),
    }
    tower = Tower(model, model, settings, list(model.state_dict().items()))
    return TorchImageEncoder(spec, preprocessing, tower, runtime)


def _published(spec: EncoderSpec) -> torch.nn.Module:
    advice = f"Give a file that you have, timm:{spec.model}@WEIGHTS_FILE"
    repository = getattr(timm.get_pretrained_cfg(spec.model), "hf_hub_id", None)
    if repository:
        require_repository(repository, f"'{spec.text}'", advice)
    try:
        model: torch.nn.Module = timm.create_model(spec.model, pretrained=True, num_classes=0)
    except UNREADABLE as error:
        raise weights_not_found(f"'{spec.text}'", str(repository), advice, error) from error
    return model


def _from_file(spec: EncoderSpec) -> torch.nn.Module:
    """The backbone with the weights of a file, which must fit exactly but for the classifier."""
    assert spec.weights is not None
    model: torch.nn.Module = timm.create_model(spec.model, pretrained=False, num_classes=0)
    try:
        weights = load_state_dict(str(require_file(spec.weights, spec)))
        model.load_state_dict(_without_classifier(weights, model))
    except UNREADABLE as error:
        message = " ".join(str(error).split())[:300]
        raise EncoderError(
            f"encoder '{spec.text}': {spec.weights} does not hold its weights: {message}"
        ) from error
    return model


def _without_classifier(weights: dict[str, Any], model: Any) -> dict[str, Any]:
    classifiers = model.pretrained_cfg.get("classifier") or ()
    names = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    prefixes = tuple(f"{name}." for name in names)
    return {key: value for key, value in weights.items() if not key.startswith(prefixes)}


def _overrides(spec: EncoderSpec) -> dict[str, float]:
    """The data configuration that the spec sets itself."""
    if "crop_pct" not in spec.options:
        return {}
    try:
        share = float(spec.options["crop_pct"])
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise SpecError(
            f"encoder '{spec.text}': crop_pct is above 0 and at most 1, such as 0.875: "
            f"found {spec.options['crop_pct']}"
        )
    return {"crop_pct": share}


def _preprocessing(settings: dict[str, Any]) -> Preprocessing:
    """timm's data configuration in our words; see timm.data.transforms_imagenet_eval."""
    _, height, width = settings["input_size"]
    share = settings["crop_pct"]
    modes: dict[str, ResizeMode] = {"squash": "squash", "border": "longest"}
    mode = modes.get(settings["crop_mode"], "shortest")
    mean, std = tuple(settings["mean"]), tuple(settings["std"])
    levels = tuple(round(255 * value) for value in mean)
    transform = ImageTransform(
        (math.floor(height / share), math.floor(width / share)),
        (height, width),
        mode,
        settings["interpolation"],
        levels if mode == "longest" else (0, 0, 0),
    )
    return Preprocessing(transform, mean, std)
