"""What a threshold is to be the best for, as a function of what each cut takes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from embed.errors import SettingsError

OBJECTIVES = ("row-f1", "pair-f1", "recall-at-precision", "precision-at-recall")
EQUAL = 1e-12
"""Values nearer than this are equal: rounding in the running sums moves them as far."""


@dataclass(frozen=True)
class Objective:
    """What is highest at the best cut.

    row-f1: mean over rows of the F1 of each row's matches, itself included. pair-f1: F1 of pairs,
    each counted once. recall-at-precision: recall of pairs among cuts whose precision of pairs is
    `wanted` or more. precision-at-recall: the other way round. Among equal cuts the highest counts,
    which has the fewest matches.

    Source: of pairs, Christen, Data Matching (2012), section 7.2.
    """

    name: str = "row-f1"
    wanted: float | None = None

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            raise SettingsError(
                f"there is no objective '{self.name}': they are {', '.join(OBJECTIVES)}"
            )
        needs_value = self.name.count("-at-") == 1
        if needs_value != (self.wanted is not None):
            raise SettingsError(
                f"--objective {self.name} takes "
                f"{'a --wanted share such as 0.9' if needs_value else 'no --wanted share'}"
            )
        if self.wanted is not None and not 0 < self.wanted <= 1:
            raise SettingsError(f"--wanted is a share from 0 to 1: found {self.wanted:g}")

    @property
    def gains(self) -> tuple[str, ...]:
        """The sums that it is made of; `retrieval.thresholds.sweeps` gives them."""
        return ("f1",) if self.name == "row-f1" else ("pairs", "hits")

    def values(
        self, sums: Mapping[str, Float64[np.ndarray, " c"]], num_rows: int, num_true_pairs: float
    ) -> Float64[np.ndarray, " c"]:
        """One value for each cut, higher is better; below 0 where the wanted share is missed."""
        if self.name == "row-f1":
            return sums["f1"] / num_rows
        pairs, hits = sums["pairs"], sums["hits"]
        if self.name == "pair-f1":
            return 2 * hits / np.maximum(pairs + num_true_pairs, 1e-300)
        precision = np.divide(hits, pairs, out=np.ones_like(hits), where=pairs > 0)
        recall = hits / max(num_true_pairs, 1e-300)
        at_precision = self.name == "recall-at-precision"
        value, bound = (recall, precision) if at_precision else (precision, recall)
        assert self.wanted is not None
        return np.where(bound >= self.wanted - EQUAL, value, bound - 2)


def best_cut(values: Float64[np.ndarray, " c"]) -> int:
    """The index of the highest value, the first among equal ones."""
    return int(np.argmax(values >= values.max() - EQUAL))
