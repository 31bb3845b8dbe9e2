"""Which training rows come in which order.

Everything is drawn on the CPU from the generator that is passed in, for a whole epoch at a time, so
an epoch depends on nothing but the generator's state: training that is taken up again at an epoch
sees the batches that it would have seen.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from embed.errors import SelectionError, SettingsError
from embed.wording import agreeing, counted

SamplerName = Literal["uniform", "class-balanced", "inverse-frequency", "m-per-class"]
SAMPLERS: tuple[SamplerName, ...] = (
    "uniform",
    "class-balanced",
    "inverse-frequency",
    "m-per-class",
)
PER_CLASS = 4


@dataclass(frozen=True)
class SamplingSettings:
    """How batches are put together; `per_class` is the m of m-per-class.

    A `batch_size` of None is 256 or, for more than 25,000 rows, a larger power of two, up to 2,048.

    - uniform: every row once an epoch.
    - class-balanced: all classes equally often, and within a class every row before any repeats.
    - inverse-frequency: rows drawn independently with weights of 1 / rows of their class.
    - m-per-class: batches of batch_size / m classes with m rows of each.
    """

    batch_size: int | None = None
    sampler: SamplerName = "uniform"
    per_class: int = PER_CLASS

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise SettingsError(f"--sampler is one of {', '.join(SAMPLERS)}: found {self.sampler}")
        if self.batch_size is not None and self.batch_size < 2:
            raise SettingsError(f"--batch-size is at least 2: found {self.batch_size}")
        if self.sampler == "m-per-class":
            self._refuse_unfit_classes()
        elif self.per_class != PER_CLASS:
            raise SettingsError(
                f"--per-class is for --sampler m-per-class: found {self.per_class} with "
                f"--sampler {self.sampler}"
            )

    def _refuse_unfit_classes(self) -> None:
        if self.per_class < 2:
            raise SettingsError(
                f"--per-class is at least 2, so that a batch has pairs: found {self.per_class}"
            )
        if self.batch_size is None:
            return
        if self.batch_size % self.per_class or self.batch_size < 2 * self.per_class:
            raise SettingsError(
                f"--sampler m-per-class needs a --batch-size that is --per-class times a whole "
                f"number of at least 2 classes: found {self.batch_size} and {self.per_class}; try "
                f"--batch-size {max(2, round(self.batch_size / self.per_class)) * self.per_class}"
            )


class Sampler(ABC):
    """The order of the training rows in an epoch, in batches.

    A last batch of one row would break batch normalisation: that row joins the batch before it, so
    nothing is dropped and one batch has `batch_size` + 1 rows.
    """

    def __init__(self, num_draws: int, batch_size: int) -> None:
        self.num_draws = num_draws
        self.batch_size = batch_size

    @property
    def num_steps(self) -> int:
        """How many batches an epoch has."""
        full, rest = divmod(self.num_draws, self.batch_size)
        return full + (rest > 1 or full == 0)

    @property
    def note(self) -> str:
        """What the user should know about these rows under this sampler; mostly nothing."""
        return ""

    def batches(self, generator: torch.Generator) -> Iterator[Int[Tensor, " b"]]:
        """The row numbers of each batch of one epoch."""
        rows = torch.from_numpy(self.draw(generator))
        last = (self.num_steps - 1) * self.batch_size
        for start in range(0, last, self.batch_size):
            yield rows[start : start + self.batch_size]
        yield rows[last:]

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Int[np.ndarray, " draws"]:
        """The row numbers of one epoch in their order."""


def make_sampler(labels: Int[Tensor, " n"], settings: SamplingSettings) -> Sampler:
    """The sampler of these rows; labels are any numbers that tell the classes apart.

    Raises:
        SelectionError: fewer than two rows.
        SettingsError: m-per-class with classes of one row, or with fewer classes than a batch has.
    """
    if len(labels) < 2:
        raise SelectionError(f"training needs at least 2 rows: found {len(labels)}")
    batch_size = settings.batch_size or _batch_size(len(labels))
    if settings.sampler == "uniform":
        return UniformSampler(len(labels), batch_size)
    classes = _Classes(labels.cpu().numpy())
    if settings.sampler == "class-balanced":
        return ClassBalancedSampler(classes, batch_size)
    if settings.sampler == "inverse-frequency":
        return InverseFrequencySampler(classes, batch_size)
    if settings.batch_size is None:  # whole classes, and no more of them than there are
        most = min(batch_size // settings.per_class, classes.num_classes)
        batch_size = settings.per_class * max(2, most)
    return MPerClassSampler(classes, batch_size, settings.per_class)


def _batch_size(num_rows: int) -> int:
    """A power of two: some hundred steps an epoch, but not less than 256 rows nor over 2,048."""
    return int(min(2048, max(256, 2 ** round(math.log2(num_rows / 100)))))


class UniformSampler(Sampler):
    """Every row once an epoch, in a new order."""

    def draw(self, generator: torch.Generator) -> Int[np.ndarray, " draws"]:
        """All rows in a random order."""
        return _random_order(self.num_draws, generator)


class ClassBalancedSampler(Sampler):
    """n draws from c classes: each comes n / c times, rounded up for some and down for others.

    Within a class every row comes before any comes again. Both set it apart from
    `InverseFrequencySampler`, which has the same rates on average only: there a class of ten rows
    that is drawn ten times shows six or seven of them, here all ten.
    """

    def __init__(self, classes: "_Classes", batch_size: int) -> None:
        super().__init__(classes.num_rows, batch_size)
        self._classes = classes

    def draw(self, generator: torch.Generator) -> Int[np.ndarray, " draws"]:
        """Classes in a random order, and the next row of each."""
        # The remainder of n / c goes to other classes in each epoch.
        shuffled = _random_order(self._classes.num_classes, generator)
        order = _random_order(self.num_draws, generator)
        return self._classes.next_rows(shuffled[order % len(shuffled)], generator)


class InverseFrequencySampler(Sampler):
    """n independent draws of rows with weights of 1 / rows of their class, with replacement.

    The distribution of torch's WeightedRandomSampler with these weights, drawn as a class and then
    a row of it, each uniformly, which is the same and needs no search in n weights.
    """

    def __init__(self, classes: "_Classes", batch_size: int) -> None:
        super().__init__(classes.num_rows, batch_size)
        self._classes = classes

    def draw(self, generator: torch.Generator) -> Int[np.ndarray, " draws"]:
        """Independent draws."""
        number = self.num_draws
        codes = torch.randint(self._classes.num_classes, (number,), generator=generator).numpy()
        shares = torch.rand(number, generator=generator, dtype=torch.float64).numpy()
        places = (shares * self._classes.sizes[codes]).astype(np.int64)
        return np.asarray(self._classes.rows[self._classes.starts[codes] + places])


class MPerClassSampler(Sampler):
    """Batches of batch_size / m classes with m rows of each, for losses over pairs or triplets.

    As in pytorch-metric-learning, an epoch has n // batch_size batches, classes are drawn
    uniformly whatever their size, and the rows of a class with fewer than m repeat within a batch.
    Beyond it, all classes come before any comes again, but for those left over when the classes
    don't divide into whole batches, and so do the rows of a class.
    """

    def __init__(self, classes: "_Classes", batch_size: int, per_class: int) -> None:
        super().__init__(max(1, classes.num_rows // batch_size) * batch_size, batch_size)
        self._classes = classes
        self._per_class = per_class
        self._refuse_single_rows()
        if classes.num_classes * per_class < batch_size:
            raise SettingsError(
                f"a batch of --batch-size {batch_size} with --per-class {per_class} has "
                f"{counted(batch_size // per_class, 'class')}, and there "
                f"{agreeing(classes.num_classes, 'are')} {classes.num_classes:,}: "
                f"lower --batch-size to at most {classes.num_classes * per_class}"
            )

    def _refuse_single_rows(self) -> None:
        num_single = int((self._classes.sizes == 1).sum())
        if num_single:
            raise SettingsError(
                f"--sampler m-per-class needs two rows of a class to make a pair, and "
                f"{num_single:,} of {counted(self._classes.num_classes, 'class')} "
                f"{agreeing(num_single, 'have')} one: leave such out with --min-per-class 2, or "
                f"take another --sampler"
            )

    @property
    def note(self) -> str:
        """How many classes have rows that repeat within a batch."""
        num_short = int((self._classes.sizes < self._per_class).sum())
        if not num_short:
            return ""
        return (
            f"{num_short:,} of {counted(self._classes.num_classes, 'class')} "
            f"{agreeing(num_short, 'have')} fewer than {self._per_class} rows, which repeat within "
            f"a batch: --min-per-class {self._per_class} leaves such out"
        )

    def draw(self, generator: torch.Generator) -> Int[np.ndarray, " draws"]:
        """In each round as many batches as the classes suffice for, so that none has one twice."""
        num_classes = self._classes.num_classes
        per_batch = self.batch_size // self._per_class
        per_round = num_classes // per_batch * per_batch
        wanted = self.num_steps * per_batch
        keys = torch.rand(-(-wanted // per_round), num_classes, generator=generator).numpy()
        drawn = keys.argsort(axis=1)[:, :per_round].flatten()[:wanted]
        return self._classes.next_rows(drawn.repeat(self._per_class), generator)


class _Classes:
    """Rows grouped by class: those of class k are `rows[starts[k] : starts[k] + sizes[k]]`.

    In numpy: torch's threads take many times as long while other programs keep the cores busy.
    """

    def __init__(self, labels: Int[np.ndarray, " n"]) -> None:
        _, self._codes = np.unique(labels, return_inverse=True)
        self.sizes = np.bincount(self._codes)
        self.starts = self.sizes.cumsum() - self.sizes
        self.num_rows, self.num_classes = len(labels), len(self.sizes)
        self.rows = _stable_order(self._codes)

    def next_rows(
        self, classes: Int[np.ndarray, " draws"], generator: torch.Generator
    ) -> Int[np.ndarray, " draws"]:
        """A row for each drawn class: the rows of a class in a random order, then again in it."""
        order = _random_order(self.num_rows, generator)
        rows = order[_stable_order(self._codes[order])]
        places = _times_before(classes) % self.sizes[classes]
        return np.asarray(rows[self.starts[classes] + places])


def _random_order(number: int, generator: torch.Generator) -> Int[np.ndarray, " number"]:
    order: np.ndarray = torch.randperm(number, generator=generator).numpy()
    return order


def _stable_order(codes: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Positions by code, those of one code ascending."""
    # numpy sorts 16-bit numbers by radix, 15 times as fast as larger ones.
    small = codes.astype(np.min_scalar_type(codes.max()), copy=False)
    return np.argsort(small, kind="stable")


def _times_before(codes: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """How often the code at each position stands before it."""
    sizes = np.bincount(codes)
    order = _stable_order(codes)
    times = np.empty_like(order)
    times[order] = np.arange(len(codes)) - (sizes.cumsum() - sizes)[codes[order]]
    return times
