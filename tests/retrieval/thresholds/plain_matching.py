"""Matching and its objectives once more, in plain loops over sets, for small random examples."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from retrieval.metrics.judgements import Judgements, judge_join
from retrieval.search.ranking import NO_ROW
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.rules import Rules


@dataclass(frozen=True)
class Example:
    """Queries with candidates whose scores are multiples of 1/8, so that ties are everywhere.

    `own` is where each query stands in the gallery itself, `NO_ROW` where it does not.
    """

    scores: Float[np.ndarray, "s q g"]
    candidates: Candidates
    query_labels: Int[np.ndarray, " q"]
    gallery_labels: Int[np.ndarray, " g"]
    own: Int[np.ndarray, " q"]
    is_self_join: bool

    def pool(self, rules: Rules) -> Pool:
        if self.is_self_join:
            judged = judge_join(self.candidates.rows, self.query_labels)
        else:
            judged = self._judged()
        return Pool.of(self.candidates, judged, rules, is_self_join=self.is_self_join)

    def true_of(self, row: int) -> set[int]:
        """The gallery items with the label of a query, but itself."""
        label = self.query_labels[row]
        return {g for g in range(len(self.gallery_labels)) if self.gallery_labels[g] == label} - {
            int(self.own[row])
        }

    def pair(self, row: int, other: int) -> frozenset[int]:
        """A query and an item of the gallery, as two items whatever side they were found on."""
        own = int(self.own[row])
        return frozenset((other, own if own != NO_ROW else len(self.gallery_labels) + row))

    def query_of(self, item: int) -> int | None:
        """The query that an item of the gallery is as well."""
        return next((row for row in range(len(self.own)) if self.own[row] == item), None)

    def listed(self, row: int) -> list[int]:
        """The candidates of a query but itself, best first."""
        return [int(other) for other in self.candidates.rows[row, 1:] if other != NO_ROW]

    def _judged(self) -> Judgements:
        rows = self.candidates.rows
        relevant = np.array(
            [
                [True, *(int(other) in self.true_of(row) for other in rows[row, 1:])]
                for row in range(len(rows))
            ]
        )
        num_true = np.array([len(self.true_of(row)) + 1 for row in range(len(rows))])
        shared = [
            sum(self.query_of(other) is not None for other in self.true_of(row))
            if self.own[row] != NO_ROW
            else 0
            for row in range(len(rows))
        ]
        return Judgements(relevant, num_true, self.query_labels, np.array(shared))


def example(
    seed: int,
    num_spaces: int = 1,
    *,
    is_self_join: bool = True,
    is_symmetric: bool = True,
    num_rows: int = 8,
) -> Example:
    """Queries and their candidates; some rows have fewer than others.

    From none to all of the queries are in the gallery. Scores of two items are the same both ways
    round, unless they are not to be symmetric.
    """
    generator = np.random.default_rng(seed)
    num_gallery = num_rows if is_self_join else int(generator.integers(3, 9))
    scores = generator.integers(-3, 8, (num_spaces, num_rows, num_gallery)) / 8
    own = np.arange(num_rows)
    if not is_self_join:
        own = _places(generator, num_rows, num_gallery)
    if is_symmetric:
        inside = np.flatnonzero(own != NO_ROW)
        both = np.ix_(np.arange(num_spaces), inside, own[inside])
        scores[both] = np.maximum(scores[both], scores[both].transpose(0, 2, 1))
    labels = generator.integers(0, 3, num_rows), generator.integers(0, 3, num_gallery)
    gallery_labels = labels[0] if is_self_join else labels[1]
    known = own[own != NO_ROW]
    gallery_labels[known] = labels[0][own != NO_ROW]
    candidates = _candidates(scores, own, int(generator.integers(2, 8)), generator)
    return Example(scores, candidates, labels[0], gallery_labels, own, is_self_join)


def _places(
    generator: np.random.Generator, num_rows: int, num_gallery: int
) -> Int[np.ndarray, " q"]:
    """Where some of the queries stand in the gallery, in no order."""
    num_inside = int(generator.integers(0, min(num_rows, num_gallery) + 1))
    own = np.full(num_rows, NO_ROW)
    inside = generator.choice(num_rows, num_inside, replace=False)
    own[inside] = generator.choice(num_gallery, num_inside, replace=False)
    return own


def _candidates(
    scores: Float[np.ndarray, "s q g"],
    own: Int[np.ndarray, " q"],
    width: int,
    generator: np.random.Generator,
) -> Candidates:
    num_spaces, num_rows, num_gallery = scores.shape
    rows = np.full((num_rows, width), NO_ROW)
    cells = np.full((num_spaces, num_rows, width), -np.inf, np.float32)
    combined = np.full((num_rows, width), -np.inf, np.float32)
    rows[:, 0], cells[:, :, 0], combined[:, 0] = own, 1, 1
    mean = scores.mean(axis=0)
    for row in range(num_rows):
        others = [g for g in range(num_gallery) if g != own[row]]
        others.sort(key=lambda g: (-mean[row, g], g))
        kept = others[: min(width - 1, int(generator.integers(0, 2 * width)))]
        rows[row, 1 : 1 + len(kept)] = kept
        cells[:, row, 1 : 1 + len(kept)] = scores[:, row, kept]
        combined[row, 1 : 1 + len(kept)] = mean[row, kept]
    return Candidates(rows, cells, combined)


def allowed(case: Example, rules: Rules, row: int) -> tuple[set[int], set[int]]:
    """The candidates that are always taken, and those that may be."""
    listed = case.listed(row)
    combined = [1.0, *(float(value) for value in case.candidates.combined[row, 1:][: len(listed)])]
    end = len(listed)
    falls = [combined[at] - combined[at + 1] for at in range(len(listed))]
    if rules.gap and falls and max(falls) > 0:
        end = falls.index(max(falls))
    may = set(listed[:end])
    if rules.at_most is not None:
        may &= set(listed[: rules.at_most - 1])
    if rules.reciprocal:
        may = {other for other in may if row in case.listed(other)}
    return set(listed[: rules.at_least - 1]), may


def plain_matches(
    case: Example, rules: Rules, thresholds: tuple[float, ...], *, takes_any: bool = True
) -> list[set[int]]:
    """What each query takes besides itself."""
    found = []
    for row in range(len(case.own)):
        always, may = allowed(case, rules, row)
        reaches = any if takes_any else all
        found.append(
            always
            | {
                other
                for other in may
                if reaches(
                    case.scores[space, row, other] >= threshold
                    for space, threshold in enumerate(thresholds)
                )
            }
        )
    return found


def plain_value(
    case: Example,
    rules: Rules,
    objective: Objective,
    matches: list[set[int]],
    chosen: Bool[np.ndarray, " q"],
) -> float:
    """The objective of the chosen rows; 2 below the other share where the wanted one is missed."""
    rows = [row for row in range(len(case.own)) if chosen[row]]
    if objective.name == "row-f1":
        values = []
        for row in rows:
            true, taken = case.true_of(row), matches[row]
            values.append(2 * (1 + len(true & taken)) / (2 + len(true) + len(taken)))
        return sum(values) / len(values)
    pairs, hits, true_pairs = plain_pairs(case, rules, matches, rows)
    if objective.name == "pair-f1":
        return 2 * hits / (pairs + true_pairs) if pairs + true_pairs else 0.0
    precision = hits / pairs if pairs else 1.0
    recall = hits / true_pairs if true_pairs else 0.0
    value, bound = recall, precision
    if objective.name == "precision-at-recall":
        value, bound = precision, recall
    assert objective.wanted is not None
    return value if bound >= objective.wanted - 1e-9 else bound - 2


def plain_pairs(
    case: Example, rules: Rules, matches: list[set[int]], rows: list[int]
) -> tuple[float, float, float]:
    """Pairs that the rows take, the true ones among them, and all true ones."""
    true = {case.pair(row, other) for row in rows for other in case.true_of(row)}
    if len(rows) == len(case.own):
        taken = {case.pair(row, other) for row in rows for other in matches[row]}
        return len(taken), len(taken & true), len(true)
    pairs = hits = 0.0
    for row in rows:
        for other in matches[row]:
            share = _share(case, rules, matches, row, other)
            pairs += share
            hits += share * (other in case.true_of(row))
    return pairs, hits, len(true)


def _share(case: Example, rules: Rules, matches: list[set[int]], row: int, other: int) -> float:
    own, back = int(case.own[row]), case.query_of(other)
    if own == NO_ROW or back is None or own not in matches[back]:
        return 1
    here, there = _taken_from(case, rules, row, other), _taken_from(case, rules, back, own)
    return 0.5 if here == there else float(here > there)


def _taken_from(case: Example, rules: Rules, row: int, other: int) -> float:
    """What says which of two rows a pair belongs to: its combined score, above all by a rule."""
    is_always = other in allowed(case, rules, row)[0]
    return np.inf if is_always else float(case.scores[:, row, other].mean())


def distinct_scores(case: Example, space: int) -> list[float]:
    """Each score that a candidate has, and one that none reaches."""
    scores = case.candidates.scores[space][:, 1:]
    return [*np.unique(scores[np.isfinite(scores)]).tolist(), 2.0]


def whole_groups(case: Example, seed: int) -> Iterator[Bool[np.ndarray, " q"]]:
    """All rows, then those of some labels but not of all, where there are several."""
    yield np.ones(len(case.own), bool)
    if len(np.unique(case.query_labels)) == 1:
        return
    generator = np.random.default_rng(seed)
    some = np.zeros(len(case.own), bool)
    while not 0 < some.sum() < len(some):
        some = generator.integers(0, 2, 3).astype(bool)[case.query_labels]
    yield some
