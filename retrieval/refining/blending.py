"""Iterative neighbourhood blending: items that are surely near pull one another together."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from retrieval.refining.expansion import sums
from retrieval.refining.vectors import SideVectors
from retrieval.search.ranking import Neighbours


def blended(sides: SideVectors, thresholds: Sequence[float], num_nearest: int) -> SideVectors:
    """Vectors of both sides after a stage of blending for each threshold.

    In a stage every item becomes the sum of itself and those of its `num_nearest` neighbours in the
    gallery whose score reaches the stage's threshold, weighted by score, at unit length; the next
    stage searches again with the new vectors. A query that is not in the gallery takes part in
    nothing but its own vector. The method won the Shopee price match competition (Kaggle, 2021),
    where it followed every search.

    Args:
        sides: unit vectors.
        thresholds: the least score of a neighbour that is blended in, for each stage.
        num_nearest: the most neighbours that are blended in.
    """
    for threshold in thresholds:
        gallery = _stage(sides.of_gallery, threshold, num_nearest)
        queries = gallery if sides.is_self_join else _stage(sides, threshold, num_nearest)
        sides = replace(sides, queries=queries, gallery=gallery)
    return sides


def _stage(sides: SideVectors, threshold: float, num_nearest: int) -> Float32[np.ndarray, "q d"]:
    nearest: Neighbours = sides.nearest(num_nearest + 1)
    scores = nearest.scores[:, 1:].astype(np.float64)
    weights = np.where(nearest.matches(threshold)[:, 1:], np.maximum(scores, 0), 0)
    return sums(sides.queries, sides.gallery, nearest, weights)
