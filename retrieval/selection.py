"""The rows that thresholds are tuned and spaces are compared on: queries, gallery, and labels."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Shaped

from embed.errors import SelectionError, SettingsError
from embed.labels import label_texts
from embed.rows import Split, Where, has_value, select_rows, unseen_rows
from embed.store import Store
from embed.wording import counted
from retrieval.decisions.journal import Decisions, read_decisions
from retrieval.decisions.pairs import DecidedPairs
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import Sides, StoreRows, between, self_join


@dataclass(frozen=True)
class Selection:
    """Which rows to work on, and the label that says which of them match.

    Attributes:
        spaces: what is searched; rows that the heads of any of them have seen are left out.
        label: the column whose equal values make true matches; rows without one are left out. None
            has nothing but the decisions: all rows are kept, and pairs that nobody has decided do
            not count.
        where: restrictions that all have to hold, for queries and gallery.
        query_where, gallery_where: restrictions of one side alone; without any of them, and with
            no second store, all rows look among one another.
        unseen_by: other spaces whose heads must not have seen the rows either.
        split_column: the catalogue's own split: only its test rows, or val where it has no test.
        include_training_rows: keep the rows that heads have seen, with a warning.
        decisions: a file of people's decisions, or what was read of it, which go before labels.
    """

    spaces: tuple[str, ...]
    label: str | None
    where: tuple[Where, ...] = ()
    query_where: tuple[Where, ...] = ()
    gallery_where: tuple[Where, ...] = ()
    unseen_by: tuple[str, ...] = ()
    split_column: str | None = None
    include_training_rows: bool = False
    decisions: Path | Decisions | None = None


@dataclass(frozen=True)
class EvaluationRows:
    """The selected rows with their labels, and what was left out, in words.

    Labels number the groups from 0; `groups` are their values, in order. `decided` are pairs whose
    decision goes before the labels; where `is_labelled` is False each item is a group of its own,
    named by its id, and no other pairs count.
    """

    sides: Sides
    query_labels: Int[np.ndarray, " q"]
    gallery_labels: Int[np.ndarray, " g"]
    groups: Shaped[np.ndarray, " l"]
    warnings: tuple[str, ...] = ()
    decided: DecidedPairs | None = None
    is_labelled: bool = True

    @property
    def num_groups(self) -> int:
        """How many groups the queries are of."""
        return len(np.unique(self.query_labels))


def evaluation_rows(
    store: Store, selection: Selection, gallery_store: Store | None = None
) -> EvaluationRows:
    """The rows that fit a selection, with a warning for each reason why rows were left out.

    With a `gallery_store` the queries of `store` look among the rows of that one.

    Raises:
        StoreError: there is no such space or column.
        SelectionError: nothing is left, no query has a true match, or an item has another label in
            the gallery's store.
        DecisionsError: the file of decisions is missing or damaged.
        SettingsError: there is neither a label nor a file of decisions.
    """
    warnings: list[str] = []
    if gallery_store is None and not (selection.query_where or selection.gallery_where):
        rows = _rows_of(store, selection, selection.where, warnings)
        return _labelled(self_join(store, rows), selection, warnings)
    among = gallery_store or store
    queries = _rows_of(store, selection, (*selection.where, *selection.query_where), warnings)
    gallery = _rows_of(among, selection, (*selection.where, *selection.gallery_where), warnings)
    sides = between(StoreRows(store, queries), StoreRows(among, gallery))
    return _labelled(sides, selection, warnings)


def _rows_of(
    store: Store, selection: Selection, where: tuple[Where, ...], warnings: list[str]
) -> Int[np.ndarray, " n"]:
    """The rows of one side; why others were left out is added to the warnings."""
    mask = select_rows(store, where)
    for kept, reason in _conditions(store, selection):
        num_left_out = int((mask & ~kept).sum())
        mask = mask & kept
        if num_left_out:
            noun = "row is" if num_left_out == 1 else "rows are"
            warnings.append(f"{num_left_out:,} {noun} left out: {reason}")
    if selection.include_training_rows:
        warnings += _training_warnings(store, selection, mask)
    if not mask.any():
        why = "".join(f"; {warning}" for warning in warnings)
        raise SelectionError(f"no row of {store.path} is left to evaluate on{why}")
    return np.flatnonzero(mask)


def _conditions(store: Store, selection: Selection) -> list[tuple[Bool[np.ndarray, " n"], str]]:
    """What rows must fulfil, and why the others are left out."""
    label = selection.label
    conditions = []
    if label is not None:
        conditions.append((has_value(store.column(label)), f"they have no '{label}'"))
    if not selection.include_training_rows:
        conditions += [
            (
                unseen_rows(store, space),
                f"the head of space '{space}' was trained or chosen on them",
            )
            for space in dict.fromkeys((*selection.spaces, *selection.unseen_by))
        ]
    if selection.split_column is not None:
        conditions.append(_of_split(store, selection.split_column))
    return conditions


def _training_warnings(
    store: Store, selection: Selection, mask: Bool[np.ndarray, " n"]
) -> list[str]:
    counts = {space: int((mask & store.seen(space)).sum()) for space in selection.spaces}
    return [
        f"{count:,} of {int(mask.sum()):,} rows are ones that the head of space '{space}' was "
        f"trained or chosen on: figures are too good"
        for space, count in counts.items()
        if count
    ]


def _of_split(store: Store, column: str) -> tuple[Bool[np.ndarray, " n"], str]:
    sides = Split(group="", column=column).sides(store)
    side = "test" if (sides == "test").any() else "val"
    reason = f"their '{column}' is not '{side}'"
    return sides == side, reason if side == "test" else f"{reason} (it holds no 'test')"


def _labelled(sides: Sides, selection: Selection, warnings: list[str]) -> EvaluationRows:
    label = selection.label
    if label is None:
        return _unlabelled(sides, selection, warnings)
    of_queries = _values(sides.queries, label)
    of_gallery = of_queries if sides.is_self_join else _values(sides.gallery, label)
    if of_queries.dtype.kind != of_gallery.dtype.kind:  # two stores may type a column differently
        of_queries, of_gallery = _texts(of_queries), _texts(of_gallery)
    both = of_queries if sides.is_self_join else np.concatenate([of_queries, of_gallery])
    groups, numbers = np.unique(both, return_inverse=True)
    labels = numbers[: len(of_queries)], numbers[-len(of_gallery) :]
    _refuse_two_labels(sides, label, *labels, groups)
    rows = EvaluationRows(sides, *labels, groups, tuple(dict.fromkeys(warnings)))
    if selection.decisions is not None:
        rows = _with_decisions(rows, _read(selection.decisions))
    refuse_without_pairs(rows, label)
    return rows


def _unlabelled(sides: Sides, selection: Selection, warnings: list[str]) -> EvaluationRows:
    """Each item a group of its own, numbered as in the gallery; queries that are not in it after.

    Nothing is known of any pair but what was decided.
    """
    if selection.decisions is None:
        raise SettingsError(
            "--label says which rows truly match: give it, or --decisions, to count nothing but "
            "pairs that people have decided"
        )
    is_outside = sides.own == NO_ROW
    after = len(sides.gallery) + np.cumsum(is_outside) - 1
    numbers = np.where(is_outside, after, sides.own), np.arange(len(sides.gallery))
    groups = np.concatenate([sides.gallery.ids, sides.queries.ids[is_outside]])
    rows = EvaluationRows(sides, *numbers, groups, tuple(warnings), is_labelled=False)
    decisions = _read(selection.decisions)
    rows = _with_decisions(rows, decisions)
    assert rows.decided is not None
    if not rows.decided.is_same.any():
        raise SelectionError(
            f"none of the {counted(rows.decided.num_pairs, 'decided pair')} of "
            f"{decisions.path} is the same, among the selected rows: review more pairs, or "
            f"give --label"
        )
    return rows


def _read(decisions: Path | Decisions) -> Decisions:
    return decisions if isinstance(decisions, Decisions) else read_decisions(decisions)


def _with_decisions(rows: EvaluationRows, decisions: Decisions) -> EvaluationRows:
    path = decisions.path
    decided = DecidedPairs.of(rows.sides, decisions.standing.values())
    told = [*rows.warnings, *decisions.warnings]
    pairs = counted(decided.num_pairs, "decided pair")
    if rows.is_labelled:
        by_label = rows.query_labels[decided.queries] == rows.gallery_labels[decided.gallery]
        changed = decided.where(decided.is_same != by_label)
        told.append(
            f"{pairs} of {path} go before the labels, which say otherwise of {changed.num_pairs:,}"
        )
    else:
        told.append(
            f"nothing but the {pairs} of {path} count: people are asked about doubtful pairs, so "
            f"that all figures are of these, and lower than those of all pairs"
        )
    if decided.num_gone:
        gone = counted(decided.num_gone, "decision", "are")
        told.append(f"{gone} of items that are not in the store any more")
    return replace(rows, decided=decided, warnings=tuple(told))


def _refuse_two_labels(
    sides: Sides,
    label: str,
    of_queries: Int[np.ndarray, " q"],
    of_gallery: Int[np.ndarray, " g"],
    groups: Shaped[np.ndarray, " l"],
) -> None:
    """An item that stands in two stores belongs to one group: what is true must not depend on the
    side that it was found on.
    """
    differ = np.flatnonzero((of_gallery[sides.own] != of_queries) & (sides.own != NO_ROW))
    if len(differ) == 0:
        return
    first = differ[0]
    here, there = groups[of_queries[first]], groups[of_gallery[sides.own[first]]]
    raise SelectionError(
        f"items that are in both stores should have the same '{label}' in both: '"
        f"{sides.queries.ids[first]}' has '{here}' in {sides.queries.store.path} and '{there}' in "
        f"{sides.gallery.store.path} ({counted(len(differ), 'item')} in all): mend one of the "
        f"two, or leave these items out with --query-where or --gallery-where"
    )


def _texts(values: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    return np.array([text or "" for text in label_texts(values)])


def _values(rows: StoreRows, label: str) -> Shaped[np.ndarray, " n"]:
    return np.asarray(rows.store.column(label)[rows.rows])


def refuse_without_pairs(rows: EvaluationRows, label: str | None) -> None:
    """Raise SelectionError where no query has a true match besides itself."""
    if rows.decided is not None and rows.decided.is_same.any():
        return
    sides, why = rows.sides, "".join(f"; {warning}" for warning in rows.warnings)
    in_gallery = np.bincount(rows.gallery_labels, minlength=len(rows.groups))
    if (in_gallery[rows.query_labels] > (sides.own != NO_ROW)).any():
        return
    if sides.is_self_join:
        raise SelectionError(
            f"no two of the {len(sides.queries):,} selected rows share a '{label}', so "
            f"none has a true match: give a --label whose values repeat{why}"
        )
    raise SelectionError(
        f"none of the {len(sides.queries):,} queries shares its '{label}' with another "
        f"of the {len(sides.gallery):,} items of the gallery, so none has a true match{why}"
    )
