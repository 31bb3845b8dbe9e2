"""How features are scaled before the classifiers: by how much of each tells classes apart.

Each feature is centred, divided by its deviation and multiplied by the share of its variance that
lies between the classes of a category. Without that factor a space of many uninformative features
drowns one of few good ones, since Adam moves the weights of all features alike.

The share is Kelley's ε² (An unbiased correlation ratio measure, PNAS 1935): what variance between
classes is expected by chance is taken off, so that many classes of few rows don't make noise look
informative.

Of several spaces a weak one may still have some good features, and say with many what a strong one
says better: photographs of another place or time then mislead it. So a space has a weight as a
whole beside those of its features, `InputStatistics.space_weights`.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

Blocks = Iterable[tuple[Tensor, Tensor]]
# What is left of a variance by rounding, as a share of the squares that it is a difference of.
ROUNDING = 1e-12
# More than this no space tells, so that others keep some weight beside one that tells everything.
MOST_TOLD = 0.999
# Shares up to so many deviations of what noise has say nothing of a space.
DEVIATIONS_OF_CHANCE = 3


class InputStatistics:
    """What is known of features after a pass over their rows, a block at a time.

    `categories` (n,) and `labels` (n, a) are those of all rows that blocks may hold, −1 where there
    is none. Sums are float64, of differences from the first row: a feature that never changes has a
    variance of 0.
    """

    def __init__(
        self, blocks: Blocks, categories: Int[Tensor, " n"], labels: Int[Tensor, "n a"]
    ) -> None:
        self._attributes: list[_AttributeSums] | None = None
        for index, features in blocks:
            if self._attributes is None:
                self._begin(features[0].double(), categories, labels)
            self._add(index.to(categories.device), features.double() - self._first)

    def _begin(
        self, first: Float[Tensor, " d"], categories: Int[Tensor, " n"], labels: Int[Tensor, "n a"]
    ) -> None:
        self._first = first
        self._num_rows = 0
        self._sums, self._squares = torch.zeros_like(first), torch.zeros_like(first)
        self._attributes = [
            _AttributeSums(categories, of_attribute, len(first)) for of_attribute in labels.T
        ]

    def _add(self, index: Int[Tensor, " b"], differences: Float[Tensor, "b d"]) -> None:
        squares = differences.square()
        self._num_rows += len(index)
        self._sums += differences.sum(dim=0)
        self._squares += squares.sum(dim=0)
        for sums in self._attributes or []:
            sums.add(index, differences, squares)

    def standard_scale(self) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
        """The mean of each feature, and 1 / deviation: 1 where a feature never changes."""
        mean = self._sums / self._num_rows
        variance = self._squares / self._num_rows - mean.square()
        varies = variance > ROUNDING * self._squares / self._num_rows
        scale = torch.where(varies, variance.clamp(min=0).rsqrt(), 1)
        return (self._first + mean).float(), scale.float()

    def space_weights(self, sizes: Sequence[int]) -> Float[Tensor, " s"]:
        """How much each space tells of the classes, against the one that tells most: 0 to 1.

        `sizes` are those of the spaces, which lie side by side. With r, the mean of the
        `class_shares` of a space that are above chance, its weight goes by r / (1 − r), variance
        between classes over variance within them: as independent measurements of one thing are
        weighted, by the inverse of their variance. So features of noise beside good ones, as rare
        words are, don't count against a space. 1 throughout where none tells anything.
        """
        means = []
        for shares in torch.split(self.class_shares(), [*sizes]):
            telling = shares > self._share_by_chance()
            means.append((shares * telling).sum() / telling.sum().clamp(min=1))
        told = torch.stack(means).clamp(max=MOST_TOLD)
        ratios = told / (1 - told)
        return ratios / ratios.max() if ratios.any() else torch.ones_like(ratios)

    def _share_by_chance(self) -> float:
        """What hardly any feature of noise has as the mean of its shares over attributes."""
        limits = [sums.share_by_chance() for sums in self._attributes or []]
        known = [limit for limit in limits if limit is not None]
        return sum(known) / len(known) if known else 0.0

    def class_shares(self) -> Float[Tensor, " d"]:
        """The share of each feature's variance within categories that lies between classes.

        The mean over attributes, from 0 to 1, of rows that have a category and a label. An
        attribute with no more labels than classes tells nothing and is left out; 1 throughout
        where all are.
        """
        found = [sums.shares() for sums in self._attributes or []]
        shares = [share for share in found if share is not None]
        return (
            torch.stack(shares).mean(dim=0).float()
            if shares
            else torch.ones_like(self._first).float()
        )


class _AttributeSums:
    """Of one attribute: the sum of each class's rows, and of the squares of all."""

    def __init__(
        self, categories: Int[Tensor, " n"], labels: Int[Tensor, " n"], num_features: int
    ) -> None:
        known = (categories >= 0) & (labels >= 0)
        classes = torch.stack([categories, labels], dim=1)[known]
        pairs, numbers = torch.unique(classes, dim=0, return_inverse=True)
        self._categories = pairs[:, 0]
        self._class_of_row = torch.full_like(labels, -1).masked_scatter(known, numbers)
        self._sums = torch.zeros(
            len(pairs), num_features, dtype=torch.float64, device=labels.device
        )
        self._squares = self._sums.new_zeros(num_features)
        self._counts = self._sums.new_zeros(len(pairs))

    def add(
        self,
        index: Int[Tensor, " b"],
        differences: Float[Tensor, "b d"],
        squares: Float[Tensor, "b d"],
    ) -> None:
        """Take in rows, with their squares."""
        numbers = self._class_of_row[index]
        known = numbers >= 0
        self._sums.index_add_(0, numbers[known], differences[known])
        self._counts += torch.bincount(numbers[known], minlength=len(self._counts))
        self._squares += known.double() @ squares

    def shares(self) -> Float[Tensor, " d"] | None:
        """The share of each feature's variance between classes; None where rows are too few."""
        num_rows, num_classes = self._num_rows, self._num_classes
        if num_rows <= num_classes:
            return None
        size = int(self._categories.max()) + 1
        of_categories = self._sums.new_zeros(size, self._sums.shape[1])
        of_categories.index_add_(0, self._categories, self._sums)
        counts = self._counts.new_zeros(size).index_add_(0, self._categories, self._counts)
        within = self._squares - _squares_of_means(self._sums, self._counts)
        total = self._squares - _squares_of_means(of_categories, counts)
        left = (within / (num_rows - num_classes)) / (total / (num_rows - int((counts > 0).sum())))
        return torch.where(total > ROUNDING * self._squares, 1 - left, 0).clamp(0, 1)

    def share_by_chance(self) -> float | None:
        """Three deviations of the share that normal noise has; None where rows are too few.

        The share is (F − 1) · (classes − categories) / rows as far as it is small, and the variance
        of F among many rows 2 / (classes − categories).
        """
        if self._num_rows <= self._num_classes:
            return None
        num_categories = len(torch.unique(self._categories[self._counts > 0]))
        freedom = self._num_classes - num_categories
        return DEVIATIONS_OF_CHANCE * math.sqrt(2 * freedom) / self._num_rows

    @property
    def _num_rows(self) -> int:
        return int(self._counts.sum())

    @property
    def _num_classes(self) -> int:
        return int((self._counts > 0).sum())


def _squares_of_means(
    sums: Float[Tensor, "g d"], counts: Float[Tensor, " g"]
) -> Float[Tensor, " d"]:
    """Σ over groups of the number of rows × the squared mean."""
    return (sums.square() / counts.clamp(min=1)[:, None]).sum(dim=0)
