"""The networks of projection heads: features in, vectors of unit length out."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from embed.errors import SettingsError
from heads.training.dropout import QuickDropout

BodyName = Literal["linear", "mlp", "residual"]
Normalization = Literal["batch", "layer", "none"]
Activation = Literal["relu", "gelu", "silu"]
BODIES: tuple[BodyName, ...] = ("linear", "mlp", "residual")
NORMALIZATIONS: tuple[Normalization, ...] = ("batch", "layer", "none")
ACTIVATIONS: tuple[Activation, ...] = ("relu", "gelu", "silu")
DEFAULT_DIM = 256

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}
_OF_HIDDEN_LAYERS = ("depth", "width", "normalization", "activation")


@dataclass(frozen=True)
class BodySettings:
    """The network of a projection head.

    - linear: one linear map.
    - mlp: `depth` hidden layers of `width`, each a linear map, normalisation and activation; then
      a linear map.
    - residual: the features, to which an MLP adds a correction. It starts at 0, so that a new
      head gives the features themselves, at unit length.

    `dim` is the size of the vectors; None is 256, and the number of features for residual, which
    has no other. `dropout` is of the features, before the first linear map and in training alone:
    one rate, or several whose samples are averaged over (see `QuickDropout`); 0 is none.
    """

    body: BodyName = "linear"
    dim: int | None = None
    depth: int = 1
    width: int = 512
    normalization: Normalization = "batch"
    activation: Activation = "relu"
    dropout: tuple[float, ...] = (0.2,)

    def __post_init__(self) -> None:
        _refuse_unknown("--body", self.body, BODIES)
        _refuse_unknown("--normalization", self.normalization, NORMALIZATIONS)
        _refuse_unknown("--activation", self.activation, ACTIVATIONS)
        for option, size in (("--dim", self.dim), ("--depth", self.depth), ("--width", self.width)):
            if size is not None and size < 1:
                raise SettingsError(f"{option} is at least 1: found {size}")
        if not self.dropout or not all(0 <= rate < 1 for rate in self.dropout):
            raise SettingsError(
                f"--dropout takes rates from 0 to below 1, one or several: found "
                f"{', '.join(map(str, self.dropout)) or 'none'}"
            )
        if self.body == "linear":
            self._refuse_hidden_layers()

    def _refuse_hidden_layers(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _OF_HIDDEN_LAYERS and value != field.default:
                raise SettingsError(
                    f"--{field.name} is of the hidden layers of --body mlp and residual: found "
                    f"{value} with --body linear"
                )

    def output_dim(self, num_features: int) -> int:
        """How long the vectors are.

        Raises:
            SettingsError: residual with another `dim` than it has features.
        """
        if self.body != "residual":
            return self.dim or DEFAULT_DIM
        if self.dim not in (None, num_features):
            raise SettingsError(
                f"--body residual gives vectors of as many numbers as there are features, here "
                f"{num_features}: found --dim {self.dim}; leave --dim out, or take --body mlp"
            )
        return num_features


def _refuse_unknown(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"{option} is {' or '.join(known)}: found '{value}'")


class Body(nn.Module, ABC):
    """Features of `num_features` in, vectors of `dim` and unit length out."""

    def __init__(self, num_features: int, settings: BodySettings) -> None:
        super().__init__()
        self.num_features = num_features
        self.dim = settings.output_dim(num_features)
        self.dropout = QuickDropout(settings.dropout)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """Vectors of unit length."""
        return nn.functional.normalize(self.map(features))

    @abstractmethod
    def map(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """The vectors before they are brought to unit length."""


def make_body(num_features: int, settings: BodySettings) -> Body:
    """A network with random weights from torch's generator.

    Raises:
        SettingsError: a `dim` that the body can't have.
    """
    kinds: dict[str, type[Body]] = {
        "linear": LinearBody,
        "mlp": MlpBody,
        "residual": ResidualBody,
    }
    return kinds[settings.body](num_features, settings)


class LinearBody(Body):
    """One linear map, `linear`, whose weights a start may set."""

    def __init__(self, num_features: int, settings: BodySettings) -> None:
        super().__init__(num_features, settings)
        self.linear = nn.Linear(num_features, self.dim)

    def map(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """The map of the features."""
        mapped: Tensor = self.linear(self.dropout(features))
        return mapped


class MlpBody(Body):
    """Hidden layers `hidden.0`, `hidden.1` and so on, then the linear map `output`."""

    def __init__(self, num_features: int, settings: BodySettings) -> None:
        super().__init__(num_features, settings)
        self.hidden = _hidden_layers(num_features, settings)
        self.output = nn.Linear(settings.width, self.dim)

    def map(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """The map of the last hidden layer."""
        mapped: Tensor = self.output(self.hidden(self.dropout(features)))
        return mapped


class ResidualBody(MlpBody):
    """The features, and what an MLP adds to them: nothing at the start.

    Dropout is of what the MLP sees; the features that it is added to are whole.
    """

    def __init__(self, num_features: int, settings: BodySettings) -> None:
        super().__init__(num_features, settings)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def map(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """The features and their correction."""
        return features + super().map(features)


@torch.no_grad()
def project(body: nn.Module, features: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
    """The vectors of features without dropout, whatever mode the body is in."""
    was_training = body.training
    body.eval()
    vectors: Tensor = body(features)
    body.train(was_training)
    return vectors


def _hidden_layers(num_features: int, settings: BodySettings) -> nn.Sequential:
    sizes = (num_features, *[settings.width] * settings.depth)
    return nn.Sequential(*[_hidden_layer(*pair, settings) for pair in pairwise(sizes)])


def _hidden_layer(size: int, width: int, settings: BodySettings) -> nn.Sequential:
    # Batch normalisation takes the mean off, and any bias with it.
    linear = nn.Linear(size, width, bias=settings.normalization != "batch")
    layers: OrderedDict[str, nn.Module] = OrderedDict(linear=linear)
    if settings.normalization == "batch":
        layers["normalization"] = nn.BatchNorm1d(width)
    elif settings.normalization == "layer":
        layers["normalization"] = nn.LayerNorm(width)
    layers["activation"] = _ACTIVATIONS[settings.activation]()
    return nn.Sequential(layers)
