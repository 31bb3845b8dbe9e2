"""From judged candidates to every metric: of each query, over all of them, and over any of them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64, Int

from retrieval.metrics.intervals import bootstrap_ratio_intervals
from retrieval.metrics.judgements import Judgements
from retrieval.metrics.rankings import (
    average_precision_at_k,
    average_precision_at_r,
    found_share_at_k,
    mean_over_queries,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank_at_k,
    trec_average_precision_at_k,
    truncated_precision_at_k,
)
from retrieval.metrics.sets import PairCounts
from retrieval.thresholds.pools import Outcome

DEEPEST = 10
"""How many others the metrics with a fixed depth look at, at most."""

BLOCK_CELLS = 2**22
"""Candidates of a block of queries, whose precisions are in memory at once."""


@dataclass(frozen=True)
class Measured:
    """Every metric of each of q queries, by its name in JSON; NaN where a query has none.

    `pairs` is None where nothing was matched because only the ranking counts. `groups` are the
    numbers of the queries' labels, which intervals draw.
    """

    values: dict[str, Float64[np.ndarray, " q"]]
    pairs: PairCounts | None
    groups: Int[np.ndarray, " q"]

    def of(self, chosen: Bool[np.ndarray, " q"]) -> "Measured":
        """Those of the chosen queries alone; without pairs where these would be cut in two."""
        values = {name: value[chosen] for name, value in self.values.items()}
        is_cut = bool(np.isin(self.groups[chosen], self.groups[~chosen]).any())
        pairs = None if self.pairs is None or is_cut else self.pairs.of(chosen)
        return Measured(values, pairs, self.groups[chosen])

    def means(self) -> dict[str, float | None]:
        """Each metric over the queries that have it; None where none has."""
        means = {name: mean_over_queries(value) for name, value in self.values.items()}
        pairs = self.pairs
        if pairs is None:
            return means
        of_pairs = {"f1": pairs.f1, "precision": pairs.precision, "recall": pairs.recall}
        return means | {f"pair_{name}": value for name, value in of_pairs.items()}

    def intervals(self, generator: np.random.Generator) -> dict[str, tuple[float, float] | None]:
        """95 % intervals of the means by resampling groups; None where there is no mean."""
        pairs = {} if self.pairs is None else _pair_parts(self.pairs)
        parts = (*map(_mean_parts, self.values.values()), *pairs.values())
        intervals = bootstrap_ratio_intervals(parts, self.groups, generator)
        return dict(zip((*self.values, *pairs), intervals, strict=True))


def ranking_values(judged: Judgements, num_nearest: int) -> dict[str, Float64[np.ndarray, " q"]]:
    """Every ranking metric of each query.

    Args:
        judged: of the ranked candidates, the query itself in the first column. R-precision and
            MAP@R are left out where they do not reach as far as the largest number of true matches.
        num_nearest: how many others mAP and MRR look at.
    """
    relevant, num_relevant = judged.relevant[:, 1:], judged.num_true - 1
    block_rows = max(1, BLOCK_CELLS // max(1, relevant.shape[1]))
    blocks = [
        _ranking_values(relevant[start:stop], num_relevant[start:stop], num_nearest)
        for start, stop in pairwise([*range(0, len(relevant), block_rows), len(relevant)])
    ]
    names = set.intersection(*(set(block) for block in blocks))
    return {
        name: np.concatenate([block[name] for block in blocks])
        for name in blocks[0]
        if name in names
    }


def _ranking_values(
    relevant: Bool[np.ndarray, "b m"], num_relevant: Int[np.ndarray, " b"], num_nearest: int
) -> dict[str, Float64[np.ndarray, " b"]]:
    about = (relevant, num_relevant)
    values = {
        "map": average_precision_at_k(*about, num_nearest),
        "map_trec": trec_average_precision_at_k(*about, num_nearest),
        "mrr": reciprocal_rank_at_k(*about, num_nearest),
        **{f"recall@{k}": recall_at_k(*about, k) for k in (1, 5, DEEPEST)},
        **{f"found@{k}": found_share_at_k(*about, k) for k in (1, 5, DEEPEST)},
        **{f"precision@{k}": precision_at_k(*about, k) for k in (5, DEEPEST)},
        "mp@5": truncated_precision_at_k(*about, 5),
    }
    if relevant.shape[1] >= num_relevant.max(initial=0):
        values["r_precision"] = r_precision(*about)
        values["map@r"] = average_precision_at_r(*about)
    return values


def row_values(outcome: Outcome) -> dict[str, Float64[np.ndarray, " q"]]:
    """F1, precision and recall of what each query is matched with, itself included."""
    return {"row_f1": outcome.f1, "precision": outcome.precision, "recall": outcome.recall}


def pair_counts(outcome: Outcome) -> PairCounts:
    """The pairs of each query; they have no direction, and count once in the sum over all."""
    return PairCounts(outcome.hits, outcome.pairs, outcome.true_pairs)


def _mean_parts(
    values: Float64[np.ndarray, " q"],
) -> tuple[Float64[np.ndarray, " q"], Float64[np.ndarray, " q"]]:
    """A mean over the known values as a ratio of sums."""
    return np.nan_to_num(values), (~np.isnan(values)).astype(np.float64)


def _pair_parts(
    pairs: PairCounts,
) -> dict[str, tuple[Float64[np.ndarray, " q"], Float64[np.ndarray, " q"]]]:
    return {
        "pair_f1": (2 * pairs.num_common, pairs.num_matched + pairs.num_true),
        "pair_precision": (pairs.num_common, pairs.num_matched),
        "pair_recall": (pairs.num_common, pairs.num_true),
    }
