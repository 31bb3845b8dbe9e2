"""The one way in which dense scores are added up, and the exact search that asks FAISS for advice.

A matrix product adds up a score in an order that depends on the shape of the block and on the
machine, so the last bits of a score, and with them the order of duplicates, would change with the
block size. So a product only proposes candidates; their scores are computed again pair by pair,
always in the same order, and these are the ones that count.
"""

import faiss
import numpy as np
from jaxtyping import Float32, Int

from retrieval.search.ranking import SLACK, Neighbours, ranked, ranked_pairs, replace_rows

COMPARED_CELLS = 2**17
"""Components of vectors that are compared at once: small enough to stay in the cache."""


def best_in_gallery(
    queries: Float32[np.ndarray, "q d"],
    gallery: Float32[np.ndarray, "g d"],
    k: int,
    *,
    num_cells: int,
) -> Neighbours:
    """The k best of a gallery, exactly: by score descending, ties by row ascending.

    FAISS proposes k and a few more candidates. Where rounding could have hidden a better one, all
    rows that could be it are scored, `num_cells` scores at a time. Both sides must be L2-normalised
    or zero, in C order, and k ≤ g.
    """
    num_candidates = min(k + SLACK, len(gallery))
    proposed, rows = faiss.knn(queries, gallery, num_candidates, faiss.METRIC_INNER_PRODUCT)
    pairs = np.repeat(np.arange(len(queries)), num_candidates)
    scores = scores_of_pairs(queries, gallery, pairs, rows.ravel()).reshape(rows.shape)
    best = ranked(rows, scores, k)
    if num_candidates < len(gallery):
        is_doubtful = proposed[:, -1] + rounding(gallery.shape[1]) >= best.scores[:, -1]
        is_doubtful &= queries.any(axis=1)  # every score of a zero vector is 0 however added up
        _search_again(queries, gallery, best, np.flatnonzero(is_doubtful), num_cells)
        _take_first_rows(best, np.flatnonzero(~queries.any(axis=1)))
    return best


def scores_of_pairs(
    queries: Float32[np.ndarray, "q d"],
    gallery: Float32[np.ndarray, "g d"],
    query_rows: Int[np.ndarray, " p"],
    gallery_rows: Int[np.ndarray, " p"],
) -> Float32[np.ndarray, " p"]:
    """Inner products pair by pair: equal for equal vectors, and the same both ways round.

    Rounding may leave the product of a unit vector with itself a little off 1: it counts as 1.
    """
    scores = np.empty(len(query_rows), np.float32)
    arrays = (queries, query_rows, gallery, gallery_rows, scores)
    contiguous = [np.ascontiguousarray(array) for array in arrays]  # pointers keep nothing alive
    faiss.pairwise_indexed_inner_product(  # type: ignore[attr-defined]  # missing in its stubs
        queries.shape[1], len(scores), *map(faiss.swig_ptr, contiguous)
    )
    near = np.flatnonzero(scores >= 1 - rounding(queries.shape[1]))
    step = max(1, COMPARED_CELLS // queries.shape[1])
    for start in range(0, len(near), step):
        at = near[start : start + step]
        are_equal = (queries[query_rows[at]] == gallery[gallery_rows[at]]).all(axis=1)
        scores[at[are_equal]] = 1
    return np.clip(scores, -1, 1, out=scores)


def rounding(dim: int) -> float:
    """How far two float32 ways of adding up the same score of unit vectors can lie apart.

    Twice the classical bound of d·u for a sum of d products in any order (Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1), and a little for norms that are not quite 1.
    """
    return float((dim + 8) * np.finfo(np.float32).eps)


def _search_again(
    queries: Float32[np.ndarray, "q d"],
    gallery: Float32[np.ndarray, "g d"],
    best: Neighbours,
    doubtful: Int[np.ndarray, " m"],
    num_cells: int,
) -> None:
    """Rank every row that may be among the k best of the doubtful queries, by its own score."""
    k = best.rows.shape[1]
    num_together = max(1, num_cells // len(gallery))
    for start in range(0, len(doubtful), num_together):
        at = doubtful[start : start + num_together]
        floor = best.scores[at, -1:] - rounding(gallery.shape[1])  # the k-th can only be better
        pairs, rows = np.nonzero(queries[at] @ gallery.T >= floor)
        scores = scores_of_pairs(queries[at], gallery, pairs, rows)
        replace_rows(best, at, ranked_pairs(pairs, rows, scores, len(at), k))


def _take_first_rows(best: Neighbours, at: Int[np.ndarray, " m"]) -> None:
    """All scores of a vector of zeros are 0, so the best are the first rows."""
    best.rows[at] = np.arange(best.rows.shape[1])
    best.scores[at] = 0
