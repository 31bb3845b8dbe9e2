"""The scores of given pairs, in any space: those that a search in the space has."""

from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float32, Int, UInt8

from retrieval.search.binary import Codes
from retrieval.search.exact import rounding, scores_of_pairs
from retrieval.search.plans import MEMORY_BYTES
from retrieval.search.ranking import NO_ROW
from retrieval.search.scoring import PairScores, share_out
from retrieval.search.sides import Sides, StoreRows
from retrieval.search.sparse_plans import HELD_BYTES
from retrieval.search.sparse_vectors import (
    COMPONENTS_TOGETHER,
    SCORED_BYTES,
    UnitSparse,
    sparse_scores_of_pairs,
)
from retrieval.search.vectors import UnitVectors

MOST_DENSE_BYTES = 2**27
"""Sparse queries that are written out at once, zeros included."""

# Bytes, counted high: of a pair besides its vectors; of a component as it is unpacked or sliced.
PAIR_BYTES, COMPONENT_BYTES = 64, 36


def pair_scores(
    sides: Sides, space: str, rows: Int[np.ndarray, "q c"], *, memory_bytes: int = MEMORY_BYTES
) -> Float32[np.ndarray, "q c"]:
    """The score of each query with each of its candidates, which are positions in the gallery.

    −inf where the row is `NO_ROW`, and 1 where it is the query itself. Where no component is shared
    in a sparse space the score is 0. Vectors are taken to be finite: a search has looked at them.
    `memory_bytes` are held at once, besides the candidates and the result.

    Raises:
        SettingsError: the memory is too little; the message says the least.
    """
    of_pairs = pair_scores_of(sides, space)
    share_out([of_pairs], memory_bytes)
    scores = np.full(rows.shape, -np.inf, np.float32)
    queries, columns = np.nonzero(rows != NO_ROW)
    scores[queries, columns] = of_pairs(queries, rows[queries, columns])
    scores[(rows == sides.own[:, None]) & (rows != NO_ROW)] = 1
    return scores


def pair_scores_of(sides: Sides, space: str) -> PairScores[Any]:
    """The scores of a space, by its kind."""
    kind = sides.gallery.store.space(space).kind
    if kind == "dense":
        return _DenseScores(sides, space)
    return _SparseScores(sides, space) if kind == "sparse" else _BinaryScores(sides, space)


class _DenseScores(PairScores[np.ndarray]):
    def __init__(self, sides: Sides, space: str) -> None:
        super().__init__(sides, space)
        self.row_bytes = 4 * self._dim
        self.pair_bytes = 2 * 4 * self._dim + PAIR_BYTES

    @property
    def rounding(self) -> float:
        return rounding(self._dim)

    def block(
        self, queries: Int[np.ndarray, " b"], start: int, stop: int
    ) -> Float32[np.ndarray, "b g"]:
        of_queries = self._units(0, queries)
        return np.asarray(of_queries @ self._units(1, np.arange(start, stop)).T)

    def _scores(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        of_queries, of_gallery = self._some(0, queries), self._some(1, gallery)
        return scores_of_pairs(of_queries[0], of_gallery[0], of_queries[1], of_gallery[1])

    def _vectors_of(self, side: StoreRows) -> UnitVectors:
        return UnitVectors(side.store.array(self._space), side.rows)


class _SparseScores(PairScores[scipy.sparse.csr_matrix]):
    def __init__(self, sides: Sides, space: str) -> None:
        super().__init__(sides, space)
        both = [self._vectors_of(side) for side in (sides.queries, sides.gallery)]
        self._longest = max(1, *(side.longest for side in both))
        self.beside_bytes = max(side.reading_bytes for side in both)
        self.row_bytes = COMPONENT_BYTES * self._longest
        self.pair_bytes = PAIR_BYTES + 2 * HELD_BYTES * self._longest

    @property
    def least_bytes(self) -> int:
        return max(super().least_bytes, 4 * 4 * self._dim, 8 * SCORED_BYTES * self._longest)

    @property
    def rounding(self) -> float:
        return rounding(self._longest)

    def block(
        self, queries: Int[np.ndarray, " b"], start: int, stop: int
    ) -> Float32[np.ndarray, "b g"]:
        # With few components a row, most pairs share one: adding up dense columns is many times
        # faster than a product of two sparse matrices.
        gallery = self._units(1, np.arange(start, stop))
        scores = np.empty((len(queries), stop - start), np.float32)
        step = max(1, min(MOST_DENSE_BYTES, self.working_bytes // 4) // (4 * self._dim))
        for first in range(0, len(queries), step):
            some = self._units(0, queries[first : first + step])
            scores[first : first + step] = (gallery @ some.T.toarray(order="C")).T
        return scores

    def _scores(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        together = min(COMPONENTS_TOGETHER, self.working_bytes // (8 * SCORED_BYTES))
        of_queries, of_gallery = self._some(0, queries), self._some(1, gallery)
        places = of_queries[1], of_gallery[1]
        return sparse_scores_of_pairs(of_queries[0], of_gallery[0], *places, together)

    def _vectors_of(self, side: StoreRows) -> UnitSparse:
        return UnitSparse(side.store.sparse_parts(self._space), side.rows)


class _BinaryScores(PairScores[np.ndarray]):
    def __init__(self, sides: Sides, space: str) -> None:
        super().__init__(sides, space)
        self.row_bytes = COMPONENT_BYTES * self._dim
        self.pair_bytes = 4 * -(-self._dim // 8) + PAIR_BYTES

    @property
    def rounding(self) -> float:
        return rounding(1)  # products of ±1 are exact, and divided once

    def block(
        self, queries: Int[np.ndarray, " b"], start: int, stop: int
    ) -> Float32[np.ndarray, "b g"]:
        of_gallery = self._units(1, np.arange(start, stop))
        signs = [self._signs(self._units(0, queries)), self._signs(of_gallery)]
        return np.asarray(signs[0] @ signs[1].T / np.float32(self._dim))

    def _scores(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        of_queries, of_gallery = self._some(0, queries), self._some(1, gallery)
        differ = of_queries[0][of_queries[1]] ^ of_gallery[0][of_gallery[1]]
        distances = np.bitwise_count(differ).sum(axis=1, dtype=np.int64)
        return np.asarray(1 - 2 * distances / self._dim, np.float32)

    def _signs(self, codes: UInt8[np.ndarray, "m bytes"]) -> Float32[np.ndarray, "m bits"]:
        """Codes as vectors of ±1, without the bits that only fill up the last byte."""
        return np.asarray(1 - 2 * np.unpackbits(codes, axis=1)[:, : self._dim].astype(np.float32))

    def _vectors_of(self, side: StoreRows) -> Codes:
        return Codes(side.store.array(self._space), side.rows)
