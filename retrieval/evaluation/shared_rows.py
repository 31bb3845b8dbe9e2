"""The same items in several stores, joined by id, so that what is compared is compared on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int, Shaped

from embed.errors import SelectionError
from embed.store import Store
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import StoreRows, between, self_join
from retrieval.selection import (
    EvaluationRows,
    Selection,
    evaluation_rows,
    refuse_without_pairs,
)


@dataclass(frozen=True)
class _Side:
    """The items of one side: the row of each in every store, and its label."""

    rows: Int[np.ndarray, "stores n"]
    labels: Int[np.ndarray, " n"]

    def only(self, chosen: Bool[np.ndarray, " n"]) -> "_Side":
        return _Side(self.rows[:, chosen], self.labels[chosen])


def shared_rows(
    stores: Sequence[Store], spaces: Sequence[Sequence[str]], selection: Selection
) -> list[EvaluationRows]:
    """The selected items of the first store that all stores have, as rows of each of the stores.

    The columns are those of the first store. Items that a head of any of the spaces was trained or
    chosen on, whichever store it is in, are left out of all.

    Args:
        stores: the first says which items there are.
        spaces: those of each store that are searched, or whose heads must not know the items.
        selection: which rows of the first store; its spaces are not looked at.

    Raises:
        StoreError: the first store has no such column.
        SelectionError: no item is left, or no query has a true match.
    """
    reference = evaluation_rows(
        stores[0], replace(selection, spaces=tuple(spaces[0]), unseen_by=())
    )
    if len(stores) == 1:
        return [reference]
    warnings = list(reference.warnings)
    sides = [_side(reference.sides.queries, reference.query_labels, stores)]
    if not reference.sides.is_self_join:
        sides.append(_side(reference.sides.gallery, reference.gallery_labels, stores))
    for number, store in list(enumerate(stores))[1:]:
        if selection.include_training_rows:
            sides = [_restricted(side, number, store, (), warnings) for side in sides]
            warnings += _training_warnings(store, spaces[number], sides[0].rows[number])
        else:
            sides = [_restricted(side, number, store, spaces[number], warnings) for side in sides]
    groups, told = reference.groups, tuple(dict.fromkeys(warnings))
    return _in_stores(stores, sides, selection.label, groups, told)


def _side(rows: StoreRows, labels: Int[np.ndarray, " n"], stores: Sequence[Store]) -> _Side:
    ids = rows.ids.tolist()
    elsewhere = [_rows_of(ids, store) for store in stores[1:]]
    return _Side(np.stack([rows.rows, *elsewhere]), labels)


def _rows_of(ids: Sequence[str], store: Store) -> Int[np.ndarray, " n"]:
    """The row of each id, `NO_ROW` where the store does not have it."""
    row_of = {item_id: row for row, item_id in enumerate(store.ids.tolist())}
    return np.array([row_of.get(item_id, NO_ROW) for item_id in ids], np.int64)


def _restricted(
    side: _Side, number: int, store: Store, heads: Sequence[str], warnings: list[str]
) -> _Side:
    """The items that a store has and its heads have not seen; why others are not is added."""
    rows = side.rows[number]
    conditions = [(rows != NO_ROW, f"{store.path} does not have them")]
    conditions += [
        (
            ~store.seen(space)[rows],
            f"the head of space '{space}' of {store.path} was trained or chosen on them",
        )
        for space in heads
    ]
    mask = np.ones(len(rows), bool)
    for kept, reason in conditions:
        num_left_out = int((mask & ~kept).sum())
        mask = mask & kept
        if num_left_out:
            noun = "row is" if num_left_out == 1 else "rows are"
            warnings.append(f"{num_left_out:,} {noun} left out: {reason}")
    if not mask.any():
        raise SelectionError(f"no row is left to compare on: {'; '.join(warnings)}")
    return side.only(mask)


def _training_warnings(
    store: Store, spaces: Sequence[str], rows: Int[np.ndarray, " n"]
) -> list[str]:
    counts = {space: int(store.seen(space)[rows].sum()) for space in spaces}
    return [
        f"{count:,} of {len(rows):,} rows are ones that the head of space '{space}' of "
        f"{store.path} was trained or chosen on: figures are too good"
        for space, count in counts.items()
        if count
    ]


def _in_stores(
    stores: Sequence[Store],
    sides: list[_Side],
    label: str | None,
    groups: Shaped[np.ndarray, " l"],
    warnings: tuple[str, ...],
) -> list[EvaluationRows]:
    """The restricted items of each store, in its order, their groups numbered anew."""
    used, numbers = np.unique(np.concatenate([s.labels for s in sides]), return_inverse=True)
    queries = replace(sides[0], labels=numbers[: len(sides[0].labels)])
    gallery = replace(sides[-1], labels=numbers[-len(sides[-1].labels) :])
    found = []
    for number, store in enumerate(stores):
        of_queries, query_labels = _ordered(queries, number, store)
        of_gallery, gallery_labels = _ordered(gallery, number, store)
        joined = (
            self_join(store, of_queries.rows)
            if len(sides) == 1
            else between(of_queries, of_gallery)
        )
        rows = EvaluationRows(joined, query_labels, gallery_labels, groups[used], warnings)
        refuse_without_pairs(rows, label)
        found.append(rows)
    return found


def _ordered(side: _Side, number: int, store: Store) -> tuple[StoreRows, Int[np.ndarray, " n"]]:
    order = np.argsort(side.rows[number])
    return StoreRows(store, side.rows[number][order]), side.labels[order]
