"""On which rows a threshold is tuned and on which it is reported, and how sure the report is.

Whole groups (rows with one label) fall on one side, so that a threshold is reported on products
that it was not tuned on. The gallery is all selected rows on both sides and only the means are
taken by side: in half a gallery there would be half as many rows to be mistaken for a match, and a
threshold tuned there would be too low for the whole.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped

from embed.errors import SelectionError, SettingsError
from embed.rows import group_position
from retrieval.evaluation.intervals import bootstrap_interval
from retrieval.evaluation.judgements import Judgements
from retrieval.search.ranking import Neighbours
from retrieval.thresholds.curves import Pairs, ScoreCurve, metrics_at

NUM_FOLDS = {"cross-fit": 5, "holdout": 2, "same-rows": 1}


@dataclass(frozen=True)
class Tuned:
    """A threshold, and what each row is to be reported at.

    `threshold` is the one to use; `row_thresholds` are those that each row is reported at, tuned
    without the row's own group in an honest protocol; `is_reported` says which rows are. `curve`
    is that of the rows on which `threshold` was tuned, None where it was given.
    """

    threshold: float
    row_thresholds: Float64[np.ndarray, " n"]
    is_reported: Bool[np.ndarray, " n"]
    curve: ScoreCurve | None


@dataclass(frozen=True)
class Report:
    """Means over the reported rows; `interval` is that of row F1: 95 %, by resampling groups."""

    row_f1: float
    precision: float
    recall: float
    num_rows: int
    interval: tuple[float, float]


def refuse_unfit(num_groups: int, protocol: str) -> None:
    """Say what a protocol lacks before anything is computed.

    Raises:
        SettingsError: there is no such protocol.
        SelectionError: there are fewer groups than the protocol has folds.
    """
    if protocol not in NUM_FOLDS:
        known = ", ".join(NUM_FOLDS)
        raise SettingsError(f"there is no protocol '{protocol}': they are {known}")
    num_folds = NUM_FOLDS[protocol]
    if num_groups < num_folds:
        raise SelectionError(
            f"{protocol} needs {num_folds} groups or more and the selected rows have {num_groups}: "
            f"select more rows, or tune with --protocol same-rows, which is optimistic"
        )


def tuned(
    neighbours: Neighbours,
    judged: Judgements,
    groups: Shaped[np.ndarray, " l"],
    protocol: str,
    seed: int,
) -> Tuned:
    """The exactly best threshold under a protocol.

    same-rows: tuned and reported on all rows, which is optimistic. holdout: tuned on half of the
    groups, reported on the others. cross-fit: each fifth of the groups is reported at the threshold
    tuned on the other four; the one to use is tuned on all rows.

    Raises:
        SettingsError: there is no such protocol.
        SelectionError: there are fewer groups than the protocol has folds.
    """
    refuse_unfit(len(np.unique(judged.groups)), protocol)
    pairs = Pairs.of(neighbours, judged)
    folds = _folds(judged.groups, groups, protocol, seed)
    if protocol == "holdout":
        return _same_for_all(pairs.curve(folds == 0), is_reported=folds == 1)
    whole = _same_for_all(pairs.curve(), is_reported=np.ones(len(folds), bool))
    if protocol == "same-rows":
        return whole
    thresholds = np.array([pairs.best_threshold(folds != fold) for fold in range(folds.max() + 1)])
    return Tuned(whole.threshold, thresholds[folds], whole.is_reported, whole.curve)


def report(
    neighbours: Neighbours,
    judged: Judgements,
    tuning: Tuned,
    generator: np.random.Generator,
) -> Report:
    """What the reported rows reach, each at its own threshold, with an interval."""
    at = tuning.is_reported
    values = metrics_at(neighbours, judged, tuning.row_thresholds)[:, at]
    f1, precision, recall = values.mean(axis=1).tolist()
    interval = bootstrap_interval(values[0], judged.groups[at], generator)
    return Report(f1, precision, recall, int(at.sum()), interval)


def _folds(
    numbers: Int[np.ndarray, " q"], groups: Shaped[np.ndarray, " l"], protocol: str, seed: int
) -> Int[np.ndarray, " q"]:
    """The fold of each row: its groups in the order of a hash, cut into parts of equal number."""
    present, members = np.unique(numbers, return_inverse=True)
    # A head's split hashes the bare group: with the same hash here, the groups that a head has not
    # seen would all fall into the last fold.
    names = groups[present].tolist()
    ranks = np.argsort(np.argsort([group_position(f"threshold:{name}", seed) for name in names]))
    return np.asarray((ranks * NUM_FOLDS[protocol] // len(ranks))[members])


def _same_for_all(curve: ScoreCurve, is_reported: Bool[np.ndarray, " n"]) -> Tuned:
    threshold = curve.threshold(curve.best_cut())
    return Tuned(threshold, np.full(len(is_reported), threshold), is_reported, curve)
