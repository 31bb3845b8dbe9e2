"""Where a projection starts: at linear discriminants of the training rows."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embed.errors import SettingsError
from embed.wording import counted
from heads.tables import FeatureTable

SHRINKAGE = 0.03
MAX_FEATURES = 4096
# The covariance within classes is told by this many rows, or by so many a feature where those are
# more: what they leave unsure is far below the shrinkage.
SAMPLED_ROWS = 16_384
SAMPLED_ROWS_PER_FEATURE = 8
BLOCK_ROWS = 4096
ROUNDINGS = 8  # so many in the last place may separate a class's mean from its equal rows


@torch.no_grad()
def discriminants(
    table: FeatureTable, labels: Int[Tensor, " n"], dim: int, generator: torch.Generator
) -> tuple[Float[Tensor, "dim d"], Float[Tensor, " dim"]]:
    """Regularised linear discriminants: a weight and a bias that centre and map the features.

    Directions in which rows of one class differ are shrunk (Fisher, 1936), and of what is left
    those of most variance are kept: a start that serves classes which training never saw better
    than a random one. The within-class covariance is regularised by `SHRINKAGE` times its largest
    eigenvalue; of a large table it is that of a sample drawn by the CPU `generator` (see
    `SAMPLED_ROWS`), about the means of all rows of their classes. Rows of the weight have length 1
    in the mean; any beyond the number of rows or features are 0. Rows are read block by block, all
    of them once and the sample a second time.

    Raises:
        SettingsError: more than `MAX_FEATURES` features, whose covariance would take long to
            decompose, or rows that tell nothing of what is within a class: no more of them than
            classes, or equal ones in each class.
    """
    labels = labels.to(table.device)
    sizes = torch.bincount(labels)
    if unfit := unfit_for_discriminants(table.num_rows, table.num_features, len(sizes)):
        raise SettingsError(unfit)
    means = class_centres(lambda features: features, table, labels, len(sizes))
    shares = (sizes / table.num_rows)[:, None]
    mean = (means * shares).sum(dim=0)
    within = _within_class_covariance(table, labels, means, generator)
    apart = (means - mean) * shares.sqrt()
    total = within + apart.T @ apart
    _refuse_equal_rows(within, total, mean, table.num_rows)
    rows = _directions(within, total)[: min(dim, table.num_rows)]
    weight = mean.new_zeros(dim, table.num_features)
    weight[: len(rows)] = rows / rows.norm(dim=1).mean()
    return weight, -weight @ mean


@torch.no_grad()
def class_centres(
    project: Callable[[Tensor], Tensor],
    table: FeatureTable,
    labels: Int[Tensor, " n"],
    num_classes: int,
) -> Float[Tensor, "c e"]:
    """The mean of what `project` makes of each class's rows, which are read block by block.

    A mean of unit vectors is shorter than 1; a class without rows gets 0.
    """
    labels = labels.to(table.device)
    sums: Tensor | None = None
    for index, features in table.batches(_blocks(torch.arange(table.num_rows))):
        vectors = project(features)
        if sums is None:
            sums = vectors.new_zeros(num_classes, vectors.shape[1])
        sums.index_add_(0, labels[index.to(labels.device)], vectors)
    assert sums is not None  # a head has rows to train on
    return sums / torch.bincount(labels, minlength=num_classes).clamp(min=1)[:, None]


def unfit_for_discriminants(num_rows: int, num_features: int, num_classes: int) -> str:
    """Why there can be no discriminants of such a table; empty if there can."""
    if num_features > MAX_FEATURES:
        return (
            f"linear discriminants take up to {MAX_FEATURES:,} features: found {num_features:,}; "
            f"train with --start random, or embed into fewer, such as with "
            f"tfidf:max_features={MAX_FEATURES // 2}"
        )
    if num_rows <= num_classes:
        return (
            f"linear discriminants need more training rows than classes: found "
            f"{counted(num_rows, 'row')} of {counted(num_classes, 'class')}; train with --start "
            f"random, or give training a larger share with --split"
        )
    return ""


def _refuse_equal_rows(
    within: Float[Tensor, "d d"], total: Float[Tensor, "d d"], mean: Float[Tensor, " d"], num: int
) -> None:
    """Refuse a covariance within classes that is zero, but for the rounding of the means."""
    rounding = (ROUNDINGS * torch.finfo(within.dtype).eps) ** 2
    if within.trace() <= rounding * (total.trace() + mean.square().sum()):
        raise SettingsError(
            f"linear discriminants need rows of one class that differ: the {num:,} training rows "
            f"have equal vectors in each class, or zero ones; train with --start random, or look "
            f"at --space"
        )


def _blocks(index: Int[Tensor, " n"]) -> Iterator[Int[Tensor, " b"]]:
    yield from torch.split(index, BLOCK_ROWS)


def _within_class_covariance(
    table: FeatureTable,
    labels: Int[Tensor, " n"],
    means: Float[Tensor, "c d"],
    generator: torch.Generator,
) -> Float[Tensor, "d d"]:
    sample = torch.arange(table.num_rows)
    size = max(SAMPLED_ROWS, SAMPLED_ROWS_PER_FEATURE * table.num_features)
    if len(sample) > size:
        # In the table's order, in which a mapped store is read fastest.
        sample = torch.randperm(len(sample), generator=generator)[:size].sort().values
    covariance = means.new_zeros(means.shape[1], means.shape[1])
    for index, features in table.batches(_blocks(sample)):
        centred = features - means[labels[index.to(labels.device)]]
        covariance.addmm_(centred.T, centred)
    return covariance / len(sample)


def _directions(within: Float[Tensor, "d d"], total: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """Rows that whiten what is within classes, those of most total variance after it first.

    With the regularised covariance within classes as L·Lᵀ they are Uᵀ·L⁻¹, U being the
    eigenvectors of L⁻¹·total·L⁻ᵀ: the same as by its inverse root, for less work.
    """
    largest = torch.linalg.eigvalsh(within)[-1]
    within.diagonal().add_(SHRINKAGE * largest)
    lower = torch.linalg.cholesky(within)
    half = torch.linalg.solve_triangular(lower, total, upper=False)
    whitened = torch.linalg.solve_triangular(lower, half.T, upper=False)
    _, vectors = torch.linalg.eigh((whitened + whitened.T) / 2)
    rows: Tensor = torch.linalg.solve_triangular(lower.T, vectors.flip(1), upper=True).T
    return rows
