"""The rows that thresholds are tuned and spaces are compared on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Shaped

from embed.errors import SelectionError
from embed.rows import Split, Where, has_value, select_rows, unseen_rows
from embed.store import Store


@dataclass(frozen=True)
class Selection:
    """Which rows to work on, and the label that says which of them match.

    Attributes:
        space: the space that is searched; rows that its heads have seen are left out.
        label: the column whose equal values make true matches; rows without one are left out.
        where: restrictions that all have to hold.
        unseen_by: other spaces whose heads must not have seen the rows either.
        split_column: the catalogue's own split: only its test rows, or val where it has no test.
    """

    space: str
    label: str
    where: tuple[Where, ...] = ()
    unseen_by: tuple[str, ...] = ()
    split_column: str | None = None

    @property
    def where_texts(self) -> tuple[str, ...]:
        """The restrictions as they are written: COLUMN=VALUE."""
        return tuple(f"{where.column}={where.value}" for where in self.where)


@dataclass(frozen=True)
class EvaluationRows:
    """The selected rows of a store with their labels, and what was left out, in words.

    `rows` are ascending; `labels` number the groups from 0; `groups` are their values, in order.
    """

    rows: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    groups: Shaped[np.ndarray, " g"]
    warnings: tuple[str, ...]


def evaluation_rows(store: Store, selection: Selection) -> EvaluationRows:
    """The rows that fit a selection, with a warning for each reason why rows were left out.

    Raises:
        StoreError: there is no such space or column.
        SelectionError: nothing is left, or no two of the rows share a label.
    """
    mask = select_rows(store, selection.where)
    warnings: list[str] = []
    for kept, reason in _conditions(store, selection):
        num_left_out = int((mask & ~kept).sum())
        mask = mask & kept
        if num_left_out:
            warnings.append(f"{num_left_out} rows are left out: {reason}")
    rows = np.flatnonzero(mask)
    groups, labels = np.unique(store.column(selection.label)[rows], return_inverse=True)
    _refuse_without_pairs(store, selection, len(rows), len(groups), warnings)
    return EvaluationRows(rows, labels, groups, tuple(warnings))


def _conditions(store: Store, selection: Selection) -> list[tuple[Bool[np.ndarray, " n"], str]]:
    """What rows must fulfil, and why the others are left out."""
    label = selection.label
    conditions = [(has_value(store.column(label)), f"they have no '{label}'")]
    conditions += [
        (unseen_rows(store, space), f"the head of space '{space}' was trained or chosen on them")
        for space in dict.fromkeys((selection.space, *selection.unseen_by))
    ]
    if selection.split_column is not None:
        conditions.append(_of_split(store, selection.split_column))
    return conditions


def _of_split(store: Store, column: str) -> tuple[Bool[np.ndarray, " n"], str]:
    sides = Split(group="", column=column).sides(store)
    side = "test" if (sides == "test").any() else "val"
    reason = f"their '{column}' is not '{side}'"
    return sides == side, reason if side == "test" else f"{reason} (it holds no 'test')"


def _refuse_without_pairs(
    store: Store, selection: Selection, num_rows: int, num_groups: int, warnings: Sequence[str]
) -> None:
    why = "".join(f"; {warning}" for warning in warnings)
    if num_rows == 0:
        raise SelectionError(f"no row of {store.path} is left to evaluate on{why}")
    if num_groups == num_rows:
        raise SelectionError(
            f"no two of the {num_rows} selected rows share a '{selection.label}', so none has a "
            f"true match: give a --label whose values repeat{why}"
        )
