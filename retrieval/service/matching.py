"""The matches of one item by the tuned rule: those that `retrieval match` writes."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int

from embed.errors import SettingsError
from retrieval.service.answering import Answer, Asked, of_given, refuse_unclear
from retrieval.service.asking import Judged, Plan, Use, cut_of, queries_of_row
from retrieval.service.deciding import with_decisions
from retrieval.service.search import Found
from retrieval.service.service import Snapshot
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.columns import num_columns
from retrieval.thresholds.match_rules import OWN_THRESHOLDS, MatchRule
from retrieval.thresholds.rules import bounds
from retrieval.thresholds.strategies import Fit, matches_of, reach


def matches(snapshot: Snapshot, asked: Asked) -> Answer:
    """The matches of what is asked for, by the rule's own spaces and thresholds.

    Raises:
        SettingsError: there is no rule, or it can't be used for this query.
        What `answer` raises.
    """
    refuse_unclear(snapshot, asked)
    rule = _rule(snapshot)
    if asked.id is None:
        found = of_given(snapshot, replace(asked, spaces=tuple(rule.spaces), k=rule.k))
        return replace(found, judged=found.judged.only_matches())
    row = snapshot.catalogue.row_of(asked.id)
    plan = _plan(snapshot, rule, row)
    return Answer(plan, _judged_matches(snapshot, rule, plan, row))


def _rule(snapshot: Snapshot) -> MatchRule:
    if snapshot.rule is None:
        raise SettingsError(
            "nothing says what a match is: serve with --threshold, a file or a score"
        )
    if snapshot.rule.refinements:
        raise SettingsError(
            "the threshold was tuned with refined neighbours, which single queries have not: "
            "use `python -m retrieval match`"
        )
    return snapshot.rule


def _plan(snapshot: Snapshot, rule: MatchRule, row: int) -> Plan:
    used_for: dict[str, Use] = dict.fromkeys(rule.spaces, "id")
    spaces = tuple(rule.spaces)
    return Plan(dict(rule.spaces), used_for, rule.combine, cut_of(snapshot, spaces, row))


def _judged_matches(snapshot: Snapshot, rule: MatchRule, plan: Plan, row: int) -> Judged:
    found = _neighbours(snapshot, rule, plan, row)
    taken = _taken(snapshot, rule, plan, row, found)
    few = Found(found.rows[taken], found.combined[taken], found.scores[:, taken])
    few = with_decisions(snapshot, rule, row, few)
    agrees = {
        name: _agrees(plan, name, scores)
        for name, scores in zip(plan.weights, few.scores, strict=True)
    }
    return Judged(few, np.ones(len(few.rows), bool), agrees)


def _agrees(
    plan: Plan, space: str, scores: "np.ndarray[tuple[int], np.dtype[np.float32]]"
) -> Bool[np.ndarray, " m"] | None:
    least = plan.cut.of_space(space)
    return None if least is None else np.asarray(reach(scores[None], np.array([least]))[0])


def _neighbours(snapshot: Snapshot, rule: MatchRule, plan: Plan, row: int) -> Found:
    """The candidates of an item, without itself, best first."""
    others = num_columns(rule.k, snapshot.sides) - 1
    queries = queries_of_row(snapshot, row, plan)
    return snapshot.searcher.best(queries, others, combine=rule.combine, without=row)


def _taken(
    snapshot: Snapshot, rule: MatchRule, plan: Plan, row: int, found: Found
) -> Bool[np.ndarray, " m"]:
    candidates = _candidates(rule, row, found)
    limits = bounds(candidates, replace(rule.rules, reciprocal=False))
    if rule.rules.reciprocal:
        mutual = np.append(True, _mutual(snapshot, rule, plan, row, found.rows))[None]
        limits = replace(limits, possible=(limits.possible & mutual) | limits.always)
    fit = Fit(rule.thresholds, 0.0, rule.by_category)
    own = None
    if rule.category is not None:
        own = np.array([str(snapshot.catalogue.texts(rule.category)[row])])
    taken = matches_of(candidates, limits, fit.of_rows(own), takes_any=rule.takes_any)
    return np.asarray(taken[0, 1:])


def _candidates(rule: MatchRule, row: int, found: Found) -> Candidates:
    """As a search of all items has them: itself first."""
    rows = np.append(row, found.rows)[None]
    combined = np.append(np.float32(1), found.combined)[None]
    if len(rule.spaces) > 1 and rule.combine in OWN_THRESHOLDS:
        ones = np.ones((len(found.scores), 1), np.float32)
        return Candidates(rows, np.append(ones, found.scores, axis=1)[:, None], combined)
    return Candidates(rows, combined[None], combined)


def _mutual(
    snapshot: Snapshot, rule: MatchRule, plan: Plan, row: int, rows: Int[np.ndarray, " m"]
) -> Bool[np.ndarray, " m"]:
    """Which of these rows have the item among their own candidates."""
    found = [row in _neighbours(snapshot, rule, plan, int(each)).rows for each in rows]
    return np.array(found, bool)
