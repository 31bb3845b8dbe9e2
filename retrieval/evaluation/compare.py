"""Spaces side by side, of one store or of several: on the same rows, with paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from embed.errors import SettingsError, StoreError
from embed.store import Store
from retrieval.evaluation.contenders import CROSS_FIT, NO_THRESHOLD, Contender, SpaceContender
from retrieval.evaluation.evaluations import Evaluation, evaluate_on
from retrieval.evaluation.intervals import Difference, paired_difference
from retrieval.evaluation.shared_rows import shared_rows
from retrieval.selection import EvaluationRows, Selection
from retrieval.thresholds.tuned import DEFAULT_K, refuse_small_k

PAIRED = ("row_f1", "map", "recall@1")
"""The metrics whose differences are drawn."""

BEST = "best"
"""Stands for the line with the highest main metric."""


@dataclass(frozen=True)
class CompareSettings(Selection):
    """What to compare, on which rows.

    Attributes:
        spaces: each is looked for in every store.
        k: neighbours of each item, itself included where items look among one another.
        seed: of the folds and of the draws for the intervals.
        against: the line that the others are compared with: its name, or best; None takes the
            first.
        ranking_only: no threshold is tuned.
    """

    k: int = DEFAULT_K
    seed: int = 0
    against: str | None = None
    ranking_only: bool = False


@dataclass(frozen=True)
class Entry:
    """A contender with the rows that it is evaluated on; `name` is what its line is called.

    Rows of different stores hold the same items, each in its own store's order.
    """

    name: str
    rows: EvaluationRows
    contender: Contender


@dataclass(frozen=True)
class Line:
    """What one contender reaches, and how much more than the line that is compared with.

    `differences` are by metric; empty for the line that the others are compared with.
    """

    name: str
    evaluation: Evaluation
    differences: dict[str, Difference]


@dataclass(frozen=True)
class Comparison:
    """Several lines on the same rows; `against` is the name of the one that is compared with."""

    lines: tuple[Line, ...]
    against: str

    @property
    def main_metric(self) -> str:
        """What comes first: row F1, or mAP where there is no threshold."""
        return "row_f1" if "row_f1" in self.lines[0].evaluation.metrics else "map"

    @property
    def best(self) -> float:
        """The highest value of the main metric."""
        values = [line.evaluation.metrics[self.main_metric] for line in self.lines]
        return max(value for value in values if value is not None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of all lines, each once."""
        found = [warning for line in self.lines for warning in line.evaluation.warnings]
        return tuple(dict.fromkeys(found))

    def to_json(self) -> dict[str, Any]:
        """Each line under its name, and the differences."""
        return {
            "spaces": {line.name: line.evaluation.to_json() for line in self.lines},
            "against": self.against,
            "differences": [
                {
                    "space": line.name,
                    "against": self.against,
                    "metric": difference.metric,
                    "difference": difference.value,
                    "interval": difference.interval,
                    "is_clear": difference.is_clear,
                }
                for line in self.lines
                for difference in line.differences.values()
            ],
        }


def compare(stores: Sequence[Store], settings: CompareSettings) -> Comparison:
    """Evaluate spaces on the same rows: items that all stores have and no head of any has seen.

    Each space is cut at its own cross-fitted thresholds. Items are joined by id; which there are
    and their columns is what the first store says.

    Raises:
        SettingsError: nothing to compare, a space or store given twice, or k is below 2.
        StoreError: no store has such a space, or the first has no such column.
        SelectionError: no rows are left, no two share a label, or there are too few groups.
    """
    refuse_small_k(settings.k)
    _refuse_repeated(stores, settings)
    _refuse_unknown(stores, settings)
    here = [_present(store, settings.spaces) for store in stores]
    heads = [_present(store, (*settings.spaces, *settings.unseen_by)) for store in stores]
    rows = shared_rows(stores, heads, settings)
    protocol = NO_THRESHOLD if settings.ranking_only else CROSS_FIT
    entries = [
        Entry(
            name,
            rows[number],
            SpaceContender(space, settings.k, protocol, seed=settings.seed),
        )
        for space in settings.spaces
        for number, name in _line_names(stores, here, space)
    ]
    return compare_entries(entries, settings.against, settings.seed)


def compare_entries(entries: Sequence[Entry], against: str | None, seed: int) -> Comparison:
    """Evaluate each entry, and draw its difference from the one named `against`, or the first.

    Raises:
        SettingsError: no entry has that name; besides what the contenders raise.
    """
    names = [entry.name for entry in entries]
    if against not in (None, BEST, *names):
        raise SettingsError(
            f"--against names one of the lines, {', '.join(names)}, or {BEST}: found {against}"
        )
    evaluations = [evaluate_on(entry.rows, entry.contender, seed=seed) for entry in entries]
    lines = [Line(name, found, {}) for name, found in zip(names, evaluations, strict=True)]
    first = _number_of(against, Comparison(tuple(lines), names[0]))
    for number in set(range(len(lines))) - {first}:
        differences = _differences(entries, evaluations, first, number, seed)
        lines[number] = replace(lines[number], differences=differences)
    return Comparison(tuple(lines), names[first])


def _number_of(against: str | None, comparison: Comparison) -> int:
    """The line that the others are compared with."""
    if against is None:
        return 0
    names = [line.name for line in comparison.lines]
    if against in names:
        return names.index(against)
    metric = comparison.main_metric
    values = [line.evaluation.metrics[metric] for line in comparison.lines]
    return values.index(comparison.best)


def _differences(
    entries: Sequence[Entry],
    evaluations: Sequence[Evaluation],
    first: int,
    second: int,
    seed: int,
) -> dict[str, Difference]:
    """How much more the second reaches than the first, query by query."""
    orders = [np.argsort(entries[n].rows.sides.queries.ids) for n in (first, second)]
    before, after = (evaluations[n].measured for n in (first, second))
    groups = before.groups[orders[0]]
    assert (groups == after.groups[orders[1]]).all()
    return {
        name: paired_difference(
            name,
            before.values[name][orders[0]],
            after.values[name][orders[1]],
            groups,
            np.random.default_rng(seed),
        )
        for name in PAIRED
        if name in before.values
    }


def _refuse_repeated(stores: Sequence[Store], settings: CompareSettings) -> None:
    spaces, paths = settings.spaces, [Path(store.path).resolve() for store in stores]
    if not spaces or len(set(spaces)) < len(spaces):
        given = ", ".join(spaces) or "none"
        raise SettingsError(f"compare takes different spaces, each named once: found {given}")
    if not paths or len(set(paths)) < len(paths):
        given = ", ".join(map(str, paths)) or "none"
        raise SettingsError(f"compare takes different stores, each named once: found {given}")


def _refuse_unknown(stores: Sequence[Store], settings: CompareSettings) -> None:
    known = dict.fromkeys(space for store in stores for space in store.spaces)
    for space in (*settings.spaces, *settings.unseen_by):
        if space not in known:
            where = str(stores[0].path) if len(stores) == 1 else "none of the stores"
            verb = "has no space" if len(stores) == 1 else "has a space"
            raise StoreError(f"{where} {verb} '{space}': there are {', '.join(known) or 'none'}")


def _present(store: Store, spaces: Sequence[str]) -> list[str]:
    return [space for space in dict.fromkeys(spaces) if space in store.spaces]


def _line_names(
    stores: Sequence[Store], here: Sequence[Sequence[str]], space: str
) -> list[tuple[int, str]]:
    """The stores that have a space, by number, and what its line is called there."""
    numbers = [number for number, spaces in enumerate(here) if space in spaces]
    if len(stores) == 1:
        return [(number, space) for number in numbers]
    stems = [Path(store.path).stem for store in stores]
    is_plain = len(set(stems)) == len(stems)
    names = stems if is_plain else [str(store.path) for store in stores]
    return [(number, f"{names[number]}:{space}") for number in numbers]
