"""Ranking metrics of each query, as pure functions of arrays; no threshold is looked at.

They take `relevant`, whether each of the m nearest others, best first, is a true match of the
query, and `num_relevant` (R), how many true matches each query has in all, found or not. The query
itself is in neither. All values lie between 0 and 1. A query without a true match has no such
metric: its value is NaN, and `mean_over_queries` leaves it out, as trec_eval does.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int

from embed.errors import SettingsError


def mean_over_queries(values: Float64[np.ndarray, " q"]) -> float | None:
    """The mean over the queries that have a true match; None where none has one."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def average_precision_at_k(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"], k: int
) -> Float64[np.ndarray, " q"]:
    """AP@k = Σ_{j ≤ k} P(j)·relevant(j) / min(R, k), P(j) being the precision among the j nearest.

    It is 1 where only true matches come first, as in the MAP@k of landmark and product contests.
    trec_eval divides by R (`trec_average_precision_at_k`), which is the same where k ≥ R.

    Source: Weyand et al., Google Landmarks Dataset v2 (2020), arXiv:2004.01804.

    Raises:
        SettingsError: k is below 1.
    """
    return _of_known(_precision_sums(relevant, k), np.minimum(num_relevant, k))


def trec_average_precision_at_k(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"], k: int
) -> Float64[np.ndarray, " q"]:
    """Σ_{j ≤ k} P(j)·relevant(j) / R: below 1 where a query has more true matches than k.

    Source: trec_eval's `map_cut_k`, and its `map` where k is the length of the ranking; Buckley and
    Voorhees, Retrieval System Evaluation, in TREC (MIT Press, 2005).

    Raises:
        SettingsError: k is below 1.
    """
    return _of_known(_precision_sums(relevant, k), num_relevant)


def reciprocal_rank_at_k(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"], k: int
) -> Float64[np.ndarray, " q"]:
    """1 / rank of the nearest true match, 0 where none of the k nearest is one.

    Source: Voorhees, The TREC-8 Question Answering Track Report (1999); trec_eval's `recip_rank`
    where k is the length of the ranking.

    Raises:
        SettingsError: k is below 1.
    """
    nearest = _nearest(relevant, k)
    ranks = np.argmax(nearest, axis=1) + 1 if nearest.shape[1] else np.ones(len(nearest))
    return _of_known(nearest.any(axis=1) / ranks, np.minimum(num_relevant, 1))


def recall_at_k(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"], k: int
) -> Float64[np.ndarray, " q"]:
    """1 where at least one of the k nearest is a true match, else 0.

    This is the Recall@K of metric learning, trec_eval's `success_k`; trec_eval's `recall_k` is
    `found_share_at_k`.

    Source: Jégou et al., Product Quantization for Nearest Neighbor Search, IEEE TPAMI (2011).

    Raises:
        SettingsError: k is below 1.
    """
    hits = np.asarray(_nearest(relevant, k).any(axis=1))
    return _of_known(hits, np.minimum(num_relevant, 1))


def found_share_at_k(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"], k: int
) -> Float64[np.ndarray, " q"]:
    """The share of a query's true matches that are among the k nearest.

    Source: trec_eval's `recall_k`; the recall of Manning et al., Introduction to Information
    Retrieval (2008), section 8.3.

    Raises:
        SettingsError: k is below 1.
    """
    return _of_known(_nearest(relevant, k).sum(axis=1), num_relevant)


def precision_at_k(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"], k: int
) -> Float64[np.ndarray, " q"]:
    """The share of the k nearest that are true matches; it divides by k, however few there are.

    Source: trec_eval's `P_k`.

    Raises:
        SettingsError: k is below 1.
    """
    hits = _nearest(relevant, k).sum(axis=1)
    return _of_known(hits / k, np.minimum(num_relevant, 1))


def truncated_precision_at_k(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"], k: int
) -> Float64[np.ndarray, " q"]:
    """The share of true matches among the n nearest, n = min(R, k): 1 can always be reached.

    With k = 5 its mean is the mP@5 of the contest: of 1/min(n_q, 5)·Σ_{j ≤ min(n_q, 5)} rel(j).

    Source: Google Universal Image Embedding (Kaggle, 2022), its evaluation page.

    Raises:
        SettingsError: k is below 1.
    """
    depths = np.minimum(num_relevant, k)
    return _of_known((_nearest(relevant, k) & _within(relevant[:, :k], depths)).sum(axis=1), depths)


def r_precision(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"]
) -> Float64[np.ndarray, " q"]:
    """The share of true matches among the R nearest; m should reach the largest R.

    Source: trec_eval's `Rprec`; Musgrave et al., A Metric Learning Reality Check (2020),
    arXiv:2003.08505.
    """
    hits = (relevant & _within(relevant, num_relevant)).sum(axis=1)
    return _of_known(hits, num_relevant)


def average_precision_at_r(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"]
) -> Float64[np.ndarray, " q"]:
    """Σ_{j ≤ R} P(j)·relevant(j) / R; m should reach the largest R. Its mean is MAP@R.

    Source: Musgrave et al., A Metric Learning Reality Check (2020), arXiv:2003.08505.
    """
    within = relevant & _within(relevant, num_relevant)
    return _of_known(_precision_sums(within, max(1, relevant.shape[1])), num_relevant)


def _precision_sums(relevant: Bool[np.ndarray, "q m"], k: int) -> Float64[np.ndarray, " q"]:
    """Σ_{j ≤ k} P(j)·relevant(j)."""
    nearest = _nearest(relevant, k)
    precisions = np.cumsum(nearest, axis=1) / np.arange(1, nearest.shape[1] + 1)
    return np.asarray((precisions * nearest).sum(axis=1))


def _nearest(relevant: Bool[np.ndarray, "q m"], k: int) -> Bool[np.ndarray, "q j"]:
    if k < 1:
        raise SettingsError(f"k counts the nearest others and should be at least 1: found {k}")
    return relevant[:, :k]


def _within(
    relevant: Bool[np.ndarray, "q m"], depths: Int[np.ndarray, " q"]
) -> Bool[np.ndarray, "q m"]:
    """True at the first columns of each query, as many as its depth says."""
    return np.asarray(np.arange(relevant.shape[1]) < depths[:, None])


def _of_known(
    numerators: Bool[np.ndarray, " q"] | Int[np.ndarray, " q"] | Float64[np.ndarray, " q"],
    denominators: Int[np.ndarray, " q"],
) -> Float64[np.ndarray, " q"]:
    """The quotient, and NaN where the denominator is 0: the query has no true match."""
    values = np.full(len(denominators), np.nan)
    np.divide(numerators, denominators, out=values, where=denominators > 0)
    return values
