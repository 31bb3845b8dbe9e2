"""What thresholds give for a whole store: how much matches and, with labels, how right that is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from embed.errors import SelectionError, StoreError
from retrieval.decisions.journal import Decisions
from retrieval.matches.honouring import Honouring
from retrieval.metrics.judgements import Judgements, judge
from retrieval.metrics.sets import row_f1, row_precision, row_recall
from retrieval.search.sides import Sides
from retrieval.selection import EvaluationRows, Selection, evaluation_rows
from retrieval.service.background import Background, Report
from retrieval.service.pairs import all_pairs, finding_of
from retrieval.service.score_tables import ScoreTable, pairs_once
from retrieval.service.service import Snapshot
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.match_rules import MatchRule, categories_of
from retrieval.thresholds.strategies import Fit

PAIRS_SHARE = 0.6
"""Of all the work, that for the candidates of all items."""

NO_LABEL = "no column says which items truly match: start the service with --label COLUMN"


@dataclass(frozen=True)
class Figures:
    """What thresholds give.

    Attributes:
        num_pairs: pairs of two items that match, from one side at least, each counted once.
        num_items_with_match: items that match another one.
        row_f1, precision, recall: means over the labelled rows that no head has seen, the item
            itself included; None where there are no labels.
        pair_f1, pair_precision, pair_recall: of their pairs, each counted once; None where there
            are none, too.
        num_rows: how many rows these are.
    """

    num_pairs: int
    num_items_with_match: int
    row_f1: float | None = None
    precision: float | None = None
    recall: float | None = None
    pair_f1: float | None = None
    pair_precision: float | None = None
    pair_recall: float | None = None
    num_rows: int | None = None


@dataclass(frozen=True)
class Taken:
    """Which candidates match, and the pairs that do, each once: flat positions of candidates."""

    rows: Int[np.ndarray, "n c"]
    matches: Bool[np.ndarray, "n c"]
    pairs: Int[np.ndarray, " p"]


@dataclass(frozen=True)
class Join:
    """Items that look among one another: what thresholds decide, and their categories, if any."""

    candidates: Candidates
    sides: Sides
    rule: MatchRule
    table: ScoreTable
    categories: Shaped[np.ndarray, " n"] | None

    @staticmethod
    def of(candidates: Candidates, sides: Sides, rule: MatchRule) -> "Join":
        """Of the candidates of all items of a join."""
        table = ScoreTable.of(candidates, rule)
        return Join(candidates, sides, rule, table, categories_of(sides, rule.category))

    def taken(self, fit: Fit, decisions: Decisions | None = None) -> Taken:
        """What matches by these thresholds, and by decisions where there are some."""
        thresholds = fit.of_rows(self.categories)
        matches = self.table.matches(thresholds)
        if not decisions:
            return Taken(self.table.rows, matches, self.table.pairs_of(matches, thresholds))
        honouring = Honouring(self.sides, self.rule, decisions)
        candidates, matches = honouring(0, self.candidates, matches)
        return Taken(candidates.rows, matches, pairs_once(candidates.rows, matches))


@dataclass(frozen=True)
class Labelled:
    """The labelled rows that no head has seen, among one another."""

    join: Join
    rows: EvaluationRows
    judged: Judgements

    @property
    def num_true_pairs(self) -> float:
        """Pairs of two of these rows with one label."""
        return float((self.judged.num_true - 1).sum()) / 2

    def reached(self, what: Taken) -> dict[str, Any]:
        """The figures of rows and of pairs that are taken, by their names in `Figures`."""
        relevant, num_true = self._relevant(what), self.judged.num_true
        taken, common = what.matches.sum(axis=1), (what.matches & relevant).sum(axis=1)
        of_rows = {
            "row_f1": row_f1(common, taken, num_true),
            "precision": row_precision(common, taken),
            "recall": row_recall(common, num_true),
        }
        means = {name: float(values.mean()) for name, values in of_rows.items()}
        num_hits = int(relevant.reshape(-1)[what.pairs].sum())
        return means | self._of_pairs(len(what.pairs), num_hits)

    def _relevant(self, what: Taken) -> Bool[np.ndarray, "n c"]:
        """Which candidates have the label, those among them that are there by a decision alone."""
        if what.rows is self.join.table.rows:
            return self.judged.relevant
        return judge(what.rows, self.rows).relevant

    def _of_pairs(self, num_pairs: int, num_hits: int) -> dict[str, float | None]:
        num_true = self.num_true_pairs
        total = num_pairs + num_true
        return {
            "pair_f1": 2 * num_hits / total if total else None,
            "pair_precision": num_hits / num_pairs if num_pairs else None,
            "pair_recall": num_hits / num_true if num_true else None,
        }


@dataclass(frozen=True)
class StoreFigures:
    """Figures of a store at any thresholds, in the time of some passes over all candidates.

    Attributes:
        rule: how items match.
        everything: all items among one another.
        labelled: those that are judged; None where no two share a label, or there is none.
        warnings: which rows are not judged, and why.
    """

    rule: MatchRule
    everything: Join
    labelled: Labelled | None
    warnings: tuple[str, ...]

    def at_own(self, decisions: Decisions | None = None) -> Figures:
        """The figures at the rule's own thresholds, those of categories included.

        What people have decided goes before the rule, as in the matches that are written.

        Raises:
            StoreError: a vector is not finite.
        """
        return self._at(Fit(self.rule.thresholds, 0.0, self.rule.by_category), decisions)

    def at(self, thresholds: Sequence[float]) -> Figures:
        """The figures where all items, whatever their category, have these thresholds.

        Nothing that people have decided is in them.
        """
        return self._at(Fit(tuple(thresholds), 0.0))

    def _at(self, fit: Fit, decisions: Decisions | None = None) -> Figures:
        taken = self.everything.taken(fit, decisions)
        counts = len(taken.pairs), int(taken.matches[:, 1:].any(axis=1).sum())
        labelled = self.labelled
        if labelled is None:
            return Figures(*counts)
        if labelled.join is not self.everything:
            taken = labelled.join.taken(fit, decisions)
        return Figures(*counts, num_rows=len(labelled.judged.num_true), **labelled.reached(taken))


def figures_of(snapshot: Snapshot) -> Background[StoreFigures]:
    """The figures of a snapshot: those of all its items, once their candidates are known."""
    return snapshot.works.once(("figures",), lambda report: _store_figures(snapshot, report))


def _store_figures(snapshot: Snapshot, report: Report) -> StoreFigures:
    rule = snapshot.pairs_rule
    candidates = snapshot.pairs.followed(report, PAIRS_SHARE)
    everything = Join.of(candidates, snapshot.sides, rule)
    rows, why_none = _judged_rows(snapshot, rule)
    if rows is None:
        return StoreFigures(rule, everything, None, why_none)
    join = everything
    if len(rows.sides.queries) < len(candidates.rows):
        candidates = _among(rows.sides, snapshot, rule, report)
        join = Join.of(candidates, rows.sides, rule)
    labelled = Labelled(join, rows, judge(candidates.rows, rows))
    return StoreFigures(rule, everything, labelled, rows.warnings)


def _judged_rows(
    snapshot: Snapshot, rule: MatchRule
) -> tuple[EvaluationRows | None, tuple[str, ...]]:
    """The labelled rows that no head has seen; None and the reason where there are none."""
    if snapshot.label is None:
        return None, (NO_LABEL,)
    try:
        return evaluation_rows(snapshot.store, Selection(tuple(rule.spaces), snapshot.label)), ()
    except (SelectionError, StoreError) as error:
        return None, (str(error),)


def _among(sides: Sides, snapshot: Snapshot, rule: MatchRule, report: Report) -> Candidates:
    """The candidates of the judged rows among one another, as `evaluate` finds them."""
    # A file of neighbours is of all items: these are searched.
    finding = replace(finding_of(snapshot.settings), neighbours=None)
    return all_pairs(
        sides, rule, finding, lambda share: report(PAIRS_SHARE + (1 - PAIRS_SHARE) * share)
    )
