"""On which rows a threshold is tuned and on which it is reported, and how sure the report is.

Whole groups (rows with one label) fall on one side, so that a threshold is reported on products
that it was not tuned on. The gallery is all selected rows on both sides and only the means are
taken by side: in half a gallery there would be half as many rows to be mistaken for a match, and a
threshold tuned there would be too low for the whole.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Shaped

from embed.errors import SelectionError, SettingsError
from embed.rows import group_position
from retrieval.metrics.intervals import bootstrap_interval
from retrieval.thresholds.pools import Outcome
from retrieval.thresholds.strategies import Fit, Strategy

NUM_FOLDS = {"cross-fit": 5, "holdout": 2, "same-rows": 1}


@dataclass(frozen=True)
class Tuned:
    """The fit to use, the rows that it was tuned on, and what each row is to be reported at.

    In an honest protocol `outcome` is, for each row, that of a fit without the row's own group;
    `is_reported` says which rows are reported, and `by_fit` which of them by each fit. A row's
    pairs are counted as if the items of other folds were matched by the same fit: true pairs lie
    within a fold, only false ones are touched.
    """

    fit: Fit
    is_tuned_on: Bool[np.ndarray, " q"]
    outcome: Outcome
    is_reported: Bool[np.ndarray, " q"]
    by_fit: tuple[tuple[Fit, Bool[np.ndarray, " q"]], ...]


@dataclass(frozen=True)
class Report:
    """Means over the reported rows, and precision, recall and F1 of their pairs.

    `figures` are those of `figures_of`. `interval` is that of row F1: 95 %, by resampling groups.
    """

    figures: dict[str, float | None]
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
    strategy: Strategy,
    members: Int[np.ndarray, " q"],
    groups: Shaped[np.ndarray, " l"],
    protocol: str,
    seed: int,
) -> Tuned:
    """Fit a strategy under a protocol; `members` number the groups of the rows, `groups` name them.

    same-rows: tuned and reported on all rows, which is optimistic. holdout: tuned on half of the
    groups, reported on the others. cross-fit: each fifth of the groups is reported by what was
    tuned on the other four; the fit to use is tuned on all rows.

    Raises:
        SettingsError: there is no such protocol.
        SelectionError: there are fewer groups than the protocol has folds.
    """
    refuse_unfit(len(np.unique(members)), protocol)
    folds = _folds(members, groups, protocol, seed)
    everywhere = np.ones(len(folds), bool)
    is_tuned_on = folds == 0 if protocol == "holdout" else everywhere
    if protocol != "cross-fit":
        (fit,) = strategy.fits([is_tuned_on])
        at = ~is_tuned_on if protocol == "holdout" else everywhere
        return Tuned(fit, is_tuned_on, strategy.outcome(fit), at, ((fit, at),))
    parts = [folds == fold for fold in range(int(folds.max()) + 1)]
    fit, *others = strategy.fits([everywhere, *(~part for part in parts)])
    by_fit = tuple(zip(others, parts, strict=True))
    outcome = strategy.outcome(fit)
    for other, part in by_fit:
        outcome = outcome.replaced(part, strategy.outcome(other))
    return Tuned(fit, everywhere, outcome, everywhere, by_fit)


def given(strategy: Strategy, fit: Fit) -> Tuned:
    """What all rows reach by a fit that is given, and was tuned on none of them as far as known."""
    outcome = strategy.outcome(fit)
    everywhere = np.ones(len(outcome.num_taken), bool)
    return Tuned(fit, ~everywhere, outcome, everywhere, ((fit, everywhere),))


def report(tuning: Tuned, members: Int[np.ndarray, " q"], generator: np.random.Generator) -> Report:
    """What the reported rows reach, with an interval."""
    at, outcome = tuning.is_reported, tuning.outcome
    return Report(
        figures=figures_of(outcome, at),
        num_rows=int(at.sum()),
        interval=bootstrap_interval(outcome.f1[at], members[at], generator),
    )


def figures_of(outcome: Outcome, at: Bool[np.ndarray, " q"]) -> dict[str, float | None]:
    """Row F1, precision and recall over some rows, and the same of their pairs, by name.

    A share of no pairs is None.
    """
    pairs, hits, true_pairs = (
        float(counts[at].sum()) for counts in (outcome.pairs, outcome.hits, outcome.true_pairs)
    )
    return {
        "row_f1": float(outcome.f1[at].mean()),
        "precision": float(outcome.precision[at].mean()),
        "recall": float(outcome.recall[at].mean()),
        "pair_f1": _ratio(2 * hits, pairs + true_pairs),
        "pair_precision": _ratio(hits, pairs),
        "pair_recall": _ratio(hits, true_pairs),
    }


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None


def _folds(
    members: Int[np.ndarray, " q"], groups: Shaped[np.ndarray, " l"], protocol: str, seed: int
) -> Int[np.ndarray, " q"]:
    """The fold of each row: its groups in the order of a hash, cut into parts of equal number."""
    present, numbers = np.unique(members, return_inverse=True)
    # A head's split hashes the bare group: with the same hash here, the groups that a head has not
    # seen would all fall into the last fold.
    names = groups[present].tolist()
    ranks = np.argsort(np.argsort([group_position(f"threshold:{name}", seed) for name in names]))
    return np.asarray((ranks * NUM_FOLDS[protocol] // len(ranks))[numbers])
