"""How well a space finds what belongs together: at a threshold, and as a ranking."""

from dataclasses import dataclass, replace

from embed.errors import SettingsError
from embed.store import Store
from retrieval.evaluation.contenders import CROSS_FIT, GIVEN, NO_THRESHOLD, SpaceContender
from retrieval.evaluation.evaluations import Evaluation, evaluate_on
from retrieval.selection import EvaluationRows, Selection, evaluation_rows
from retrieval.thresholds.files import fit_to_store
from retrieval.thresholds.tuned import DEFAULT_K, ThresholdResult, refuse_small_k

TUNED_HERE = "the threshold was tuned on these rows, so row F1 is optimistic: leave it out for a \
cross-fitted figure"
MAY_BE_TUNED_HERE = "the threshold may have been tuned on some of these rows, and row F1 would be \
optimistic then: leave it out for a cross-fitted figure"


@dataclass(frozen=True)
class EvaluateSettings(Selection):
    """What to evaluate, and at which threshold.

    Attributes:
        threshold: a score, or a tuned threshold; None tunes one by cross-fit.
        k: neighbours of each item, itself included where items look among one another; None takes
            the tuned threshold's, else 50.
        seed: of the folds and of the draws for the intervals.
        by: a column of the queries; every metric is shown for each of its values as well.
        ranking_only: no threshold is tuned or looked at.
    """

    threshold: float | ThresholdResult | None = None
    k: int | None = None
    seed: int = 0
    by: str | None = None
    ranking_only: bool = False

    def __post_init__(self) -> None:
        if self.ranking_only and self.threshold is not None:
            raise SettingsError("--ranking-only looks at no threshold: leave --threshold out")


def evaluate(
    store: Store, settings: EvaluateSettings, gallery_store: Store | None = None
) -> Evaluation:
    """What a space reaches as a ranking and at a threshold, by cross-fit where none is given.

    With a `gallery_store` the queries of `store` look among the rows of that one.

    Raises:
        StoreError: there is no such space or column, or a vector is not finite.
        FingerprintError: the threshold was tuned on other vectors.
        ThresholdError: the threshold was tuned on another space.
        SelectionError: no rows are left, no two share a label, or there are too few groups.
        SettingsError: k is below 2, or there is not one space.
    """
    contender = _contender(store, settings)
    rows = evaluation_rows(store, settings, gallery_store)
    found = evaluate_on(rows, contender, seed=settings.seed, by=settings.by)
    return replace(found, warnings=found.warnings + _tuned_here(settings, rows))


def protocol_of(settings: EvaluateSettings) -> str:
    """Where the threshold comes from."""
    if settings.ranking_only:
        return NO_THRESHOLD
    return CROSS_FIT if settings.threshold is None else GIVEN


def _contender(store: Store, settings: EvaluateSettings) -> SpaceContender:
    if len(settings.spaces) != 1:
        raise SettingsError(
            f"one space is evaluated at a time: found {', '.join(settings.spaces) or 'none'}; "
            f"`python -m retrieval compare` sets several side by side"
        )
    space, k, score, given = settings.spaces[0], settings.k, None, settings.threshold
    if given is not None:
        cut = fit_to_store(store, given, space, k)
        k, score = cut.k, cut.score
    k = DEFAULT_K if k is None else k
    refuse_small_k(k)
    return SpaceContender(space, k, protocol_of(settings), score, settings.seed)


def _tuned_here(settings: EvaluateSettings, rows: EvaluationRows) -> tuple[str, ...]:
    """A warning where the threshold was tuned on these rows, or may have been on some of them.

    A threshold file does not list its rows, so any selection by the same labels may overlap. A
    holdout tunes on half of its rows. Other counts of the same selection are of another catalogue.
    """
    given = settings.threshold
    if not isinstance(given, ThresholdResult) or given.label != settings.label:
        return ()
    here = (tuple(map(str, settings.where)), settings.unseen_by, settings.split_column)
    there = (given.where, given.unseen_by, given.split_column)
    same_counts = (given.num_rows, given.num_groups) == (len(rows.sides.gallery), rows.num_groups)
    is_same = here == there and same_counts and given.protocol != "holdout"
    return (TUNED_HERE if is_same else MAY_BE_TUNED_HERE,)
