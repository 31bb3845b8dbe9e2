"""Vectors plus those near them: query expansion and database-side augmentation.

Both move a vector towards its nearest neighbours in the gallery, so that what it happens to lack
is made up for by what they have; they differ in which side is moved, and in the weights.
"""

from typing import Literal

import numpy as np
import scipy.sparse
from jaxtyping import Float, Float32, Int

from retrieval.refining.vectors import unit_length
from retrieval.search.ranking import NO_ROW, Neighbours

SUM_BLOCK_ROWS = 4096

AugmentationWeights = Literal["rank", "score"]


def expanded(
    queries: Float32[np.ndarray, "q d"],
    gallery: Float32[np.ndarray, "g d"],
    nearest: Neighbours,
    alpha: float = 0.0,
) -> Float32[np.ndarray, "q d"]:
    """Query expansion: each query plus its nearest, weighted by score^α, with unit length.

    α = 0 is average query expansion (Chum et al., Total Recall, ICCV 2007); above it, the
    α-weighted one (Radenović et al., Fine-tuning CNN Image Retrieval with No Human Annotation,
    TPAMI 2018). The query itself has weight 1. For α > 0 a score below 0 counts as 0.

    Args:
        queries, gallery: unit vectors.
        nearest: for each query itself first, which is passed over, then all that are to be added.
        alpha: α ≥ 0.
    """
    weights = np.maximum(nearest.scores[:, 1:], 0).astype(np.float64) ** alpha
    return sums(queries, gallery, nearest, weights)


def augmented(
    gallery: Float32[np.ndarray, "g d"], nearest: Neighbours, weights: AugmentationWeights
) -> Float32[np.ndarray, "g d"]:
    """Database-side augmentation: each item of the gallery plus its nearest, with unit length.

    Turcot & Lowe (ICCV Workshops 2009) add the features of neighbouring images to each image, and
    Arandjelović & Zisserman (CVPR 2012) those that are seen in it. For vectors of whole images they
    are weighed: the i-th of n neighbours by 1 − i / (n + 1), or by its score (at least 0); the item
    itself weighs 1.

    Args:
        gallery: unit vectors.
        nearest: of each item among the gallery, itself first.
        weights: "rank" or "score".
    """
    num_nearest = nearest.rows.shape[1] - 1
    if weights == "score":
        by_score = np.maximum(nearest.scores[:, 1:], 0).astype(np.float64)
        return sums(gallery, gallery, nearest, by_score)
    by_rank = 1 - np.arange(1, num_nearest + 1) / (num_nearest + 1)
    return sums(gallery, gallery, nearest, np.tile(by_rank, (len(gallery), 1)))


def sums(
    vectors: Float32[np.ndarray, "n d"],
    gallery: Float32[np.ndarray, "g d"],
    nearest: Neighbours,
    weights: Float[np.ndarray, "n m"],
) -> Float32[np.ndarray, "n d"]:
    """Each vector plus the weighted sum of its nearest in the gallery, with unit length.

    `nearest` holds the item itself first, which is passed over; `weights` are for the others.
    """
    result = np.empty_like(vectors)
    for start in range(0, len(vectors), SUM_BLOCK_ROWS):
        block = slice(start, start + SUM_BLOCK_ROWS)
        added = _matrix(nearest.rows[block, 1:], weights[block], len(gallery)) @ gallery
        result[block] = unit_length(vectors[block] + added)
    return result


def _matrix(
    rows: Int[np.ndarray, "b m"], weights: Float[np.ndarray, "b m"], num_columns: int
) -> scipy.sparse.csr_array:
    """The weights as a matrix over the gallery: added up row by row, in the order of the ranks."""
    is_there = rows != NO_ROW
    indptr = np.concatenate([[0], np.cumsum(is_there.sum(axis=1))])
    values = weights[is_there].astype(np.float32)
    return scipy.sparse.csr_array((values, rows[is_there], indptr), (len(rows), num_columns))
