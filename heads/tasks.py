"""What a head learns, and from which rows."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np
from jaxtyping import Bool, Int

from embed.errors import SelectionError
from embed.rows import Split, Where, codes, select_rows
from embed.store import Store
from embed.wording import agreeing, counted
from heads.training.limits import LimitedRows, RowLimits, limit_rows


@dataclass(frozen=True)
class Task:
    """What a head learns, and from which rows.

    `targets` are the columns to learn: the one whose equal values should come near, or the
    attributes to predict, which may differ by `category`. `weights` scale spaces. `limits` are on
    the training rows of each class: of the first target, within its category. Rows without a
    label of it stay.
    """

    spaces: tuple[str, ...]
    targets: tuple[str, ...]
    split: Split
    where: tuple[Where, ...] = ()
    category: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    limits: RowLimits = field(default_factory=RowLimits)


@dataclass(frozen=True)
class Sides:
    """The rows of a store to train on and to validate on, in the store's order.

    `left_out` are those of the train side that limits leave out.
    """

    train: Int[np.ndarray, " t"]
    val: Int[np.ndarray, " v"]
    left_out: Int[np.ndarray, " o"] = field(default_factory=lambda: np.empty(0, np.int64))


def choose_sides(store: Store, task: Task, labelled: Bool[np.ndarray, " n"]) -> Sides:
    """The rows of both sides, of those that have a label.

    Raises:
        StoreError: a column that the store does not have.
        SelectionError: a side is empty.
    """
    chosen = select_rows(store, task.where) & labelled
    sides = task.split.sides(store)
    train, val = (np.flatnonzero(chosen & (sides == side)) for side in ("train", "val"))
    for name, rows in (("train", train), ("val", val)):
        if not len(rows):
            raise SelectionError(
                f"no row of {store.path} with a value of {' or '.join(task.targets)} is on the "
                f"{name} side: look at --target (are there too few groups to split?), --where and "
                f"--split"
            )
    return Sides(train, val)


def limited(
    store: Store, task: Task, sides: Sides, labelled: Bool[np.ndarray, " n"]
) -> tuple[Sides, tuple[str, ...]]:
    """Without the training rows that the limits leave out, and what to tell the user of them.

    `labelled` is True at the rows of the store that have a label of the first target; others are
    of no class, and stay.
    """
    if task.limits == RowLimits():
        return sides, ()
    is_labelled = labelled[sides.train]
    rows = sides.train[is_labelled]
    labels = codes(store.column(task.targets[0])[rows])
    if task.category is not None:
        categories = codes(store.column(task.category)[rows])
        labels = np.unique(np.stack([categories, labels]), axis=1, return_inverse=True)[1]
    found = limit_rows(labels, store.ids[rows], task.limits, task.split.seed)
    kept = np.union1d(rows[found.rows], sides.train[~is_labelled])
    left_out = np.setdiff1d(sides.train, kept)
    return replace(sides, train=kept, left_out=left_out), tuple(_limit_notes(task.limits, found))


def _limit_notes(limits: RowLimits, found: LimitedRows) -> Iterator[str]:
    if found.num_small_classes:
        yield (
            f"{counted(found.num_small_classes, 'class')} with fewer than {limits.min_per_class} "
            f"training rows {agreeing(found.num_small_classes, 'are')} left out, "
            f"{counted(found.num_small_rows, 'row')} in all"
        )
    if found.num_cut_classes:
        yield (
            f"{counted(found.num_cut_classes, 'class')} with more than "
            f"{counted(limits.max_per_class or 0, 'training row')} "
            f"{agreeing(found.num_cut_classes, 'are')} cut down to that many, which leaves "
            f"{counted(found.num_cut_rows, 'row')} out"
        )


def rows_digest(store: Store, task: Task, rows: Int[np.ndarray, " m"]) -> str:
    """A hash of these rows' ids and of what they should be told to be, in the store's order."""
    names = [*task.targets, *([task.category] if task.category else [])]
    columns = [store.ids[rows], *(store.column(name)[rows] for name in names)]
    content = json.dumps([names, *(values.tolist() for values in columns)])
    return blake2b(content.encode(), digest_size=16).hexdigest()
