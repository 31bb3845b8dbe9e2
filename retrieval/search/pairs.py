"""The scores of given pairs, in any space: those that a search in the space has."""

from functools import cached_property

import numpy as np
from jaxtyping import Float32, Int, UInt8

from retrieval.search.exact import rounding, scores_of_pairs
from retrieval.search.plans import MEMORY_BYTES
from retrieval.search.ranking import NO_ROW
from retrieval.search.scoring import PairScores, share_out
from retrieval.search.sides import Sides, StoreRows
from retrieval.search.sparse import UnitSparse, sparse_scores_of_pairs
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


def pair_scores_of(sides: Sides, space: str) -> PairScores:
    """The scores of a space, by its kind."""
    kind = sides.gallery.store.space(space).kind
    if kind == "dense":
        return _DenseScores(sides, space)
    return _SparseScores(sides, space) if kind == "sparse" else _BinaryScores(sides, space)


class _DenseScores(PairScores):
    """Unit vectors are held where half of the memory is enough; else those that are needed."""

    def __init__(self, sides: Sides, space: str) -> None:
        super().__init__(sides, space)
        self.row_bytes = 4 * self._dim
        self.pair_bytes = 2 * 4 * self._dim + PAIR_BYTES

    @property
    def rounding(self) -> float:
        return rounding(self._dim)

    @property
    def is_held(self) -> bool:
        return self._held[1] is not None

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

    def _some(
        self, side: int, positions: Int[np.ndarray, " p"]
    ) -> tuple[Float32[np.ndarray, "m d"], Int[np.ndarray, " p"]]:
        """Vectors, and where among them those at some positions are."""
        held = self._held[side]
        if held is not None:
            return held, positions
        needed, places = np.unique(positions, return_inverse=True)
        return self._units(side, needed), places

    def _units(self, side: int, positions: Int[np.ndarray, " m"]) -> Float32[np.ndarray, "m d"]:
        """The unit vectors at ascending positions."""
        held = self._held[side]
        first, last = (int(positions[0]), int(positions[-1]) + 1) if len(positions) else (0, 0)
        is_run = last - first == len(positions)
        if held is not None:
            return held[first:last] if is_run else held[positions]
        if is_run:
            return self._vectors[side].between(first, last)
        store, rows = self._sides[side].store, self._sides[side].rows
        return UnitVectors(store.array(self._space), rows[positions]).between(0, len(positions))

    @cached_property
    def _held(self) -> list[Float32[np.ndarray, "_ d"] | None]:
        left = self.working_bytes // 2
        held: list[Float32[np.ndarray, "_ d"] | None] = []
        for vectors in self._vectors:
            if held and vectors is self._vectors[0]:  # both sides are one
                held.append(held[0])
                continue
            fits = 4 * self._dim * len(vectors) <= left
            held.append(vectors.between(0, len(vectors)) if fits else None)
            left -= 4 * self._dim * len(vectors) if fits else 0
        return held

    @cached_property
    def _vectors(self) -> list[UnitVectors]:
        vectors = [_unit_vectors(self._sides[0], self._space)]
        is_self_join = self._sides[0] is self._sides[1]
        return [
            *vectors,
            vectors[0] if is_self_join else _unit_vectors(self._sides[1], self._space),
        ]


class _SparseScores(PairScores):
    def __init__(self, sides: Sides, space: str) -> None:
        super().__init__(sides, space)
        of_gallery = UnitSparse(sides.gallery.store.sparse(space), sides.gallery.rows)
        self._units = [of_gallery, of_gallery]
        self.held_bytes = of_gallery.num_bytes
        if not sides.is_self_join:
            queries = sides.queries
            self._units[0] = UnitSparse(queries.store.sparse(space), queries.rows)
            self.held_bytes += self._units[0].num_bytes
        self._longest = max(1, *(side.longest for side in self._units))
        self.row_bytes = COMPONENT_BYTES * self._longest
        self.pair_bytes = PAIR_BYTES  # components of pairs are looked at few at a time

    @property
    def least_bytes(self) -> int:
        return max(super().least_bytes, 4 * 4 * self._dim)

    @property
    def rounding(self) -> float:
        return rounding(self._longest)

    def block(
        self, queries: Int[np.ndarray, " b"], start: int, stop: int
    ) -> Float32[np.ndarray, "b g"]:
        # With few components a row, most pairs share one: adding up dense columns is many times
        # faster than a product of two sparse matrices.
        gallery = self._units[1].rows[start:stop]
        scores = np.empty((len(queries), stop - start), np.float32)
        step = max(1, min(MOST_DENSE_BYTES, self.working_bytes // 4) // (4 * self._dim))
        for first in range(0, len(queries), step):
            some = self._units[0].rows[queries[first : first + step]]
            scores[first : first + step] = (gallery @ some.T.toarray(order="C")).T
        return scores

    def _scores(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        return sparse_scores_of_pairs(self._units[0], self._units[1], queries, gallery)


class _BinaryScores(PairScores):
    def __init__(self, sides: Sides, space: str) -> None:
        super().__init__(sides, space)
        of_gallery: UInt8[np.ndarray, "_ bytes"] = _codes(sides.gallery, space)
        is_self_join = sides.is_self_join
        self._codes = [of_gallery if is_self_join else _codes(sides.queries, space), of_gallery]
        self.held_bytes = of_gallery.nbytes + (0 if is_self_join else self._codes[0].nbytes)
        self.row_bytes = COMPONENT_BYTES * self._dim
        self.pair_bytes = 4 * of_gallery.shape[1] + PAIR_BYTES

    @property
    def rounding(self) -> float:
        return rounding(1)  # products of ±1 are exact, and divided once

    def block(
        self, queries: Int[np.ndarray, " b"], start: int, stop: int
    ) -> Float32[np.ndarray, "b g"]:
        signs = [self._signs(self._codes[0][queries]), self._signs(self._codes[1][start:stop])]
        return np.asarray(signs[0] @ signs[1].T / np.float32(self._dim))

    def _scores(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        differ = self._codes[0][queries] ^ self._codes[1][gallery]
        distances = np.bitwise_count(differ).sum(axis=1, dtype=np.int64)
        return np.asarray(1 - 2 * distances / self._dim, np.float32)

    def _signs(self, codes: UInt8[np.ndarray, "m bytes"]) -> Float32[np.ndarray, "m bits"]:
        """Codes as vectors of ±1, without the bits that only fill up the last byte."""
        return np.asarray(1 - 2 * np.unpackbits(codes, axis=1)[:, : self._dim].astype(np.float32))


def _unit_vectors(side: StoreRows, space: str) -> UnitVectors:
    return UnitVectors(side.store.array(space), side.rows)


def _codes(side: StoreRows, space: str) -> UInt8[np.ndarray, "m bytes"]:
    return np.asarray(side.store.array(space)[side.rows])
