"""What of that which is found matches: by the rule's thresholds, its other rules, and decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64

from retrieval.search.ranking import NO_ROW
from retrieval.service.asking import Judged, Plan, queries_of_row
from retrieval.service.deciding import decided_rows
from retrieval.service.search import EVERY_CANDIDATE, Found, SpaceQuery
from retrieval.service.service import Snapshot
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.columns import num_columns
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.rules import bounds
from retrieval.thresholds.strategies import matches_of, reach


@dataclass(frozen=True)
class Query:
    """What is searched for: its vectors, by which plan, and the row of an item of the store."""

    plan: Plan
    vectors: Mapping[str, SpaceQuery]
    row: int | None = None

    def best(self, snapshot: Snapshot, k: int, **among: Bool[np.ndarray, " n"] | None) -> Found:
        """The k best rows, the item itself left out."""
        return snapshot.searcher.best(
            self.vectors, k, combine=self.plan.combine, without=self.row, **among
        )

    def agrees(self, found: Found) -> dict[str, Bool[np.ndarray, " m"] | None]:
        """Whether each space by itself says that what was found matches."""
        return {
            name: _reached(scores, self.plan.cut.of_space(name))
            for name, scores in zip(self.plan.weights, found.scores, strict=True)
        }


def judged(snapshot: Snapshot, query: Query, found: Found, *, is_filtered: bool) -> Judged:
    """What of it matches: as `/match` says it, where the rule's own spaces are searched.

    Raises:
        DecisionsError: the file of decisions is damaged.
    """
    rule, plan = snapshot.rule, query.plan
    if rule is None or set(plan.weights) != set(rule.spaces):
        return Judged(found, _reached(found.combined, plan.cut.combined), query.agrees(found))
    if _thresholds(rule, plan) is None:
        return Judged(found, None, query.agrees(found))
    if is_filtered or rule.rules.gap or _depends_on_k(plan):
        near = candidates_of(snapshot, rule, query)
    else:
        near = first(found, num_others(snapshot, rule, query))
    matches = near.rows[taken_of(snapshot, rule, query, near)]
    is_match = np.isin(found.rows, matches)
    if query.row is not None and plan.cut.is_tuned:
        same, different = decided_rows(snapshot, query.row)
        is_match = (is_match | np.isin(found.rows, same)) & ~np.isin(found.rows, different)
    return Judged(found, is_match, query.agrees(found))


def candidates_of(snapshot: Snapshot, rule: MatchRule, query: Query) -> Found:
    """What the rule chooses from, best first; an item of the store is none of its own."""
    return query.best(snapshot, num_others(snapshot, rule, query))


def num_others(snapshot: Snapshot, rule: MatchRule, query: Query) -> int:
    """How many candidates there are in a space: `--k` counts an item of the store itself."""
    return rule.k if query.row is None else num_columns(rule.k, snapshot.sides) - 1


def first(found: Found, k: int) -> Found:
    """The first k of what was found."""
    return Found(found.rows[:k], found.combined[:k], found.scores[:, :k])


def taken_of(
    snapshot: Snapshot, rule: MatchRule, query: Query, near: Found
) -> Bool[np.ndarray, " m"]:
    """Which candidates match by the plan's thresholds and the rule's other rules.

    What is none of the store's items is in nobody's neighbours: that they be mutual is left out.
    """
    thresholds = _thresholds(rule, query.plan)
    assert thresholds is not None
    candidates = _candidates(rule, near)
    limits = bounds(candidates, replace(rule.rules, reciprocal=False))
    taken = matches_of(candidates, limits, thresholds, takes_any=rule.takes_any)[0, 1:]
    if rule.rules.reciprocal and query.row is not None:
        asked = taken & ~limits.always[0, 1:]
        taken = taken & ~asked
        taken[asked] = [_finds(snapshot, rule, query, int(row)) for row in near.rows[asked]]
    return np.asarray(taken)


def _depends_on_k(plan: Plan) -> bool:
    """Whether a search for more than the rule's candidates has other ones among its first."""
    return len(plan.weights) > 1 and plan.combine in EVERY_CANDIDATE


def _thresholds(rule: MatchRule, plan: Plan) -> Float64[np.ndarray, "s 1"] | None:
    """The plan's thresholds in the order of its spaces; None where one is not known."""
    cut = plan.cut
    own = [cut.combined]
    if len(rule.thresholds) > 1:
        own = [cut.of_spaces.get(space) for space in plan.weights]
    known = [score for score in own if score is not None]
    return np.array(known)[:, None] if len(known) == len(own) else None


def _candidates(rule: MatchRule, near: Found) -> Candidates:
    """As a search of all items has them: itself first."""
    rows = np.append(NO_ROW, near.rows)[None]
    combined = np.append(np.float32(1), near.combined)[None]
    if len(rule.thresholds) == 1:
        return Candidates(rows, combined[None], combined)
    ones = np.ones((len(near.scores), 1), np.float32)
    return Candidates(rows, np.append(ones, near.scores, axis=1)[:, None], combined)


def _finds(snapshot: Snapshot, rule: MatchRule, query: Query, row: int) -> bool:
    """Whether an item has the one that is searched by among its own candidates."""
    plan = query.plan
    other = Query(plan, queries_of_row(snapshot, row, plan), row)
    return query.row in candidates_of(snapshot, rule, other).rows


def _reached(
    scores: Float32[np.ndarray, " m"], threshold: float | None
) -> Bool[np.ndarray, " m"] | None:
    if threshold is None:
        return None
    return np.asarray(reach(scores[None], np.array([threshold], np.float64))[0])
