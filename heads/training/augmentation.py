"""Features that training sees otherwise than they are: noise, and mixtures of two rows."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embed.errors import SettingsError


@dataclass(frozen=True)
class AugmentationSettings:
    """How features are changed in training.

    `noise` is the length, in the mean, of the normal noise that is added to a row, beside the
    row's own; `mixup` is α of the Beta distribution that shares are drawn from, 0 for none.
    """

    noise: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.noise < math.inf and 0 <= self.mixup < math.inf):
            raise SettingsError(
                f"--noise and --mixup are 0 or more, and finite: found {self.noise:g} and "
                f"{self.mixup:g}"
            )


@dataclass(frozen=True)
class Mixed:
    """Features of a batch, each `share` of its own row and the rest of its partner's."""

    features: Float[Tensor, "b d"]
    partners: Int[Tensor, " b"]
    share: float


def with_noise(features: Float[Tensor, "b d"], noise: float) -> Float[Tensor, "b d"]:
    """Normal noise added, whose length is `noise` times that of the row, in the mean."""
    if not noise:
        return features
    scales = noise * features.norm(dim=1, keepdim=True) / features.shape[1] ** 0.5
    noisy: Tensor = features + torch.randn_like(features) * scales
    return noisy


def mixed(
    features: Float[Tensor, "b d"], alpha: float, groups: Int[Tensor, " b"] | None = None
) -> Mixed:
    """Each row mixed with another of the batch, and of its group where there are some.

    Source: Zhang et al., mixup, ICLR 2018 (arXiv:1710.09412): one share for a batch.
    """
    partners = torch.randperm(len(features), device=features.device)
    if groups is not None:  # the rows of a group, in random order, over its own places
        places = torch.argsort(groups, stable=True)
        partners_in_order = partners[torch.argsort(groups[partners], stable=True)]
        partners = torch.empty_like(partners).scatter_(0, places, partners_in_order)
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    return Mixed(share * features + (1 - share) * features[partners], partners, share)
