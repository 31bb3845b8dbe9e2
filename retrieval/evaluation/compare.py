"""Spaces side by side, of one store or of several: on the same rows, with paired differences."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from embed.errors import SettingsError, StoreError
from embed.store import Store
from retrieval.evaluation.contenders import MARKS, Contender, SpacesContender
from retrieval.evaluation.evaluations import Evaluation, evaluate_on
from retrieval.evaluation.shared_rows import shared_rows
from retrieval.finding import EXACT, Finding
from retrieval.metrics.intervals import Difference, paired_difference
from retrieval.search.neighbour_files import read_info
from retrieval.selection import EvaluationRows, Selection
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.tune_settings import TuneSettings

PAIRED = ("row_f1", "map", "recall@1")
"""The metrics whose differences are drawn."""

COMBINED_BY = {MARKS[combine]: combine for combine in ("concat", "union", "intersection")}
"""How spaces are combined that stand on one line, by the mark between them."""

BEST = "best"
"""Stands for the line with the highest main metric."""


@dataclass(frozen=True)
class CompareSettings(Selection):
    """What to compare, on which rows.

    Attributes:
        spaces: each is looked for in every store; `a+b` is the combination of two by concat, `a|b`
            by union and `a&b` by intersection, unless a space has just that name. Blanks around
            the marks do not count.
        k: neighbours of each item, itself included where items look among one another; None is 50.
        finding: how neighbours are found, but for the lines that `neighbours` serve.
        neighbours: Parquet files of neighbours, each for the line of the spaces that it holds.
        objective: what the cross-fitted threshold is to be the best for.
        seed: of the folds and of the draws for the intervals.
        against: the line that the others are compared with: its name, or best; None takes the
            first.
        ranking_only: no threshold is tuned.
    """

    k: int | None = None
    finding: Finding = EXACT
    neighbours: tuple[Path, ...] = ()
    objective: Objective = field(default_factory=Objective)
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

    Each space or combination is cut at its own cross-fitted thresholds. Items are joined by id;
    which there are and their columns is what the first store says.

    Raises:
        SettingsError: nothing to compare, a space or store given twice, or a k that does not fit.
        StoreError: no store has such a space, or the first has no such column.
        SelectionError: no rows are left, no two share a label, or there are too few groups.
    """
    settings = _without_blanks(settings, stores)
    _refuse_repeated(stores, settings)
    combinations = {space: _combination(space, stores) for space in settings.spaces}
    _refuse_unused(settings.neighbours, combinations.values())
    parts = [part for combination in combinations.values() for part in combination.spaces]
    _refuse_unknown(stores, (*parts, *settings.unseen_by))
    heads = [_present(store, (*parts, *settings.unseen_by)) for store in stores]
    rows = shared_rows(stores, heads, settings)
    entries = [
        Entry(name, rows[number], _contender(space, combinations[space], settings))
        for space in settings.spaces
        for number, name in _line_names(stores, combinations[space].spaces, space)
    ]
    if not entries:
        raise StoreError("no store has all spaces of a combination: give one that does")
    return compare_entries(entries, settings.against, settings.seed)


@dataclass(frozen=True)
class _Combination:
    spaces: tuple[str, ...]
    combine: str = "concat"


def _without_blanks(settings: CompareSettings, stores: Sequence[Store]) -> CompareSettings:
    """The same settings with `a + b` as `a+b`, unless a space has just that name."""
    known = {space for store in stores for space in store.spaces}
    marks = "".join(map(re.escape, COMBINED_BY))

    def tight(name: str) -> str:
        return name if name in known else re.sub(rf"\s*([{marks}])\s*", r"\1", name)

    against = None if settings.against is None else tight(settings.against)
    return replace(settings, spaces=tuple(map(tight, settings.spaces)), against=against)


def _combination(text: str, stores: Sequence[Store]) -> _Combination:
    """The spaces that a name on the line stands for: its own, or those of a combination.

    Where any part is a space, the others were meant to be spaces as well.
    """
    if any(text in store.spaces for store in stores):
        return _Combination((text,))
    for mark, combine in COMBINED_BY.items():
        names = tuple(text.split(mark))
        if any(name in store.spaces for store in stores for name in names):
            return _Combination(names, combine)
    return _Combination((text,))


def _contender(name: str, combination: _Combination, settings: CompareSettings) -> SpacesContender:
    held = _files_by_spaces(settings.neighbours).get(frozenset(combination.spaces))
    is_served = held is not None and combination.combine == "concat"
    tuning = TuneSettings(
        combination.spaces,
        settings.label,
        k=settings.k,
        combine=combination.combine,
        objective=settings.objective,
        finding=replace(settings.finding, neighbours=held) if is_served else settings.finding,
        seed=settings.seed,
    )
    return SpacesContender(name, tuning, is_ranking_only=settings.ranking_only)


def _files_by_spaces(paths: Sequence[Path]) -> dict[frozenset[str], Path]:
    return {frozenset(read_info(path).spaces): path for path in paths}


def _refuse_unused(paths: Sequence[Path], combinations: Iterable[_Combination]) -> None:
    served = {frozenset(each.spaces) for each in combinations if each.combine == "concat"}
    for spaces, path in _files_by_spaces(paths).items():
        if spaces not in served:
            raise SettingsError(
                f"{path} holds neighbours in {' + '.join(sorted(spaces))}, and no line is of that: "
                f"give --space {'+'.join(sorted(spaces))}, or leave the file out"
            )


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


def _refuse_unknown(stores: Sequence[Store], spaces: Sequence[str]) -> None:
    known = dict.fromkeys(space for store in stores for space in store.spaces)
    for space in spaces:
        if space not in known:
            where = str(stores[0].path) if len(stores) == 1 else "none of the stores"
            verb = "has no space" if len(stores) == 1 else "has a space"
            raise StoreError(f"{where} {verb} '{space}': there are {', '.join(known) or 'none'}")


def _present(store: Store, spaces: Sequence[str]) -> list[str]:
    return [space for space in dict.fromkeys(spaces) if space in store.spaces]


def _line_names(stores: Sequence[Store], spaces: Sequence[str], name: str) -> list[tuple[int, str]]:
    """The stores that have all these spaces, by number, and what their line is called there."""
    numbers = [n for n, store in enumerate(stores) if set(spaces) <= set(store.spaces)]
    if len(stores) == 1:
        return [(number, name) for number in numbers]
    stems = [Path(store.path).stem for store in stores]
    is_plain = len(set(stems)) == len(stems)
    names = stems if is_plain else [str(store.path) for store in stores]
    return [(number, f"{names[number]}:{name}") for number in numbers]
