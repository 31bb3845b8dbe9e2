"""A threshold as JSON, and back: what its file holds, each value checked as it is read."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from retrieval.refining.refinements import Refinements
from retrieval.search.combined import shares_of
from retrieval.thresholds.calibration import Calibration
from retrieval.thresholds.checked_json import (
    integer,
    json_object,
    number,
    numbers,
    optional_number,
    score,
    switch,
    text,
)
from retrieval.thresholds.columns import refuse_small_k
from retrieval.thresholds.gathering import COMBINATIONS
from retrieval.thresholds.match_rules import OWN_THRESHOLDS, MatchRule
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.tuning import ThresholdResult

FORMAT = "retrieval-threshold"
FORMAT_VERSION = 2
COUNTS = ("seed", "num_rows", "num_groups", "num_gallery", "num_reported")
OF_ROWS = ("row_f1", "precision", "recall")
OF_PAIRS = ("pair_f1", "pair_precision", "pair_recall")


def to_json(result: ThresholdResult) -> dict[str, Any]:
    """What the file and `--json` hold: all but the picture, and no interval of None.

    `score_threshold` and `distance_threshold` are null where each space has its own, in `spaces`.
    """
    rule = result.rule
    (common,) = rule.thresholds if len(rule.thresholds) == 1 else (None,)
    values = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "spaces": _spaces_to_json(rule),
        "combine": rule.combine,
        "k": rule.k,
        "score_threshold": common,
        "distance_threshold": None if common is None else 1 - common,
        **result.reached,
        "interval": result.interval,
        "row_f1_alone": result.row_f1_alone,
        "where_tuned": dict(result.where_tuned),
        "objective": result.objective.name,
        "wanted": result.objective.wanted,
        "label": result.label,
        "protocol": result.protocol,
        **{name: getattr(result, name) for name in COUNTS},
        "is_self_join": result.is_self_join,
        "recall_within_k": result.recall_within_k,
        "selection": {option: list(values) for option, values in result.selection.items()},
        "rules": asdict(rule.rules),
        "refinements": rule.refinements.to_json(),
        "category": rule.category,
        "by_category": {name: list(own) for name, own in rule.by_category.items()},
        "calibration": None if rule.calibration is None else asdict(rule.calibration),
        "warnings": list(result.warnings),
    }
    if result.interval is None:
        del values["interval"]
    return values


def _spaces_to_json(rule: MatchRule) -> dict[str, dict[str, Any]]:
    own = rule.thresholds if len(rule.thresholds) > 1 else [None] * len(rule.spaces)
    return {
        space: {
            "fingerprint": rule.fingerprints[space],
            "weight": weight,
            **({} if cut is None else {"score_threshold": cut, "distance_threshold": 1 - cut}),
        }
        for (space, weight), cut in zip(rule.spaces.items(), own, strict=True)
    }


def from_json(values: Mapping[str, Any]) -> ThresholdResult:
    """A threshold from what `to_json` gave; it has no picture.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, SettingsError: it is not that.
    """
    return ThresholdResult(
        rule=_rule_from_json(values),
        objective=Objective(values["objective"], values["wanted"]),
        selection={
            option: tuple(given) for option, given in json_object(values, "selection").items()
        },
        reached=_figures(values),
        row_f1_alone=number(values, "row_f1_alone"),
        where_tuned=_figures(json_object(values, "where_tuned")),
        interval=_pair(values) if "interval" in values else None,
        warnings=tuple(values["warnings"]),
        label=None if values["label"] is None else text(values, "label"),
        protocol=text(values, "protocol"),
        recall_within_k=number(values, "recall_within_k"),
        seed=integer(values, "seed"),
        num_rows=integer(values, "num_rows"),
        num_groups=integer(values, "num_groups"),
        num_gallery=integer(values, "num_gallery"),
        is_self_join=switch(values, "is_self_join"),
        num_reported=integer(values, "num_reported"),
    )


def _figures(values: Mapping[str, Any]) -> dict[str, float | None]:
    """What rows reach, and what pairs do: null where there are none."""
    of_pairs = {name: optional_number(values, name) for name in OF_PAIRS}
    return {name: number(values, name) for name in OF_ROWS} | of_pairs


def _rule_from_json(values: Mapping[str, Any]) -> MatchRule:
    spaces = json_object(values, "spaces")
    combine = text(values, "combine")
    if not spaces or combine not in COMBINATIONS:
        raise ValueError("it names no spaces, or a combination that there is not")
    each_has_own = len(spaces) > 1 and combine in OWN_THRESHOLDS
    parts = spaces.values() if each_has_own else [values]
    weights = {name: number(space, "weight") for name, space in spaces.items()}
    size = 1.0 if each_has_own else sum(map(abs, shares_of(weights).values()))
    thresholds = tuple(score(part, "score_threshold", size) for part in parts)
    refuse_small_k(integer(values, "k"), 1)
    return MatchRule(
        spaces=weights,
        thresholds=thresholds,
        k=values["k"],
        combine=combine,
        fingerprints={name: text(space, "fingerprint") for name, space in spaces.items()},
        rules=_rules(json_object(values, "rules")),
        category=None if values["category"] is None else text(values, "category"),
        by_category=_by_category(json_object(values, "by_category"), len(thresholds), size),
        calibration=_calibration(values),
        refinements=Refinements.from_json(json_object(values, "refinements")),
    )


def _rules(values: Mapping[str, Any]) -> Rules:
    if unknown := set(values) - {field.name for field in fields(Rules)}:
        raise ValueError(f"there is no rule {min(unknown)!r}")
    at_most = None if values["at_most"] is None else integer(values, "at_most")
    switches = {name: switch(values, name) for name in ("gap", "reciprocal")}
    return Rules(integer(values, "at_least"), at_most, **switches)


def _by_category(
    values: Mapping[str, Any], num_common: int, size: float
) -> dict[str, tuple[float, ...]]:
    own = {
        name: tuple(score({place: given}, place, size) for given in numbers({place: found}, place))
        for name, found in values.items()
        for place in [f"by_category of '{name}'"]
    }
    if any(len(thresholds) != num_common for thresholds in own.values()):
        raise ValueError("by_category should have as many thresholds as there are in common")
    return own


def _calibration(values: Mapping[str, Any]) -> Calibration | None:
    if values["calibration"] is None:
        return None
    knots = json_object(values, "calibration")
    scores, probabilities = (numbers(knots, name) for name in ("scores", "probabilities"))
    rise = all(list(line) == sorted(line) for line in (scores, probabilities))
    if not scores or len(scores) != len(probabilities) or not rise:
        raise ValueError("a calibration has as many rising scores as rising probabilities")
    return Calibration(scores, probabilities)


def _pair(values: Mapping[str, Any]) -> tuple[float, float]:
    bounds = numbers(values, "interval")
    if len(bounds) != 2:
        raise ValueError(f"interval should have two ends: found {list(bounds)}")
    return bounds[0], bounds[1]
