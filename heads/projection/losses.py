"""What a projection head learns by."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from pytorch_metric_learning.losses import ArcFaceLoss, NormalizedSoftmaxLoss
from torch import Tensor, nn


@dataclass(frozen=True)
class LossSettings:
    """x."""

    loss: str = "arcface"
    scale: float = 16.0
    margin_radians: float = 0.5


class MetricLoss(nn.Module):
    """The loss over classes, with a centre of its own for each class.

    ArcFace: Deng et al., CVPR 2019 (arXiv:1801.07698). Normalised softmax: Zhai & Wu, BMVC 2019
    (arXiv:1811.12649), whose temperature is 1 / scale. Both by pytorch-metric-learning.
    """

    has_centres = True

    def __init__(self, sizes, dim, settings: LossSettings, precision="fp32") -> None:
        num_classes = len(sizes)
        super().__init__()
        if settings.loss == "arcface":
            # The library takes degrees; we speak of radians everywhere.
            degrees = math.degrees(settings.margin_radians)
            self.loss = ArcFaceLoss(num_classes, dim, margin=degrees, scale=settings.scale)
        else:
            self.loss = NormalizedSoftmaxLoss(num_classes, dim, temperature=1 / settings.scale)

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
