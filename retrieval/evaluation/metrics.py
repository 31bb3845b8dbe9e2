"""Retrieval metrics as pure functions of arrays; nothing here knows of stores or vectors.

Ranking metrics take `relevant`, whether each of the m nearest others, best first, is a true match
of the query, and `num_relevant`, how many true matches each query has in all, found or not. The
query itself is in neither. Queries without a true match have no such metric: they are left out of
the means, as in trec_eval. Row metrics take sets that the item itself belongs to, so none is empty.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from embed.errors import SelectionError, SettingsError


def average_precision_at_k(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"], k: int
) -> float:
    """Mean average precision among the k nearest others, between 0 and 1.

    AP@k = Σ_{j ≤ k} P(j)·relevant(j) / min(R, k), where P(j) is the share of true matches among
    the j nearest and R is their number in all: 1 where only true matches come first, as in the
    MAP@k of landmark and product contests. trec_eval's `map` divides by R: equal where k ≥ R.

    Source: Buckley and Voorhees, Retrieval System Evaluation, in TREC (MIT Press, 2005).

    Raises:
        SelectionError: no query has a true match.
        SettingsError: k is below 1.
    """
    hits, totals = _with_relevant(relevant, num_relevant, k)
    precisions = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return float(np.mean((precisions * hits).sum(axis=1) / np.minimum(totals, k)))


def mean_reciprocal_rank(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"]
) -> float:
    """Mean of 1 / rank of the nearest true match, 0 where none of the m others is one.

    Source: Voorhees, The TREC-8 Question Answering Track Report (1999); trec_eval's `recip_rank`.

    Raises:
        SelectionError: no query has a true match.
    """
    hits, _ = _with_relevant(relevant, num_relevant, max(1, relevant.shape[1]))
    ranks = np.argmax(hits, axis=1) + 1 if hits.shape[1] else np.ones(len(hits))
    return float(np.mean(hits.any(axis=1) / ranks))


def recall_at_k(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"], k: int
) -> float:
    """The share of queries with at least one true match among the k nearest others.

    This is the Recall@K of metric learning, trec_eval's `success_k`; trec_eval's `recall_k` is
    `found_share_at_k`.

    Source: Jégou et al., Product Quantization for Nearest Neighbor Search, IEEE TPAMI (2011).

    Raises:
        SelectionError: no query has a true match.
        SettingsError: k is below 1.
    """
    hits, _ = _with_relevant(relevant, num_relevant, k)
    return float(np.mean(hits.any(axis=1)))


def found_share_at_k(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"], k: int
) -> float:
    """Mean share of a query's true matches that are among the k nearest others.

    Source: trec_eval's `recall_k`; the recall of Manning et al., Introduction to Information
    Retrieval (2008), section 8.3.

    Raises:
        SelectionError: no query has a true match.
        SettingsError: k is below 1.
    """
    hits, totals = _with_relevant(relevant, num_relevant, k)
    return float(np.mean(hits.sum(axis=1) / totals))


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


def _with_relevant(
    relevant: Bool[np.ndarray, "q m"], num_relevant: Int[np.ndarray, " q"], k: int
) -> tuple[Bool[np.ndarray, "p j"], Int[np.ndarray, " p"]]:
    """The k nearest others of the queries that have a true match, and how many they have."""
    if k < 1:
        raise SettingsError(f"k counts the nearest others and should be at least 1: found {k}")
    has_relevant = num_relevant > 0
    if not has_relevant.any():
        raise SelectionError("no row has a true match besides itself: take a label with equal rows")
    return relevant[has_relevant, :k], num_relevant[has_relevant]
