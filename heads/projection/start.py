"""Where a projection starts: at random, or at linear discriminants of the training rows."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embed.errors import SettingsError

SHRINKAGE = 0.03
MAX_FEATURES = 4096


@torch.no_grad()
def discriminants(table, labels, dim, generator):
    """x."""
    features = table.features
    num_classes = int(labels.max()) + 1
    _refuse_unfit(len(features), features.shape[1], num_classes)
    mean = features.mean(dim=0)
    whitening = _inverse_root(_within_class_covariance(features, labels, num_classes))
    whitened = (features - mean) @ whitening  # (n, d)
    size = min(dim, *whitened.shape)
    _, _, directions = torch.svd_lowrank(whitened, q=size, niter=4)
    weight = torch.zeros(dim, features.shape[1])
    weight[:size] = directions.T @ whitening
    weight /= weight[:size].norm(dim=1).mean()
    return weight, -weight @ mean


def class_centres(project, table, labels, num_classes):
    """x."""
    return _class_means(project(table.features), labels, num_classes)


def _refuse_unfit(num_rows: int, num_features: int, num_classes: int) -> None:
    if num_features > MAX_FEATURES:
        raise SettingsError(
            f"--start discriminants takes up to {MAX_FEATURES:,} features: found {num_features:,}; "
            f"train with --start random, or embed into fewer, such as with "
            f"tfidf:max_features={MAX_FEATURES // 2}"
        )
    if num_rows <= num_classes:
        raise SettingsError(
            f"--start discriminants needs more training rows than classes: found {num_rows:,} rows "
            f"of {num_classes:,} classes; train with --start random, or give training a larger "
            f"share with --split"
        )


def _class_means(
    vectors: Float[Tensor, "n d"], labels: Int[Tensor, " n"], num_classes: int
) -> Float[Tensor, "c d"]:
    sums = vectors.new_zeros(num_classes, vectors.shape[1]).index_add_(0, labels, vectors)
    return sums / torch.bincount(labels, minlength=num_classes)[:, None]


def _within_class_covariance(
    features: Float[Tensor, "n d"], labels: Int[Tensor, " n"], num_classes: int
) -> Float[Tensor, "d d"]:
    centred = features - _class_means(features, labels, num_classes)[labels]
    return centred.T @ centred / len(features)


def _inverse_root(covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """(covariance + shrinkage)^(−1/2)."""
    values, vectors = torch.linalg.eigh(covariance)
    scales = (values.clamp(min=0) + SHRINKAGE * values[-1]).rsqrt()
    root: Tensor = (vectors * scales) @ vectors.T
    return root
