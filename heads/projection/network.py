"""Projection heads: features in, unit vectors out, so that equal products come near."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from embed.errors import SettingsError

Loss = Literal["arcface", "softmax"]
Start = Literal["discriminants", "random"]
LOSSES: tuple[Loss, ...] = ("arcface", "softmax")
STARTS: tuple[Start, ...] = ("discriminants", "random")


@dataclass(frozen=True)
class ProjectionSettings:
    """A projection head and its loss.

    `scale` multiplies cosines before the softmax; `margin_radians` is ArcFace's additive angle;
    `start` is where training starts from: linear discriminants of the training rows, or at random.
    """

    dim: int = 256
    dropout: float = 0.2
    loss: Loss = "arcface"
    scale: float = 16.0
    margin_radians: float = 0.5
    start: Start = "discriminants"

    def __post_init__(self) -> None:
        if self.dim < 1 or not 0 <= self.dropout < 1 or self.scale <= 0:
            raise SettingsError(
                f"a projection needs --dim of at least 1, --dropout from 0 to below 1 and --scale "
                f"above 0: found {self.dim}, {self.dropout} and {self.scale}"
            )
        if not 0 <= self.margin_radians < math.pi / 2:
            raise SettingsError(
                f"--margin-radians lies from 0 to below π/2: found {self.margin_radians}"
                f"{' (is it in degrees?)' if self.margin_radians > math.pi else ''}"
            )
        if self.loss not in LOSSES:
            raise SettingsError(f"--loss is {' or '.join(LOSSES)}: found '{self.loss}'")
        if self.start not in STARTS:
            raise SettingsError(f"--start is {' or '.join(STARTS)}: found '{self.start}'")


class Projection(nn.Module):
    """Dropout, then a linear map, then unit length."""

    def __init__(self, num_features: int, settings: ProjectionSettings) -> None:
        super().__init__()
        self.dropout = nn.Dropout(settings.dropout)
        self.linear = nn.Linear(num_features, settings.dim)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """Vectors of unit length."""
        return nn.functional.normalize(self.linear(self.dropout(features)))


@torch.no_grad()
def project(model: Projection, features: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
    """The vectors of features without dropout, whatever mode the model is in."""
    was_training = model.training
    model.eval()
    vectors: Tensor = model(features)
    model.train(was_training)
    return vectors
