"""What an attribute head has to beat: the majority and nearest neighbours.

Each is a module with the face of `AttributeNetwork` (features and categories in, logits out: −∞
where a pair has no such class) and tensors alone in its state, so that a head file holds it too.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from embed.errors import SettingsError

Voting = Literal["weighted", "uniform"]
VOTINGS: tuple[Voting, ...] = ("weighted", "uniform")
TEMPERATURE = 0.07
TIE_SHARE = 1e-4
LEAST_VOTE = 1e-6
CHUNK_CELLS = 2**24  # scores held at once: 64 MiB


@dataclass(frozen=True)
class MajoritySettings:
    """The most frequent class: there is nothing to choose."""


@dataclass(frozen=True)
class NeighbourSettings:
    """Nearest neighbours: how many vote, and whether a nearer one has more of a say."""

    neighbours: int = 10
    voting: Voting = "weighted"

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise SettingsError(f"--neighbours takes at least 1 neighbour: found {self.neighbours}")
        if self.voting not in VOTINGS:
            raise SettingsError(f"--voting is {' or '.join(VOTINGS)}: found '{self.voting}'")


class Majority(nn.Module):
    """The most frequent class of each pair, whatever the features: the first of equals.

    Probabilities are the shares of the training rows.
    """

    log_shares: Tensor

    def __init__(self, num_classes: Int[np.ndarray, "c a"]) -> None:
        super().__init__()
        logits = torch.zeros(*num_classes.shape, int(num_classes.max()))
        self.register_buffer("log_shares", logits.masked_fill(~_exists(num_classes), -math.inf))

    @torch.no_grad()
    def fit(self, counts: Int[np.ndarray, "c a k"]) -> None:
        """Take in the number of training rows of each class."""
        rows = torch.from_numpy(counts).double()
        self.log_shares.copy_((rows / rows.sum(dim=2, keepdim=True).clamp(min=1)).log())

    def forward(
        self, features: Float[Tensor, "b d"], categories: Int[Tensor, " b"]
    ) -> Float[Tensor, "b a k"]:
        """Log shares; the features don't count."""
        logits = self.log_shares[categories.clamp(min=0)]
        return logits.masked_fill((categories < 0)[:, None, None], -math.inf)


class NearestNeighbours(nn.Module):
    """A vote of the k training rows of the same category that are nearest by cosine.

    Only rows that have a label of the attribute vote, so that k of them do where there are k.
    A weighted vote counts exp(cosine / 0.07) (Wu et al., https://arxiv.org/abs/1805.01978, section
    3.4); a uniform one 1, and of equal numbers of votes the nearer ones win. Logits are logarithms
    of the shares of votes; a class without votes counts as a share of 1e-6.
    """

    features: Tensor
    categories: Tensor
    labels: Tensor
    exists: Tensor

    def __init__(
        self,
        num_rows: int,
        num_features: int,
        num_classes: Int[np.ndarray, "c a"],
        settings: NeighbourSettings,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("features", torch.zeros(num_rows, num_features))
        self.register_buffer("categories", torch.zeros(num_rows, dtype=torch.int64))
        labels = torch.zeros(num_rows, num_classes.shape[1], dtype=torch.int64)
        self.register_buffer("labels", labels)
        self.register_buffer("exists", _exists(num_classes), persistent=False)

    @torch.no_grad()
    def fit(
        self,
        features: Float[Tensor, "n d"],
        categories: Int[Tensor, " n"],
        labels: Int[Tensor, "n a"],
    ) -> None:
        """Keep the training rows, scaled to unit length, those of one category side by side."""
        order = torch.argsort(categories, stable=True)
        self.features.copy_(nn.functional.normalize(features)[order])
        self.categories.copy_(categories[order])
        self.labels.copy_(labels[order])

    @torch.no_grad()
    def forward(
        self, features: Float[Tensor, "b d"], categories: Int[Tensor, " b"]
    ) -> Float[Tensor, "b a k"]:
        """Logits, a chunk of rows after the other: `CHUNK_CELLS` scores are held at once."""
        logits = features.new_full((len(features), *self.exists.shape[1:]), -math.inf)
        for category in torch.unique(categories).tolist():
            if category >= 0:
                queries = torch.nonzero(categories == category).squeeze(1)
                start, end = torch.searchsorted(
                    self.categories, torch.tensor([category, category + 1]).to(categories.device)
                ).tolist()
                for chunk in torch.split(queries, max(1, CHUNK_CELLS // max(1, end - start))):
                    logits[chunk] = self._logits(features[chunk], category, slice(start, end))
        return logits

    def _logits(
        self, queries: Float[Tensor, "q d"], category: int, rows: slice
    ) -> Float[Tensor, "q a k"]:
        scores = nn.functional.normalize(queries) @ self.features[rows].T
        logits = scores.new_full((len(scores), *self.exists.shape[1:]), -math.inf)
        for attribute, exists in enumerate(self.exists[category]):
            voters = torch.nonzero(self.labels[rows, attribute] >= 0).squeeze(1)
            if len(voters):
                votes = self._votes(scores[:, voters], self.labels[rows][voters, attribute])
                shares = (votes / votes.sum(dim=1, keepdim=True)).clamp(min=LEAST_VOTE)
                logits[:, attribute] = shares.log().masked_fill(~exists, -math.inf)
        return logits

    def _votes(
        self, scores: Float[Tensor, "q g"], classes: Int[Tensor, " g"]
    ) -> Float[Tensor, "q k"]:
        best, positions = scores.topk(min(self.settings.neighbours, scores.shape[1]), dim=1)
        if self.settings.voting == "weighted":
            # Less the best score, which changes no share, so that nothing overflows.
            weights = ((best - best[:, :1]) / TEMPERATURE).exp()
        else:
            weights = 1 + TIE_SHARE / self.settings.neighbours * best
        votes = scores.new_zeros(len(scores), self.exists.shape[2])
        return votes.scatter_add_(1, classes[positions], weights)


def _exists(num_classes: Int[np.ndarray, "c a"]) -> Bool[Tensor, "c a k"]:
    """True at the classes that each pair has."""
    return torch.arange(int(num_classes.max())) < torch.from_numpy(num_classes)[..., None]
