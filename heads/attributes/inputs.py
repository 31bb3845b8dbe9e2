"""How features are scaled before the classifiers: by how much of each tells classes apart.

Each feature is centred, divided by its deviation and multiplied by the share of its variance that
lies between the classes of a category. Without that factor a space of many uninformative features
drowns one of few good ones, since Adam moves the weights of all features alike.

The share is Kelley's ε² (An unbiased correlation ratio measure, PNAS 1935): what variance between
classes is expected by chance is taken off, so that many classes of few rows don't make noise look
informative.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

CHUNK_ROWS = 4096


def standard_scale(
    features: Float[Tensor, "n d"],
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """The mean of each feature, and 1 / deviation: 1 where a feature never changes."""
    deviation, mean = torch.std_mean(features, dim=0, correction=0)
    return mean, torch.where(deviation > 0, 1 / deviation, 1)


def class_shares(
    standard: Float[Tensor, "n d"], categories: Int[Tensor, " n"], labels: Int[Tensor, "n a"]
) -> Float[Tensor, " d"]:
    """The share of each feature's variance within categories that lies between classes.

    The mean over attributes, from 0 to 1, of rows that have a category and a label. An attribute
    with no more labels than classes tells nothing and is left out; 1 throughout where all are.
    """
    shares = []
    for of_attribute in labels.T:
        known = (categories >= 0) & (of_attribute >= 0)
        classes = torch.stack([categories, of_attribute], dim=1)[known]
        if len(classes) and (found := _shares(standard, known, classes)) is not None:
            shares.append(found)
    return torch.stack(shares).mean(dim=0) if shares else standard.new_ones(standard.shape[1])


def _shares(
    standard: Float[Tensor, "n d"], known: Tensor, classes: Int[Tensor, "m 2"]
) -> Float[Tensor, " d"] | None:
    _, by_class = torch.unique(classes, dim=0, return_inverse=True)
    _, by_category = torch.unique(classes[:, 0], return_inverse=True)
    num_rows, num_classes = len(classes), int(by_class.max()) + 1
    num_categories = int(by_category.max()) + 1
    if num_rows <= num_classes:
        return None
    squares = torch.zeros_like(standard[0])
    for chunk, _ in _chunks(standard, known, by_class):
        squares += chunk.square().sum(dim=0)
    within = squares - _squares_of_means(standard, known, by_class)
    total = squares - _squares_of_means(standard, known, by_category)
    left = (within / (num_rows - num_classes)) / (total / (num_rows - num_categories))
    return torch.where(total > 0, 1 - left, 0).clamp(0, 1)


def _squares_of_means(
    standard: Float[Tensor, "n d"], known: Tensor, groups: Int[Tensor, " m"]
) -> Float[Tensor, " d"]:
    """Σ over groups of the number of rows × the squared mean."""
    counts = torch.bincount(groups)
    sums = standard.new_zeros(len(counts), standard.shape[1])
    for chunk, numbers in _chunks(standard, known, groups):
        sums.index_add_(0, numbers, chunk)
    return (sums.square() / counts[:, None]).sum(dim=0)


def _chunks(
    standard: Float[Tensor, "n d"], known: Tensor, groups: Int[Tensor, " m"]
) -> Iterator[tuple[Tensor, Tensor]]:
    rows = torch.nonzero(known).squeeze(1)
    for places, numbers in zip(
        torch.split(rows, CHUNK_ROWS), torch.split(groups, CHUNK_ROWS), strict=True
    ):
        yield standard[places], numbers
