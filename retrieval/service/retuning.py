"""Tuning the served threshold again with what people have decided, and what that changes."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from embed.errors import OutputError, SelectionError
from embed.files import replacing
from embed.rows import Where
from retrieval.decisions.journal import Decisions
from retrieval.decisions.pairs import DecidedPairs
from retrieval.selection import evaluation_rows
from retrieval.service.background import Report
from retrieval.service.doubtful import matching_pairs
from retrieval.service.pairs import finding_of
from retrieval.service.service import Snapshot
from retrieval.thresholds.columns import DEFAULT_K, asked_k
from retrieval.thresholds.files import save
from retrieval.thresholds.match_rules import MatchRule, categories_of
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.preparing import Prepared, prepare
from retrieval.thresholds.protocols import given, refuse_unfit, report
from retrieval.thresholds.strategies import Fit
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import ThresholdResult, tune_prepared

PAIRS_SHARE, TUNED_SHARE = 0.4, 0.7
"""Of all the work: the candidates of all items, and these with the tuning."""

Pairs = Mapping[tuple[int, int], float]


@dataclass(frozen=True)
class Reached:
    """What a threshold reaches on the rows that are judged; decisions go before labels.

    `num_matches` are pairs of two items of the whole store, each once, decisions honoured.
    """

    thresholds: tuple[float, ...]
    figures: Mapping[str, float | None]
    interval: tuple[float, float] | None
    protocol: str
    num_rows: int
    num_matches: int


@dataclass(frozen=True)
class Change:
    """A pair of rows that matched and does not any more, or the other way round."""

    one: int
    other: int
    score: float
    is_match: bool


@dataclass(frozen=True)
class Retuned:
    """A threshold that was tuned again, beside the one that is served.

    `is_other` says whether the two differ. `changes` are all pairs that change sides, nearest to
    the new threshold first.
    """

    result: ThresholdResult
    before: Reached
    after: Reached
    num_decisions: int
    is_other: bool
    changes: tuple[Change, ...]


def retuned(snapshot: Snapshot, decisions: Decisions, progress: Report) -> Retuned:
    """Tune the threshold of a snapshot again, with the decisions of a file.

    Raises:
        SettingsError: no threshold is served.
        SelectionError: too little was decided, where there are no labels.
        What `tune_threshold` raises.
    """
    snapshot.needed_rule()
    rule = snapshot.pairs_rule
    candidates = snapshot.pairs.followed(progress, PAIRS_SHARE)
    prepared, result = _tuned(snapshot, rule, decisions)
    progress(TUNED_SHARE)
    categories = categories_of(snapshot.sides, rule.category)
    decided = DecidedPairs.of(snapshot.sides, decisions.standing.values())
    old, new = (
        _honoured(matching_pairs(candidates, each, categories), decided)
        for each in (rule, _moved(rule, result.rule))
    )
    return Retuned(
        result=result,
        before=_before(prepared, result.seed, rule, len(old)),
        after=_after(result, len(new)),
        num_decisions=decided.num_pairs,
        is_other=_accepted(rule) != _accepted(result.rule),
        changes=_changes(old, new, result.rule),
    )


def accept(snapshot: Snapshot, result: ThresholdResult) -> Path:
    """Write a threshold in the place of the one that is served, and return its file.

    The old file is kept beside it as `.previous`; where a score was served, a new file is made
    beside the store. Its picture is drawn again where there is one.

    Raises:
        OutputError: it can't be written; the old file is as it was.
    """
    path = snapshot.store.path.with_suffix(".threshold.json")
    if snapshot.threshold is not None:
        path = Path(str(snapshot.settings.threshold))
    if path.exists():
        with replacing(path.with_name(f"{path.name}.previous")) as temporary:
            temporary.write_bytes(path.read_bytes())
    save(result, path, force=True)
    picture = path.with_suffix(".png")
    if picture.exists() and result.picture is not None:
        from retrieval.thresholds.plots import plot_threshold  # takes half a second

        with suppress(OutputError):  # the threshold is there, and counts
            plot_threshold(result, picture)
    return path


def _tuned(
    snapshot: Snapshot, rule: MatchRule, decisions: Decisions
) -> tuple[Prepared, ThresholdResult]:
    """The judged rows as they were made ready, and what was tuned on them."""
    settings = _settings(snapshot, rule, decisions)
    rows = evaluation_rows(snapshot.store, settings)
    settings = _with_groups_enough(settings, rows.num_groups)
    prepared = prepare(rows, settings, asked_k(settings.k, rows.sides))
    return prepared, tune_prepared(snapshot.store, settings, rows, prepared)


def _settings(snapshot: Snapshot, rule: MatchRule, decisions: Decisions) -> TuneSettings:
    """How the served threshold was tuned, as far as it says so."""
    served = snapshot.threshold
    selection = {} if served is None else served.selection
    split = selection.get("split_column", ())
    return TuneSettings(
        tuple(rule.spaces),
        snapshot.label,
        where=_wheres(selection, "where"),
        query_where=_wheres(selection, "query_where"),
        gallery_where=_wheres(selection, "gallery_where"),
        unseen_by=tuple(selection.get("unseen_by", ())),
        split_column=split[0] if split else None,
        include_training_rows="include_training_rows" in selection,
        decisions=decisions,
        k=None if rule.k == DEFAULT_K else min(rule.k, len(snapshot.store)),
        combine=rule.combine,
        weights=dict(rule.spaces) if len(rule.spaces) > 1 else {},
        objective=_objective(snapshot),
        rules=rule.rules,
        threshold_by=rule.category,
        calibrate=rule.calibration is not None,
        finding=rule.found_by(finding_of(snapshot.settings)),
        protocol="cross-fit" if served is None else served.protocol,
        seed=0 if served is None else served.seed,
    )


def _objective(snapshot: Snapshot) -> Objective:
    """What was tuned for; without labels, rows that nobody has judged can't be counted."""
    served = snapshot.threshold
    objective = Objective() if served is None else served.objective
    is_of_rows = snapshot.label is None and objective.name == "row-f1"
    return Objective("pair-f1") if is_of_rows else objective


def _wheres(selection: Mapping[str, tuple[str, ...]], option: str) -> tuple[Where, ...]:
    return tuple(map(Where.parse, selection.get(option, ())))


def _with_groups_enough(settings: TuneSettings, num_groups: int) -> TuneSettings:
    """Few decisions alone may be in too few groups to hold any of them out."""
    try:
        refuse_unfit(num_groups, settings.protocol)
    except SelectionError:
        if settings.label is not None:
            raise
        return replace(settings, protocol="same-rows")
    return settings


def _before(prepared: Prepared, seed: int, rule: MatchRule, num_matches: int) -> Reached:
    """What the served threshold reaches on the same rows."""
    tuning = given(prepared.strategy, Fit(rule.thresholds, 0.0, rule.by_category))
    found = report(tuning, prepared.members, np.random.default_rng(seed))
    return Reached(
        rule.thresholds, found.figures, found.interval, "given", found.num_rows, num_matches
    )


def _after(result: ThresholdResult, num_matches: int) -> Reached:
    return Reached(
        result.rule.thresholds,
        result.reached,
        result.interval,
        result.protocol,
        result.num_reported,
        num_matches,
    )


def _moved(rule: MatchRule, tuned: MatchRule) -> MatchRule:
    """The served rule with other thresholds: its candidates are those that are known."""
    return replace(rule, thresholds=tuned.thresholds, by_category=tuned.by_category)


def _accepted(rule: MatchRule) -> tuple[Any, ...]:
    """What accepting a threshold that was tuned again can change."""
    return rule.thresholds, dict(rule.by_category), rule.calibration


def _honoured(pairs: Pairs, decided: DecidedPairs) -> Pairs:
    """The matches with those that were decided to be the same, without the different ones."""
    found = dict(pairs)
    positions = zip(decided.queries.tolist(), decided.gallery.tolist(), strict=True)
    for pair, is_same in zip(positions, decided.is_same.tolist(), strict=True):
        if pair[0] < pair[1]:
            if is_same:
                found.setdefault(pair, np.nan)
            else:
                found.pop(pair, None)
    return found


def _changes(before: Pairs, after: Pairs, rule: MatchRule) -> tuple[Change, ...]:
    changes = [Change(*pair, before[pair], False) for pair in before.keys() - after.keys()]
    changes += [Change(*pair, after[pair], True) for pair in after.keys() - before.keys()]
    cut = rule.thresholds[0]
    return tuple(sorted(changes, key=lambda each: (abs(each.score - cut), each.one, each.other)))
