"""Which rows a head is trained on where classes are very small or very large."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Shaped

from embed.errors import SelectionError, SettingsError
from embed.rows import group_position
from embed.wording import counted


@dataclass(frozen=True)
class RowLimits:
    """The fewest and the most rows that a class may have in training; None means all of them."""

    min_per_class: int = 1
    max_per_class: int | None = None

    def __post_init__(self) -> None:
        if self.min_per_class < 1:
            raise SettingsError(f"--min-per-class is at least 1: found {self.min_per_class}")
        if self.max_per_class is not None and self.max_per_class < self.min_per_class:
            raise SettingsError(
                f"--max-per-class is at least --min-per-class, which is {self.min_per_class}: "
                f"found {self.max_per_class}"
            )


@dataclass(frozen=True)
class LimitedRows:
    """The rows that are left, ascending, and what was left out."""

    rows: Int[np.ndarray, " kept"]
    num_small_classes: int  # below the minimum, left out
    num_small_rows: int  # the rows of those
    num_cut_classes: int  # above the maximum
    num_cut_rows: int  # the rows that those lost


def limit_rows(
    labels: Int[np.ndarray, " n"], ids: Shaped[np.ndarray, " n"], limits: RowLimits, seed: int
) -> LimitedRows:
    """Leave classes with too few rows out, and cut those with too many down.

    Which rows of a large class are kept goes by a hash of their ids and the seed: it does not
    depend on the order of the rows, and a larger maximum keeps the same rows and more.

    Raises:
        SelectionError: no class has the minimum of rows.
    """
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    small = sizes < limits.min_per_class
    if small.all():
        raise SelectionError(
            f"--min-per-class {limits.min_per_class} leaves nothing to train on: the largest of "
            f"{counted(len(sizes), 'class')} has {counted(int(sizes.max(initial=0)), 'row')}"
        )
    keep = ~small[codes]
    num_small = len(codes) - int(keep.sum())
    large = sizes > (limits.max_per_class or len(codes))
    rows_of_large = np.flatnonzero(large[codes])
    if limits.max_per_class is not None:
        places = _places_by_hash(codes[rows_of_large], ids[rows_of_large], seed)
        keep[rows_of_large[places >= limits.max_per_class]] = False
    rows = np.flatnonzero(keep)
    num_cut = len(codes) - num_small - len(rows)
    return LimitedRows(rows, int(small.sum()), num_small, int(large.sum()), num_cut)


def _places_by_hash(
    codes: Int[np.ndarray, " m"], ids: Shaped[np.ndarray, " m"], seed: int
) -> Int[np.ndarray, " m"]:
    """Where each row stands among those of its class, in the order of their hashes."""
    positions = np.array([group_position(item_id, seed) for item_id in ids.tolist()], float)
    order = np.lexsort((positions, codes))
    _, firsts, counts = np.unique(codes[order], return_index=True, return_counts=True)
    places = np.empty(len(codes), np.int64)
    places[order] = np.arange(len(codes)) - np.repeat(firsts, counts)
    return places
