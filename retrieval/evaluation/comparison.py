"""Contenders side by side on the same rows, and how far each is from one of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from embed.errors import SettingsError
from retrieval.evaluation.contenders import Contender
from retrieval.evaluation.evaluations import Evaluation, evaluate_on
from retrieval.evaluation.measuring import Measured
from retrieval.metrics.intervals import (
    Difference,
    Ratio,
    paired_difference,
    paired_ratio_difference,
)
from retrieval.selection import EvaluationRows

PAIRED = ("row_f1", "map", "recall@1")
"""The means whose differences are drawn; that of the F1 of pairs is drawn as well."""

BEST = "best"
"""Stands for the line that reaches most, by what the comparison goes by."""

BEST_SPACE = "best-space"
"""Stands for the one that reaches most among those that are no combinations."""


@dataclass(frozen=True)
class Entry:
    """A contender with the rows that it is evaluated on; `name` is what its line is called.

    `is_combination` is true where several spaces are combined. Rows of different stores hold the
    same items, each in its own store's order.
    """

    name: str
    rows: EvaluationRows
    contender: Contender
    is_combination: bool = False


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
    """Several lines on the same rows.

    `against` is the name of the line that the others are compared with, `best_by` the metric that
    says which is the best; it comes first where they are shown.
    """

    lines: tuple[Line, ...]
    against: str
    best_by: str

    @property
    def best(self) -> float:
        """The highest value of `best_by`."""
        return max(line.evaluation.metrics[self.best_by] or 0.0 for line in self.lines)

    @property
    def has_thresholds(self) -> bool:
        """Whether lines are cut at thresholds; where not, only their rankings count."""
        return any(line.evaluation.thresholds for line in self.lines)

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


def compare_entries(
    entries: Sequence[Entry], against: str | None, seed: int, best_by: str | None = None
) -> Comparison:
    """Evaluate each entry, and draw its difference from the one named `against`, or the first.

    `against` may be best, or best-space: the best of those that are no combinations. Which is best
    is said by the metric `best_by`: None is row F1, or mAP where there is no threshold.

    Raises:
        SettingsError: no entry has that name; besides what the contenders raise.
    """
    names = [entry.name for entry in entries]
    if against not in (None, BEST, BEST_SPACE, *names):
        raise SettingsError(
            f"--against names one of the lines, {', '.join(names)}, or {BEST} or {BEST_SPACE}: "
            f"found {against}"
        )
    if against == BEST_SPACE and all(entry.is_combination for entry in entries):
        raise SettingsError(f"--against {BEST_SPACE} is for lines of one space: there is none")
    evaluations = [evaluate_on(entry.rows, entry.contender, seed=seed) for entry in entries]
    lines = [Line(name, found, {}) for name, found in zip(names, evaluations, strict=True)]
    is_combination = [entry.is_combination for entry in entries]
    best_by = best_by or ("row_f1" if "row_f1" in evaluations[0].metrics else "map")
    comparison = Comparison(tuple(lines), names[0], best_by)
    first = _number_of(against, comparison, is_combination)
    for number in set(range(len(lines))) - {first}:
        differences = _differences(entries, evaluations, first, number, seed)
        lines[number] = replace(lines[number], differences=differences)
    return replace(comparison, lines=tuple(lines), against=names[first])


def _number_of(against: str | None, comparison: Comparison, is_combination: Sequence[bool]) -> int:
    """The line that the others are compared with."""
    names = [line.name for line in comparison.lines]
    if against is None or against in names:
        return 0 if against is None else names.index(against)
    values = [line.evaluation.metrics[comparison.best_by] or 0.0 for line in comparison.lines]
    may_be = [
        number for number in range(len(names)) if against == BEST or not is_combination[number]
    ]
    return max(may_be, key=values.__getitem__)


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
    found = {
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
    sums_before, sums_after = _pair_sums(before, orders[0]), _pair_sums(after, orders[1])
    if sums_before is not None and sums_after is not None:
        generator = np.random.default_rng(seed)
        found["pair_f1"] = paired_ratio_difference(
            "pair_f1", sums_before, sums_after, groups, generator
        )
    return found


def _pair_sums(measured: Measured, order: Int[np.ndarray, " q"]) -> Ratio | None:
    """What the F1 of pairs is the ratio of, query by query; None where there are no pairs."""
    pairs = measured.pairs
    if pairs is None or pairs.f1 is None:
        return None
    return 2 * pairs.num_common[order], (pairs.num_matched + pairs.num_true)[order]
