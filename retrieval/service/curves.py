"""What every threshold would give, at some hundred of them: the picture behind a slider."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from embed.errors import SettingsError
from retrieval.service.background import Background, Report
from retrieval.service.figures import Labelled, StoreFigures, figures_of
from retrieval.service.service import Snapshot
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.objectives import best_cut
from retrieval.thresholds.rules import Bounds
from retrieval.thresholds.strategies import NO_MATCH
from retrieval.thresholds.sweeps import ABOVE_HIGHEST, Sweep, threshold_between

NUM_EVEN, NUM_BY_RANK = 280, 200
"""Points at even steps of the score, and at ever larger numbers of pairs; two more are chosen and
best, so that there are never more than 512."""

FIGURES_SHARE = 0.8
"""Of all the work, that for the figures."""


@dataclass(frozen=True)
class Curve:
    """What each of p thresholds gives, ascending; the figures are None where there are no labels.

    Attributes:
        space: the space whose threshold it is, where each has its own: the others stay as they are.
        thresholds: the least scores of a match.
        num_pairs, num_items_with_match: among all items.
        row_f1, precision, recall: means over the labelled rows that no head has seen.
        chosen: the threshold in use, None where there is none; it is one of the points.
        best: the one with the highest row F1 of all there are; likewise.
    """

    space: str | None
    thresholds: Float64[np.ndarray, " p"]
    num_pairs: Int64[np.ndarray, " p"]
    num_items_with_match: Int64[np.ndarray, " p"]
    row_f1: Float64[np.ndarray, " p"] | None
    precision: Float64[np.ndarray, " p"] | None
    recall: Float64[np.ndarray, " p"] | None
    chosen: float | None
    best: float | None


def curve_of(snapshot: Snapshot, space: str | None = None) -> Background[Curve]:
    """The curve of the one threshold, or of that of a space where each has its own.

    Raises:
        SettingsError: no threshold is of that space.
    """
    rule = snapshot.pairs_rule
    if len(rule.thresholds) > 1:
        spaces = list(rule.spaces)
        number = 0 if space is None else _number(spaces, space)
        return snapshot.works.once(
            ("curve", spaces[number]), lambda report: _curve(snapshot, number, report)
        )
    if space is not None and [space] != list(rule.spaces):
        raise SettingsError(f"one threshold counts for all spaces: leave out space={space[:200]}")
    return snapshot.works.once(("curve",), lambda report: _curve(snapshot, 0, report))


def _number(spaces: list[str], space: str) -> int:
    if space not in spaces:
        raise SettingsError(
            f"no threshold is of space '{space[:200]}': they are of {', '.join(spaces)}"
        )
    return spaces.index(space)


def _curve(snapshot: Snapshot, number: int, report: Report) -> Curve:
    figures = figures_of(snapshot).followed(report, FIGURES_SHARE)
    return make_curve(figures, number, snapshot.rule)


def make_curve(figures: StoreFigures, number: int, rule: MatchRule | None) -> Curve:
    """The curve of the threshold of that number; `rule` says which is in use, None: none is."""
    thresholds = np.array(figures.rule.thresholds)[:, None]
    table = figures.everything.table.along(number, thresholds)
    of_pairs, of_items = _rising(table.pairs[0]), _rising(table.items[0, :, 1:].max(axis=1))
    swept = None if figures.labelled is None else _swept(figures.labelled, number, thresholds)
    chosen = None if rule is None else rule.thresholds[number]
    best = None if swept is None else swept.best
    points = _points(of_pairs, [point for point in (chosen, best) if point is not None])
    f1, precision, recall = (None,) * 3 if swept is None else swept.at(points)
    return Curve(
        list(figures.rule.spaces)[number] if len(thresholds) > 1 else None,
        points,
        _num_at_least(of_pairs, points),
        _num_at_least(of_items, points),
        f1,
        precision,
        recall,
        chosen,
        best,
    )


@dataclass(frozen=True)
class _Swept:
    """The means over rows at each of c cuts, the highest first, where nothing is taken."""

    lowest: Float64[np.ndarray, " c"]
    means: Float64[np.ndarray, "3 c"]

    @property
    def best(self) -> float:
        """The threshold with the highest row F1; among equal ones that with the fewest matches."""
        return threshold_between(self.lowest, best_cut(self.means[0]))

    def at(self, thresholds: Float64[np.ndarray, " p"]) -> Float64[np.ndarray, "3 p"]:
        """The means at thresholds."""
        cuts = np.searchsorted(-self.lowest, -thresholds, side="right") - 1
        return self.means[:, cuts]


def _swept(labelled: Labelled, number: int, thresholds: Float64[np.ndarray, "s 1"]) -> _Swept:
    (scores,) = labelled.join.table.along(number, thresholds).items
    always, possible = scores == np.inf, scores > -np.inf
    # What is always taken is no cut, but has to have a score.
    sweep = Sweep(np.where(always, np.float32(1), scores), labelled.judged)
    cuts = sweep.cuts(Bounds(always, possible))
    means = [cuts.sums(gain) / cuts.num_rows for gain in ("f1", "precision", "recall")]
    return _Swept(cuts.lowest, np.stack(means))


def _rising(scores: Float32[np.ndarray, " m"]) -> Float32[np.ndarray, " r"]:
    """The scores that can be reached, ascending; +inf where a threshold is of no account."""
    return np.sort(scores[scores > -np.inf])


def _num_at_least(
    rising: Float32[np.ndarray, " m"], thresholds: Float64[np.ndarray, " p"]
) -> Int64[np.ndarray, " p"]:
    """How many scores are not below each threshold."""
    below = np.searchsorted(rising.astype(np.float64), thresholds, side="left")
    return (len(rising) - below).astype(np.int64)


def _points(rising: Float32[np.ndarray, " m"], more: list[float]) -> Float64[np.ndarray, " p"]:
    """Thresholds from where all candidates match to where none does, ascending.

    Each lies halfway between two scores, as tuned ones do. Even steps of the score show the whole
    picture, steps by the number of pairs those few that score best, where thresholds are.
    """
    open_scores = rising[np.isfinite(rising)].astype(np.float64)
    if len(open_scores) == 0:
        return np.unique([*more, NO_MATCH])
    even = np.linspace(open_scores[0], open_scores[-1], NUM_EVEN)
    ranks = np.geomspace(1, len(open_scores), NUM_BY_RANK).astype(np.int64)
    distinct = np.unique(open_scores)
    wanted = np.concatenate([even, open_scores[-ranks]])
    # The highest score that is taken at each, and what lies next below it.
    places = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
    halfway = (distinct[places] + distinct[np.maximum(places - 1, 0)]) / 2
    return np.unique([*halfway, open_scores[-1] + ABOVE_HIGHEST, *more])
