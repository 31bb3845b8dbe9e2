"""Projection heads: features in, unit vectors out, so that equal products come near."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from pytorch_metric_learning.losses import ArcFaceLoss, NormalizedSoftmaxLoss
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


class MetricLoss(nn.Module):
    """The loss over classes, with a centre of its own for each class.

    ArcFace: Deng et al., CVPR 2019 (arXiv:1801.07698). Normalised softmax: Zhai & Wu, BMVC 2019
    (arXiv:1811.12649), whose temperature is 1 / scale. Both by pytorch-metric-learning.
    """

    def __init__(self, num_classes: int, settings: ProjectionSettings) -> None:
        super().__init__()
        if settings.loss == "arcface":
            # The library takes degrees; we speak of radians everywhere.
            degrees = math.degrees(settings.margin_radians)
            self.loss = ArcFaceLoss(num_classes, settings.dim, margin=degrees, scale=settings.scale)
        else:
            self.loss = NormalizedSoftmaxLoss(
                num_classes, settings.dim, temperature=1 / settings.scale
            )

    def forward(
        self, vectors: Float[Tensor, "b e"], labels: Int[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        """The mean loss of the batch."""
        loss: Tensor = self.loss(vectors, labels)
        return loss

    @torch.no_grad()
    def set_centres(self, centres: Float[Tensor, "c e"]) -> None:
        """Put the classes' centres where these vectors are."""
        self.loss.W.copy_(centres.T)


@torch.no_grad()
def project(model: Projection, features: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
    """The vectors of features without dropout, whatever mode the model is in."""
    was_training = model.training
    model.eval()
    vectors: Tensor = model(features)
    model.train(was_training)
    return vectors
