"""Metrics of what is matched, as pure functions of arrays; metrics of rankings are in `rankings`.

Row metrics take sets that the item itself belongs to, so none is empty. Pair metrics look at pairs
of two different items only.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int


def row_f1(
    num_common: Int[np.ndarray, "*s"],
    num_predicted: Int[np.ndarray, "*s"],
    num_true: Int[np.ndarray, "*s"],
) -> Float[np.ndarray, "*s"]:
    """F1 of each predicted set P against the true set T: 2·|T∩P| / (|T| + |P|), between 0 and 1.

    The item itself is in both sets, so an item without a true match has F1 1 when it is left alone.

    Source: the metric of Shopee - Price Match Guarantee (Kaggle, 2021); Dice (1945).
    """
    return np.asarray(2 * num_common / (num_true + num_predicted))


def row_precision(
    num_common: Int[np.ndarray, "*s"], num_predicted: Int[np.ndarray, "*s"]
) -> Float[np.ndarray, "*s"]:
    """The share of each predicted set that is true, the item itself included: |T∩P| / |P|."""
    return np.asarray(num_common / num_predicted)


def row_recall(
    num_common: Int[np.ndarray, "*s"], num_true: Int[np.ndarray, "*s"]
) -> Float[np.ndarray, "*s"]:
    """The share of each true set that is predicted, the item itself included: |T∩P| / |T|."""
    return np.asarray(num_common / num_true)


@dataclass(frozen=True)
class PairCounts:
    """How many pairs each query has: right ones, matched ones and true ones.

    A pair has no direction and counts once: what two queries share is one half of theirs each, so
    that sums over all queries, or over whole groups of equal labels, are of whole pairs.

    Source: pairwise F1 as in Menestrina et al., Evaluating Entity Resolution Results (VLDB 2010).
    """

    num_common: Float64[np.ndarray, " q"]
    num_matched: Float64[np.ndarray, " q"]
    num_true: Float64[np.ndarray, " q"]

    def of(self, chosen: Bool[np.ndarray, " q"]) -> "PairCounts":
        """Those of the chosen queries alone."""
        return PairCounts(self.num_common[chosen], self.num_matched[chosen], self.num_true[chosen])

    @property
    def f1(self) -> float | None:
        """2·common / (matched + true); None where no pair is matched and none is true."""
        total = self.num_matched.sum() + self.num_true.sum()
        return None if total == 0 else float(2 * self.num_common.sum() / total)

    @property
    def precision(self) -> float | None:
        """The share of the matched pairs that are true; None where no pair is matched."""
        return _ratio(self.num_common, self.num_matched)

    @property
    def recall(self) -> float | None:
        """The share of the true pairs that are matched; None where no pair is true."""
        return _ratio(self.num_common, self.num_true)


def _ratio(
    numerators: Float64[np.ndarray, " q"], denominators: Float64[np.ndarray, " q"]
) -> float | None:
    total = denominators.sum()
    return None if total == 0 else float(numerators.sum() / total)
