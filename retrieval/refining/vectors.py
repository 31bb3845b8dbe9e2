"""The vectors that refinements work on: unit vectors of both sides of a search, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from embed.errors import SettingsError
from retrieval.search.dense import best_in_gallery
from retrieval.search.neighbours import refuse_other_vectors
from retrieval.search.ranking import NO_ROW, Neighbours, self_first
from retrieval.search.sides import Sides, StoreRows
from retrieval.search.unit_rows import unit_vectors

QUERY_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class SideVectors:
    """Unit vectors (or zeros) of the queries and of the gallery that they look among, in C order.

    `own` is where each query itself stands in the gallery, `NO_ROW` where it does not. While
    nothing tells the two sides of a self-join apart, both are one and the same array.
    """

    queries: Float32[np.ndarray, "q d"]
    gallery: Float32[np.ndarray, "g d"]
    own: Int[np.ndarray, " q"]

    @property
    def is_self_join(self) -> bool:
        """True where all items look among one another, with the same vectors on both sides."""
        return self.queries is self.gallery

    @property
    def of_gallery(self) -> "SideVectors":
        """The items of the gallery, looking among one another."""
        return SideVectors(self.gallery, self.gallery, np.arange(len(self.gallery)))

    def nearest(self, k: int) -> Neighbours:
        """The k nearest for each query: itself first, as `find_neighbours` has it, exactly."""
        k = min(k, 1 + len(self.gallery) - int((self.own != NO_ROW).all()))
        num_searched = min(k, len(self.gallery))
        parts = []
        for start in range(0, len(self.queries), QUERY_BLOCK_ROWS):
            block = slice(start, start + QUERY_BLOCK_ROWS)
            found = best_in_gallery(self.queries[block], self.gallery, num_searched)
            parts.append(self_first(found, self.own[block], k))
        rows = np.concatenate([part.rows for part in parts])
        return Neighbours(rows, np.concatenate([part.scores for part in parts]))


def side_vectors(sides: Sides, spaces: Sequence[str]) -> SideVectors:
    """The unit vectors of both sides in a dense space, or in several of them side by side.

    With several spaces the score of a pair is the mean of its scores in each (a vector of zeros
    has score 0 in its space, and the rest is scaled up to unit length).

    Raises:
        StoreError: there is no such space, it is not dense, or a vector is not finite.
        FingerprintError: the two stores hold vectors of different encoders.
        SelectionError: one side is empty.
        SettingsError: no space is named.
    """
    if not spaces:
        raise SettingsError("refinements need the name of a dense space: found none")
    for space in spaces:
        refuse_other_vectors(sides, space)
    gallery = _stacked(sides.gallery, spaces)
    queries = gallery if sides.is_self_join else _stacked(sides.queries, spaces)
    return SideVectors(queries, gallery, sides.own)


def unit_length(vectors: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """The vectors, each divided by its norm in float64; zeros stay zeros."""
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))[:, None]
    unit = np.zeros(vectors.shape, np.float32)
    np.divide(vectors, norms, out=unit, where=norms > 0, dtype=np.float64, casting="same_kind")
    return unit


def _stacked(side: StoreRows, spaces: Sequence[str]) -> Float32[np.ndarray, "n d"]:
    parts = [unit_vectors(side, space).between(0, len(side)) for space in spaces]
    return parts[0] if len(parts) == 1 else unit_length(np.concatenate(parts, axis=1))
