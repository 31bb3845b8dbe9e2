"""The matches of one item by the tuned rule: those that `retrieval match` writes."""

from dataclasses import replace

import numpy as np

from embed.errors import SettingsError
from retrieval.service.answering import RECIPROCAL, REFINED, Answer, Asked, query_of
from retrieval.service.asking import Judged
from retrieval.service.deciding import with_decisions
from retrieval.service.judging import candidates_of, taken_of
from retrieval.service.search import Found
from retrieval.service.service import Snapshot
from retrieval.thresholds.match_rules import MatchRule


def matches(snapshot: Snapshot, asked: Asked) -> Answer:
    """The matches of what is asked for, by the rule's own spaces and thresholds.

    Raises:
        SettingsError: there is no rule, or it can't be used for this query.
        What `answer` raises.
    """
    rule = _rule(snapshot, asked)
    query, warnings = query_of(snapshot, replace(asked, spaces=tuple(rule.spaces)))
    near = candidates_of(snapshot, rule, query)
    taken = taken_of(snapshot, rule, query, near)
    few = Found(near.rows[taken], near.combined[taken], near.scores[:, taken])
    if query.row is not None:
        few = with_decisions(snapshot, rule, query.row, few)
    what = Judged(few, np.ones(len(few.rows), bool), query.agrees(few))
    return Answer(query.plan, what, tuple(warnings))


def _rule(snapshot: Snapshot, asked: Asked) -> MatchRule:
    rule = snapshot.needed_rule()
    if rule.refinements:
        raise SettingsError(f"{REFINED}: use `python -m retrieval match`")
    if rule.rules.reciprocal and asked.id is None:
        raise SettingsError(f"{RECIPROCAL}: ask by an id, or search for it with /search")
    return rule
