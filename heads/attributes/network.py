"""Attribute heads: one small classifier for each attribute of each category.

All classifiers of one category are computed together: their first layers are one matrix, their
layer normalisations one call over groups, their second layers one batched product. Rows of a batch
are grouped by category with one sort.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from embed.errors import SettingsError
from heads.attributes.inputs import InputStatistics
from heads.training.dropout import QuickDropout

LINEAR_SHARE = 0.5
QUICK_VALUES, QUICK_PRODUCTS = 2**26, 2**30
"""A regression up to this size takes some seconds, and 256 MiB."""


@dataclass(frozen=True)
class AttributeSettings:
    """The classifiers: `hidden` units each, or 0 for a linear one; dropout before the last layer.

    `input_dropout` sets features to zero in training. `linear_share` is how much of the logits
    comes from a logistic regression beside the hidden layers, on the features as they are: what
    the two get wrong differs. None lets a learner choose: 0 where a regression takes long.
    """

    hidden: int = 256
    dropout: float = 0.5
    input_dropout: float = 0.5
    linear_share: float | None = None

    def __post_init__(self) -> None:
        if self.hidden < 0:
            raise SettingsError(
                f"--hidden is a number of units, or 0 for linear classifiers: found {self.hidden}"
            )
        shares = {
            "dropout": self.dropout,
            "input-dropout": self.input_dropout,
            "linear-share": self.linear_share or 0.0,
        }
        for name, share in shares.items():
            if not 0 <= share < 1:
                raise SettingsError(f"--{name} lies from 0 to below 1: found {share}")
        if self.hidden == 0 and self.linear_share:
            raise SettingsError(
                f"--linear-share says how much a linear classifier has to say beside hidden "
                f"layers, and --hidden 0 leaves none: found {self.linear_share}"
            )

    def for_data(self, num_values: int, num_products: int) -> "AttributeSettings":
        """The same with a linear share, `LINEAR_SHARE` to begin with where it is quick.

        Args:
            num_values: rows × features, which a regression holds at once.
            num_products: rows × features × classes, the work of one of its some hundred passes.
        """
        if self.linear_share is not None:
            return self
        is_quick = num_values <= QUICK_VALUES and num_products <= QUICK_PRODUCTS
        return replace(self, linear_share=LINEAR_SHARE if self.hidden and is_quick else 0.0)


class AttributeNetwork(nn.Module):
    """Features and categories in, logits of every attribute's classes out.

    `num_classes` is a table of categories by attributes, 0 where a category lacks an attribute.
    A pair of one class takes no weights: its logit is 0. Features are standardised first, by
    statistics that `fit_inputs` keeps. Logits are divided by `temperature`, 1 until calibration.
    `beside` has `linear_share` of them where there is one: it is fitted before training, and left
    so.
    """

    beside: "AttributeNetwork | None"
    linear_share: Tensor
    input_mean: Tensor
    input_scale: Tensor
    temperature: Tensor

    def __init__(
        self, num_features: int, num_classes: Int[np.ndarray, "c a"], settings: AttributeSettings
    ) -> None:
        super().__init__()
        self.num_attributes = num_classes.shape[1]
        self.max_classes = int(num_classes.max())
        self.register_buffer("input_mean", torch.zeros(num_features))
        self.register_buffer("input_scale", torch.ones(num_features))
        self.register_buffer("temperature", torch.ones(()))
        self.dropout = QuickDropout((settings.input_dropout,))
        self.categories = nn.ModuleList(
            _Category(num_features, row.tolist(), self.max_classes, settings) for row in num_classes
        )
        self.beside = None
        if settings.linear_share:
            self.register_buffer("linear_share", torch.tensor(settings.linear_share))
            linear = AttributeSettings(hidden=0, linear_share=0.0)
            with torch.random.fork_rng(devices=()):  # what is learnt is the same without it
                self.beside = AttributeNetwork(num_features, num_classes, linear)
            self.beside.requires_grad_(requires_grad=False)

    @torch.no_grad()
    def fit_inputs(self, statistics: InputStatistics) -> None:
        """Centre and scale features from now on, as these statistics say.

        The mean square of an input is 1. A feature that tells nothing of any class becomes 0,
        unless all are such: then they are standardised.
        """
        mean, scale = statistics.standard_scale()
        shares = statistics.class_shares()
        if not shares.any():
            shares = torch.ones_like(shares)
        self.input_mean.copy_(mean)
        self.input_scale.copy_(scale * shares / shares.square().mean().sqrt())

    def forward(
        self, features: Float[Tensor, "b d"], categories: Int[Tensor, " b"]
    ) -> Float[Tensor, "b a k"]:
        """Logits (float32); −∞ where a row's category has no such class, or is −1."""
        logits = self.learned(features, categories)
        if self.beside is not None:
            logits = self._mixed(logits, self.beside(features, categories))
        return logits / self.temperature

    def of_all_categories(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b c a k"]:
        """The logits as if a row were of each category; without a step that depends on the data."""
        inputs = (features - self.input_mean) * self.input_scale
        logits = torch.stack([category(inputs) for category in self.categories], dim=1)
        shaped = torch.unflatten(logits, 2, (self.num_attributes, self.max_classes))
        if self.beside is not None:
            shaped = self._mixed(shaped, self.beside.of_all_categories(features))
        return shaped / self.temperature

    def _mixed(
        self, learned: Float[Tensor, "*b a k"], linear: Float[Tensor, "*b a k"]
    ) -> Float[Tensor, "*b a k"]:
        mixed = (1 - self.linear_share) * learned + self.linear_share * linear
        return torch.where(learned.isfinite(), mixed, learned)

    def learned(
        self, features: Float[Tensor, "b d"], categories: Int[Tensor, " b"]
    ) -> Float[Tensor, "b a k"]:
        """The logits of the classifiers that training changes."""
        inputs = self.dropout((features - self.input_mean) * self.input_scale)
        sizes = torch.bincount(categories + 1, minlength=len(self.categories) + 1).tolist()
        if max(sizes[1:]) == len(features):  # one category: nothing to sort
            logits = self.categories[sizes.index(len(features)) - 1](inputs)
        else:
            logits = self._by_category(inputs, categories, sizes)
        shaped: Tensor = logits.unflatten(1, (self.num_attributes, self.max_classes))
        return shaped

    @torch.no_grad()
    def set_linear(
        self, category: int, attribute: int, weight: Float[Tensor, "k d"], bias: Float[Tensor, " k"]
    ) -> None:
        """Set the classifier of one pair, of two classes or more; there are no hidden layers."""
        module = self.categories[category]
        assert isinstance(module, _Category) and isinstance(module.pairs, nn.Linear)
        rows = module.columns // self.max_classes == attribute
        module.pairs.weight[rows] = weight
        module.pairs.bias[rows] = bias

    def _by_category(
        self, inputs: Float[Tensor, "b d"], categories: Int[Tensor, " b"], sizes: list[int]
    ) -> Float[Tensor, "b ak"]:
        order = torch.argsort(categories, stable=True)
        groups = torch.split(inputs[order], sizes)
        blocks = [
            category(group)
            for category, group in zip(self.categories, groups[1:], strict=True)
            if len(group)
        ]
        strange = inputs.new_full((sizes[0], self.num_attributes * self.max_classes), -math.inf)
        return torch.cat([strange, *blocks])[torch.argsort(order)]


class _Category(nn.Module):
    """The classifiers of one category: (r, d) features to (r, a·k) logits."""

    blank: Tensor
    columns: Tensor

    def __init__(
        self, num_features: int, num_classes: list[int], width: int, settings: AttributeSettings
    ) -> None:
        super().__init__()
        blank = torch.full((len(num_classes), width), -math.inf)
        for attribute, number in enumerate(num_classes):
            blank[attribute, :number] = 0
        learned = [attribute for attribute, number in enumerate(num_classes) if number > 1]
        columns = [a * width + k for a in learned for k in range(num_classes[a])]
        self.register_buffer("blank", blank.flatten(), persistent=False)
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)
        self.pairs = _classifiers(num_features, [num_classes[a] for a in learned], settings)

    def forward(self, features: Float[Tensor, "r d"]) -> Float[Tensor, "r ak"]:
        """Logits of the classes of each pair, side by side as the whole network has them."""
        # Not len(): an export would take the number of rows for a constant.
        blank = self.blank.expand(features.shape[0], -1)
        if self.pairs is None:
            return blank
        return blank.index_copy(1, self.columns, self.pairs(features).float())


def _classifiers(
    num_features: int, num_classes: list[int], settings: AttributeSettings
) -> nn.Module | None:
    if not num_classes:
        return None
    if settings.hidden == 0:
        return nn.Linear(num_features, sum(num_classes))
    return _HiddenClassifiers(num_features, num_classes, settings)


class _HiddenClassifiers(nn.Module):
    """Linear, LayerNorm, ReLU, dropout, linear, for p pairs at once.

    The second layers are padded to the most classes of any pair of this category.
    """

    columns: Tensor

    def __init__(
        self, num_features: int, num_classes: list[int], settings: AttributeSettings
    ) -> None:
        super().__init__()
        num_pairs, hidden, width = len(num_classes), settings.hidden, max(num_classes)
        self.first = nn.Linear(num_features, num_pairs * hidden)
        self.norm_weight = nn.Parameter(torch.ones(num_pairs, hidden))
        self.norm_bias = nn.Parameter(torch.zeros(num_pairs, hidden))
        self.dropout = QuickDropout((settings.dropout,))
        self.second_weight = nn.Parameter(torch.zeros(num_pairs, hidden, width))
        self.second_bias = nn.Parameter(torch.zeros(num_pairs, 1, width))
        columns = [p * width + k for p, number in enumerate(num_classes) for k in range(number)]
        self.register_buffer("columns", torch.tensor(columns), persistent=False)
        bound = 1 / math.sqrt(hidden)
        for pair, number in enumerate(num_classes):
            nn.init.uniform_(self.second_weight[pair, :, :number], -bound, bound)

    def forward(self, features: Float[Tensor, "r d"]) -> Float[Tensor, "r c"]:
        """Logits of the pairs' classes, one pair after the other."""
        hidden = self.first(features).unflatten(1, self.norm_weight.shape)  # (r, p, h)
        # In float32 under autocast too, whose products leave bfloat16.
        normal = nn.functional.layer_norm(hidden.float(), hidden.shape[-1:])
        active = self.dropout(torch.relu(torch.addcmul(self.norm_bias, normal, self.norm_weight)))
        logits = torch.baddbmm(self.second_bias, active.transpose(0, 1), self.second_weight)
        return logits.transpose(0, 1).flatten(1)[:, self.columns]
