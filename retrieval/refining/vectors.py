"""The vectors that refinements work on: unit vectors of both sides of a search, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Int

from embed.errors import SettingsError
from retrieval.search.dense import DenseSearch
from retrieval.search.neighbours import refuse_other_vectors
from retrieval.search.plans import MEMORY_BYTES, Join, plan_search
from retrieval.search.ranking import NO_ROW, Neighbours, joined, self_first
from retrieval.search.sides import Sides, StoreRows
from retrieval.search.unit_rows import unit_vectors
from retrieval.search.vectors import UnitVectors


@dataclass(frozen=True)
class SideVectors:
    """Unit vectors of the queries and of the gallery that they look among, in C order.

    `own` is where each query itself stands in the gallery, `NO_ROW` where it does not. While
    nothing tells the two sides of a self-join apart, both are one and the same array.
    `memory_bytes` is what a search may hold beside them, `device` where its products are made.
    """

    queries: Float32[np.ndarray, "q d"]
    gallery: Float32[np.ndarray, "g d"]
    own: Int[np.ndarray, " q"]
    memory_bytes: int = MEMORY_BYTES
    device: str = "auto"

    @property
    def is_self_join(self) -> bool:
        """True where all items look among one another, with the same vectors on both sides."""
        return self.queries is self.gallery

    @property
    def of_gallery(self) -> "SideVectors":
        """The items of the gallery, looking among one another."""
        own = np.arange(len(self.gallery))
        return replace(self, queries=self.gallery, own=own)

    def nearest(self, k: int) -> Neighbours:
        """The k nearest for each query: itself first, as `find_neighbours` has it, exactly."""
        num_gallery = len(self.gallery)
        k = min(k, 1 + num_gallery - int((self.own != NO_ROW).all()))
        search = self._search(min(k, num_gallery))
        blocks = []
        for start in range(0, len(self.queries), search.block_rows):
            stop = min(start + search.block_rows, len(self.queries))
            blocks.append(self_first(search(start, stop), self.own[start:stop], k))
        return joined(blocks)

    def _search(self, k: int) -> DenseSearch:
        join = Join(len(self.queries), len(self.gallery), self.gallery.shape[1], k)
        plan = plan_search(join, self.memory_bytes, self.device)
        return DenseSearch(_Held(self.queries), _Held(self.gallery), k, plan)


class _Held(UnitVectors):
    """Unit vectors that are in memory already, taken as they are to the last bit."""

    def __init__(self, vectors: Float32[np.ndarray, "n d"]) -> None:
        self._held = vectors

    def __len__(self) -> int:
        return len(self._held)

    @property
    def dim(self) -> int:
        return int(self._held.shape[1])

    def between(self, start: int, stop: int) -> Float32[np.ndarray, "b d"]:
        return self._held[start:stop]


def side_vectors(
    sides: Sides,
    spaces: Sequence[str],
    memory_bytes: int = MEMORY_BYTES,
    device: str = "auto",
) -> SideVectors:
    """The unit vectors of both sides in a dense space, or in several of them side by side.

    With several spaces the score of a pair is the mean of its scores in each.

    Raises:
        StoreError: there is no such space, it is not dense, or a vector is not finite, or zero.
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
    return SideVectors(queries, gallery, sides.own, memory_bytes, device)


def unit_length(vectors: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """The vectors, each divided by its norm in float64; zeros stay zeros."""
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))[:, None]
    unit = np.zeros(vectors.shape, np.float32)
    np.divide(vectors, norms, out=unit, where=norms > 0, dtype=np.float64, casting="same_kind")
    return unit


def _stacked(side: StoreRows, spaces: Sequence[str]) -> Float32[np.ndarray, "n d"]:
    parts = [unit_vectors(side, space).between(0, len(side)) for space in spaces]
    return parts[0] if len(parts) == 1 else unit_length(np.concatenate(parts, axis=1))
