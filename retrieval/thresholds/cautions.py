"""What to know of a threshold's figures before trusting them."""

import numpy as np
from jaxtyping import Int

from retrieval.metrics.judgements import Judgements
from retrieval.metrics.sets import row_f1

MANY_ALONE = 0.9
"""A threshold that leaves so many items alone that have a true match hardly matches at all."""

ENOUGH_WITHIN_K = 0.9
"""Where less than this share of the true matches can be reached, k is the limit."""


def row_f1_alone(num_true: Int[np.ndarray, " q"]) -> float:
    """Mean row F1 where every item is left alone: what any threshold has to be better than."""
    itself = np.ones_like(num_true)
    return float(row_f1(itself, itself, num_true).mean())


def alone_warnings(
    num_taken: Int[np.ndarray, " q"], num_true: Int[np.ndarray, " q"], *, is_for_rows: bool = True
) -> tuple[str, ...]:
    """A warning where nearly all items that have a true match are left alone.

    Both count the item itself. `is_for_rows` says that pair F1 may be tried as an objective.
    """
    alone = num_taken[num_true > 1] == 1
    if len(alone) == 0 or alone.mean() < MANY_ALONE:
        return ()
    other = "give --objective pair-f1, or " if is_for_rows else ""
    return (
        f"the threshold leaves {_percent(alone.mean())} of the items that have a true match alone, "
        f"and row F1 is {row_f1_alone(num_true):.4f} where all are: {other}look at the ranking",
    )


def reach_warnings(judged: Judgements, recall_within_k: float, k: int) -> tuple[str, ...]:
    """A warning where many true matches are not among the candidates, whatever the threshold."""
    if recall_within_k >= ENOUGH_WITHIN_K:
        return ()
    found = judged.relevant.sum() - len(judged.relevant)
    share = found / (judged.num_true - 1).sum()
    return (
        f"only {_percent(share)} of the true matches are among the {k:,} nearest: give a larger "
        f"--k",
    )


def _percent(share: float) -> str:
    """Whole per cent; '100 %' and '0 %' are exact."""
    shown = round(100 * share)
    if shown in (0, 100) and shown != 100 * share:
        return f"{100 * share:.2g} %" if shown == 0 else "more than 99 %"
    return f"{shown} %"
