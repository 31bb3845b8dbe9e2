"""Which settings do anything beside others: momentum with SGD alone, margins with their losses."""

from collections.abc import Mapping
from typing import Any

from heads.kinds import PROJECTION
from heads.projection.loss_settings import MARGIN_COSINES, MARGINS

OF_EVERY_KIND: dict[str, tuple[str, tuple[str, ...]]] = {
    "per_class": ("sampler", ("m-per-class",)),
    "momentum": ("optimizer", ("sgd",)),
    "warmup_epochs": ("schedule", ("cosine",)),
    "step_epochs": ("schedule", ("step",)),
    "milestones": ("schedule", ("multi-step",)),
    "gamma": ("schedule", ("step", "multi-step")),
}
OF_A_PROJECTION: dict[str, tuple[str, tuple[str, ...]]] = {
    "dim": ("body", ("linear", "mlp")),
    "start": ("body", ("linear",)),
    "depth": ("body", ("mlp", "residual")),
    "width": ("body", ("mlp", "residual")),
    "normalization": ("body", ("mlp", "residual")),
    "activation": ("body", ("mlp", "residual")),
    "margin_radians": ("loss", ("arcface",)),
    "least_margin_radians": ("loss", ("arcface",)),
    "margin_cosine": ("loss", tuple(MARGIN_COSINES)),
    "scale": ("loss", ("arcface", "cosface", "softmax", "proxy-anchor", "supcon", "circle")),
    "subcentres": ("loss", tuple(MARGINS)),
    "triplet_mining": ("loss", ("triplet",)),
    "focal_gamma": ("loss", tuple(MARGINS)),
    "label_smoothing": ("loss", tuple(MARGINS)),
}
"""By the name of a setting, another one, and its values that have a use for the first."""


def conditions_of(kind: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Those of a kind of head: the losses of other kinds than projections are of one form."""
    return OF_EVERY_KIND | (OF_A_PROJECTION if kind == PROJECTION else {})


def is_used(kind: str, name: str, settings: Mapping[str, Any]) -> bool:
    """Whether a setting does anything beside the others, all of them by their options' names."""
    if name not in conditions_of(kind):
        return True
    other, values = conditions_of(kind)[name]
    return other not in settings or settings[other] in values
