"""How well spaces find what belongs together: at a threshold, and as a ranking."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isclose

from embed.errors import SettingsError, ThresholdError
from embed.store import Store
from retrieval.evaluation.contenders import MARKS, SpacesContender
from retrieval.evaluation.evaluations import Evaluation, evaluate_on
from retrieval.finding import EXACT, Finding
from retrieval.search.combined import shares_of
from retrieval.selection import EvaluationRows, Selection, evaluation_rows
from retrieval.thresholds.columns import DEFAULT_K, asked_k
from retrieval.thresholds.match_rules import OWN_THRESHOLDS, MatchRule
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import ThresholdResult, restrictions

CONCAT = "concat"

TUNED_HERE = "the threshold was tuned on these rows, so row F1 is optimistic: leave it out for a \
cross-fitted figure"
MAY_BE_TUNED_HERE = "the threshold may have been tuned on some of these rows, and row F1 would be \
optimistic then: leave it out for a cross-fitted figure"


@dataclass(frozen=True)
class EvaluateSettings(Selection):
    """What to evaluate, and at which threshold.

    Attributes:
        threshold: a score, or a tuned threshold, which knows how its spaces are combined; None
            tunes one by cross-fit.
        k: neighbours of each item, itself included where items look among one another; None takes
            the tuned threshold's, else 50.
        combine, weights: of several spaces; `retrieval.thresholds.gathering` explains them. None
            and no weights take the tuned threshold's, else concat and 1 each.
        finding: how neighbours are found; refinements are those of a tuned threshold.
        objective: what the cross-fitted threshold is to be the best for.
        seed: of the folds and of the draws for the intervals.
        by: a column of the queries; every metric is shown for each of its values as well.
        ranking_only: no threshold is tuned or looked at.
    """

    threshold: float | ThresholdResult | None = None
    k: int | None = None
    combine: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    finding: Finding = EXACT
    objective: Objective = field(default_factory=Objective)
    seed: int = 0
    by: str | None = None
    ranking_only: bool = False

    def __post_init__(self) -> None:
        if self.ranking_only and self.threshold is not None:
            raise SettingsError("--ranking-only looks at no threshold: leave --threshold out")


def evaluate(
    store: Store, settings: EvaluateSettings, gallery_store: Store | None = None
) -> Evaluation:
    """What spaces reach as a ranking and at a threshold, by cross-fit where none is given.

    With a `gallery_store` the queries of `store` look among the rows of that one.

    Raises:
        StoreError: there is no such space or column, or a vector is not finite or, in a dense
            space, zero.
        FingerprintError: the threshold was tuned on other vectors.
        ThresholdError: the threshold was tuned on other spaces.
        SelectionError: no rows are left, no two share a label, or there are too few groups.
        SettingsError: k is below 2 or above the number of items, or settings that do not fit one
            another or the threshold.
    """
    given = _given_rule(store, settings)
    rows = evaluation_rows(store, settings, gallery_store)
    rule = _with_k(given, settings, rows)
    tuning = TuneSettings(
        settings.spaces,
        settings.label,
        k=settings.k,
        combine=rule.combine if rule is not None else settings.combine or CONCAT,
        weights=settings.weights,
        finding=settings.finding,
        objective=settings.objective,
        seed=settings.seed,
    )
    name = MARKS[tuning.combine].join(settings.spaces)
    contender = SpacesContender(name, tuning, rule, settings.ranking_only)
    found = evaluate_on(rows, contender, seed=settings.seed, by=settings.by)
    return replace(found, warnings=found.warnings + _tuned_here(settings, rows))


def _given_rule(store: Store, settings: EvaluateSettings) -> MatchRule | None:
    """The given threshold, checked against the store; None where one is to be tuned."""
    given, spaces = settings.threshold, settings.spaces
    if given is None:
        return None
    if isinstance(given, ThresholdResult):
        if set(spaces) != set(given.rule.spaces):
            tuned_on, named = "', '".join(given.rule.spaces), "', '".join(spaces)
            raise ThresholdError(
                f"the threshold was tuned on space '{tuned_on}', not on '{named}': tune one for "
                f"that, or name the spaces that it was tuned on"
            )
        _refuse_other_combination(settings, given.rule)
        given.rule.refuse_other_vectors(store)
        return given.rule
    if len(spaces) > 1 and settings.combine in OWN_THRESHOLDS:
        raise SettingsError(
            f"--combine {settings.combine} cuts each space at a threshold of its own, and "
            f"{given:g} is one score: give a threshold file"
        )
    return MatchRule(
        _shares(settings),
        (given,),
        DEFAULT_K,
        settings.combine or CONCAT,
        refinements=settings.finding.applied,
    )


def _refuse_other_combination(settings: EvaluateSettings, rule: MatchRule) -> None:
    """Raise SettingsError where spaces are to be combined otherwise than the threshold has it."""
    if len(rule.spaces) > 1 and settings.combine not in (None, rule.combine):
        raise SettingsError(
            f"the threshold was tuned with --combine {rule.combine}, not {settings.combine}: "
            f"leave --combine out, or tune one with it"
        )
    asked = _shares(settings)
    if settings.weights and any(not isclose(asked[s], rule.spaces[s]) for s in asked):
        shares = ", ".join(f"{name} {share:.4g}" for name, share in rule.spaces.items())
        raise SettingsError(
            f"the threshold was tuned with other shares than --weight says: {shares}; leave "
            f"--weight out, or tune one with it"
        )


def _shares(settings: EvaluateSettings) -> dict[str, float]:
    return shares_of({space: settings.weights.get(space, 1.0) for space in settings.spaces})


def _with_k(
    rule: MatchRule | None, settings: EvaluateSettings, rows: EvaluationRows
) -> MatchRule | None:
    """The rule with the k that is asked for; a tuned one has its own where none is."""
    if rule is None or (settings.k is None and isinstance(settings.threshold, ThresholdResult)):
        return rule
    return replace(rule, k=asked_k(settings.k, rows.sides))


def _tuned_here(settings: EvaluateSettings, rows: EvaluationRows) -> tuple[str, ...]:
    """A warning where the threshold was tuned on these rows, or may have been on some of them.

    A threshold file does not list its rows, so any selection by the same labels may overlap. A
    holdout tunes on half of its rows. Other counts of the same selection are of another catalogue.
    """
    given, sides = settings.threshold, rows.sides
    if not isinstance(given, ThresholdResult) or given.label != settings.label:
        return ()
    counts = (len(sides.queries), len(sides.gallery), rows.num_groups)
    is_same = (
        given.selection == restrictions(settings)
        and (given.num_rows, given.num_gallery, given.num_groups) == counts
        and given.protocol != "holdout"
    )
    return (TUNED_HERE if is_same else MAY_BE_TUNED_HERE,)
