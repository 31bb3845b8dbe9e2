"""The scores of given pairs, in any space: those that a search in the space has."""

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Int, UInt8

from retrieval.search.exact import rounding, scores_of_pairs
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import Sides, StoreRows
from retrieval.search.sparse import UnitSparse
from retrieval.search.vectors import UnitVectors

PAIRS_TOGETHER = 2**17
HELD_BYTES = 2**30
"""Dense vectors are kept at unit length where they are no more; else those that are needed."""

DENSE_CELLS = 2**25
"""Components of sparse queries that are written out at once, zeros included: 128 MiB."""


def pair_scores(
    sides: Sides, space: str, rows: Int[np.ndarray, "q c"]
) -> Float32[np.ndarray, "q c"]:
    """The score of each query with each of its candidates, which are positions in the gallery.

    −inf where the row is `NO_ROW`, and 1 where it is the query itself. Where no component is shared
    in a sparse space the score is 0. Vectors are taken to be finite: a search has looked at them.
    """
    of_pairs = pair_scores_of(sides, space)
    scores = np.full(rows.shape, -np.inf, np.float32)
    queries, columns = np.nonzero(rows != NO_ROW)
    scores[queries, columns] = of_pairs(queries, rows[queries, columns])
    scores[(rows == sides.own[:, None]) & (rows != NO_ROW)] = 1
    return scores


class PairScores(ABC):
    """The scores of pairs of a query and an item of the gallery, both given by their positions."""

    def __init__(self, sides: Sides, space: str) -> None:
        self._sides = (sides.queries, sides.gallery)
        self._space = space

    def __call__(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        """The score of each pair: the same whatever others are asked for beside it."""
        scores = np.empty(len(queries), np.float32)
        for start in range(0, len(queries), PAIRS_TOGETHER):
            part = slice(start, start + PAIRS_TOGETHER)
            scores[part] = self._scores(queries[part], gallery[part])
        return scores

    @abstractmethod
    def block(
        self, queries: Int[np.ndarray, " b"], start: int, stop: int
    ) -> Float32[np.ndarray, "b g"]:
        """The scores of queries with a part of the gallery, as a matrix product rounds them."""

    @property
    @abstractmethod
    def rounding(self) -> float:
        """How far the scores of a block may be from those of the same pairs."""

    @abstractmethod
    def _scores(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        """Those of a few pairs."""


def pair_scores_of(sides: Sides, space: str) -> PairScores:
    """The scores of a space, by its kind."""
    kind = sides.gallery.store.space(space).kind
    if kind == "dense":
        return _DenseScores(sides, space)
    return _SparseScores(sides, space) if kind == "sparse" else _BinaryScores(sides, space)


class _DenseScores(PairScores):
    @property
    def rounding(self) -> float:
        return rounding(self._sides[1].store.space(self._space).dim)

    def block(
        self, queries: Int[np.ndarray, " b"], start: int, stop: int
    ) -> Float32[np.ndarray, "b g"]:
        of_queries = self._units(0, queries)
        return np.asarray(of_queries @ self._units(1, np.arange(start, stop)).T)

    def _scores(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        of_queries, query_rows = np.unique(queries, return_inverse=True)
        of_gallery, gallery_rows = np.unique(gallery, return_inverse=True)
        units = self._units(0, of_queries), self._units(1, of_gallery)
        return scores_of_pairs(*units, query_rows, gallery_rows)

    def _units(self, side: int, positions: Int[np.ndarray, " m"]) -> Float32[np.ndarray, "m d"]:
        """The unit vectors at ascending positions."""
        held = self._held[side]
        if held is None:
            return self._read(self._sides[side], positions)
        first, last = (int(positions[0]), int(positions[-1]) + 1) if len(positions) else (0, 0)
        return held[first:last] if last - first == len(positions) else held[positions]

    @cached_property
    def _held(self) -> list[Float32[np.ndarray, "_ d"] | None]:
        dim = self._sides[1].store.space(self._space).dim
        return [
            None if 4 * dim * len(side) > HELD_BYTES else self._read(side, np.arange(len(side)))
            for side in self._sides
        ]

    def _read(
        self, side: StoreRows, positions: Int[np.ndarray, " m"]
    ) -> Float32[np.ndarray, "m d"]:
        vectors = UnitVectors(side.store.array(self._space), side.rows[positions])
        return vectors.between(0, len(positions))


class _SparseScores(PairScores):
    def __init__(self, sides: Sides, space: str) -> None:
        super().__init__(sides, space)
        gallery = UnitSparse(sides.gallery.store.sparse(space), sides.gallery.rows)
        self._units = [gallery, gallery]
        if not sides.is_self_join:
            queries = sides.queries
            self._units[0] = UnitSparse(queries.store.sparse(space), queries.rows)

    @property
    def rounding(self) -> float:
        longest = max(int(np.diff(side.rows.indptr).max(initial=0)) for side in self._units)
        return rounding(longest)

    def block(
        self, queries: Int[np.ndarray, " b"], start: int, stop: int
    ) -> Float32[np.ndarray, "b g"]:
        # With few components a row, most pairs share one: adding up dense columns is many times
        # faster than a product of two sparse matrices.
        gallery = self._units[1].rows[start:stop]
        scores = np.empty((len(queries), stop - start), np.float32)
        step = max(1, DENSE_CELLS // gallery.shape[1])
        for first in range(0, len(queries), step):
            some = self._units[0].rows[queries[first : first + step]]
            scores[first : first + step] = (gallery @ some.T.toarray(order="C")).T
        return scores

    def _scores(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        products = self._units[0].rows[queries].multiply(self._units[1].rows[gallery])
        return np.clip(np.asarray(products.sum(axis=1), np.float32).reshape(-1), -1, 1)


class _BinaryScores(PairScores):
    def __init__(self, sides: Sides, space: str) -> None:
        super().__init__(sides, space)
        self._bits = sides.gallery.store.space(space).dim
        self._codes: list[UInt8[np.ndarray, "_ bytes"]] = [
            side.store.array(space)[side.rows] for side in self._sides
        ]

    @property
    def rounding(self) -> float:
        return rounding(1)  # products of ±1 are exact, and divided once

    def block(
        self, queries: Int[np.ndarray, " b"], start: int, stop: int
    ) -> Float32[np.ndarray, "b g"]:
        signs = [self._signs(self._codes[0][queries]), self._signs(self._codes[1][start:stop])]
        return np.asarray(signs[0] @ signs[1].T / np.float32(self._bits))

    def _scores(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        differ = self._codes[0][queries] ^ self._codes[1][gallery]
        distances = np.bitwise_count(differ).sum(axis=1, dtype=np.int64)
        return np.asarray(1 - 2 * distances / self._bits, np.float32)

    def _signs(self, codes: UInt8[np.ndarray, "m bytes"]) -> Float32[np.ndarray, "m bits"]:
        """Codes as vectors of ±1, without the bits that only fill up the last byte."""
        return np.asarray(1 - 2 * np.unpackbits(codes, axis=1)[:, : self._bits].astype(np.float32))
