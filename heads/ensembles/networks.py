"""The networks of blends: several whole networks behind one face.

A blend's spaces are those of all members, each once and at length 1; a member takes its own of them
and scales them to its weights. What members say is put together by functions of tensors, so that
weights can be tried without asking the members again.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from heads.attributes.vocabulary import Vocabulary
from heads.info import HeadInfo

Blending = Literal["average", "concat"]
BLENDINGS: tuple[Blending, ...] = ("average", "concat")


def build_blend(info: HeadInfo, networks: Sequence[nn.Module]) -> nn.Module:
    """The network of a blend, of those of its members.

    Raises:
        KeyError, TypeError, ValueError: what the blend says of itself does not fit together.
    """
    weights, how = [float(weight) for weight in info.settings["weights"]], info.settings["how"]
    if how not in BLENDINGS or {member.output for member in info.members} != {info.output}:
        raise ValueError(f"a blend by '{how}' that makes {info.output} of heads that don't")
    if info.output == "attributes":
        return AttributeBlend(attribute_members(info, networks), weights)
    return VectorBlend(vector_members(info, networks), weights, how)


def vector_members(info: HeadInfo, networks: Sequence[nn.Module]) -> list["VectorMember"]:
    """The members of a blend of projections, from the blend's features to vectors."""
    pairs = zip(info.members, networks, strict=True)
    return [VectorMember(network, Inputs(info, member)) for member, network in pairs]


def attribute_members(info: HeadInfo, networks: Sequence[nn.Module]) -> list["AttributeMember"]:
    """The members of a blend of attribute heads, from its features to its classes."""
    vocabulary = Vocabulary.from_json(info.vocabulary or {})
    return [
        AttributeMember(
            network,
            Inputs(info, member),
            vocabulary,
            Vocabulary.from_json(member.vocabulary or {}),
        )
        for member, network in zip(info.members, networks, strict=True)
    ]


class Inputs:
    """The spaces of a member among those of its blend, scaled as the member wants them."""

    def __init__(self, blend: HeadInfo, member: HeadInfo) -> None:
        places, start = {}, 0
        for space in blend.spaces:
            places[space.name] = slice(start, start + space.dim)
            start += space.dim
        self._parts = [(places[space.name], space.weight) for space in member.spaces]

    def __call__(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """The member's features."""
        parts = [features[:, place] * weight for place, weight in self._parts]
        return torch.cat(parts, dim=1)


class VectorMember(nn.Module):
    """A projection within a blend."""

    def __init__(self, network: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.network = network
        self._inputs = inputs

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """Vectors of unit length."""
        vectors: Tensor = self.network(self._inputs(features))
        return vectors


class VectorBlend(nn.Module):
    """Several projections as one."""

    def __init__(
        self, members: Sequence[VectorMember], weights: Sequence[float], how: Blending
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._weights, self._how = weights, how

    def networks(self) -> list[nn.Module]:
        """Those of the members, each with a face of its own."""
        return [member.get_submodule("network") for member in self.members]

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """Vectors of unit length."""
        vectors = [member(features) for member in self.members]
        return blended_vectors(vectors, self._weights, self._how)


class AttributeMember(nn.Module):
    """An attribute head within a blend: logarithms of probabilities, −∞ where it knows no class.

    Categories, attributes and classes are found by their names.
    """

    own_categories: Tensor
    places: Tensor

    def __init__(
        self, network: nn.Module, inputs: Inputs, blend: Vocabulary, own: Vocabulary
    ) -> None:
        super().__init__()
        self.network = network
        self._inputs = inputs
        numbers = {name: number for number, name in enumerate(own.categories)}
        # The last one is found by −1, for rows whose category nobody knows.
        own_categories = torch.tensor([*(numbers.get(c, -1) for c in blend.categories), -1])
        self.register_buffer("own_categories", own_categories, persistent=False)
        self.register_buffer("places", torch.from_numpy(_places(blend, own)), persistent=False)

    def forward(
        self, features: Float[Tensor, "b d"], categories: Int[Tensor, " b"]
    ) -> Float[Tensor, "b a k"]:
        """Log probabilities of the blend's classes; categories are numbers of the blend's."""
        logits = self.network(self._inputs(features), self.own_categories[categories])
        log_shares = torch.log_softmax(logits, dim=2).flatten(1)  # NaN where no class can be
        nothing = log_shares.new_full((len(log_shares), 1), -math.inf)
        places = self.places[categories]  # (b, a, k)
        found = torch.cat([log_shares, nothing], dim=1).gather(1, places.flatten(1))
        return found.view(places.shape)


class AttributeBlend(nn.Module):
    """Several attribute heads as one, with the face of each."""

    def __init__(self, members: Sequence[AttributeMember], weights: Sequence[float]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._weights = weights

    def networks(self) -> list[nn.Module]:
        """Those of the members, each with a face of its own."""
        return [member.get_submodule("network") for member in self.members]

    def forward(
        self, features: Float[Tensor, "b d"], categories: Int[Tensor, " b"]
    ) -> Float[Tensor, "b a k"]:
        """Logits; −∞ where a row's category has no such class, or is −1."""
        log_shares = [member(features, categories) for member in self.members]
        return blended_log_shares(log_shares, self._weights)


def blended_vectors(
    vectors: Sequence[Float[Tensor, "b _"]], weights: Sequence[float], how: Blending
) -> Float[Tensor, "b e"]:
    """Vectors of unit length of those of members, which have unit length; weights add up to 1.

    concat: side by side, each scaled by the root of its weight, so that a cosine is the weighted
    mean of the members' cosines. average: the direction of the weighted mean, for members whose
    dimensions mean the same.
    """
    if how == "concat":
        scaled = [weight**0.5 * of for of, weight in zip(vectors, weights, strict=True)]
        return torch.cat(scaled, dim=1)
    means = [weight * of for of, weight in zip(vectors, weights, strict=True)]
    return nn.functional.normalize(torch.stack(means).sum(dim=0))


def blended_log_shares(
    log_shares: Sequence[Float[Tensor, "b a k"]], weights: Sequence[float]
) -> Float[Tensor, "b a k"]:
    """The weighted mean over the members that know a class; −∞ where none does.

    A member of weight 0 has a say where no other knows the class.

    Where all know all classes this gives the probabilities that the mean of the members' logits
    gives, since logits and log probabilities differ by one number a row. Where a member lacks some
    classes only log probabilities of different members can be compared.
    """
    together = torch.stack(list(log_shares))
    is_known = together.isfinite()
    shares = is_known * together.new_tensor(weights)[:, None, None, None]
    shares = torch.where(shares.sum(dim=0) > 0, shares, is_known.to(shares.dtype))
    total = (shares * together.where(is_known, 0)).sum(dim=0)
    return (total / shares.sum(dim=0)).masked_fill(~is_known.any(dim=0), -math.inf)


def _places(blend: Vocabulary, own: Vocabulary) -> Int64[np.ndarray, "c a k"]:
    """Where each class of the blend stands among the member's logits; past them where it lacks it.

    Of the categories the last is that of rows whose category nobody knows.
    """
    num_classes, num_own = blend.num_classes(), own.num_classes()
    width, nowhere = int(num_own.max()), num_own.shape[1] * int(num_own.max())
    shape = len(num_classes) + 1, num_classes.shape[1], int(num_classes.max())
    places = np.full(shape, nowhere, np.int64)
    known = {(pair.category, pair.attribute): pair for pair in own.pairs}
    for pair in blend.pairs:
        theirs = known.get((pair.category, pair.attribute))
        if theirs is not None:
            start = own.attributes.index(pair.attribute) * width
            numbers = {name: start + number for number, name in enumerate(theirs.classes)}
            row = places[blend.position(pair)]
            row[: len(pair.classes)] = [numbers.get(name, nowhere) for name in pair.classes]
    return places
