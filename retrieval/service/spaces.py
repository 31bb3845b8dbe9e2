"""The vectors of one space, as single queries are scored against them.

As in every search here, a quick product only proposes: it may be off by `margin`, and what counts
is the score of a pair, which is added up in one fixed way (`retrieval.search.exact`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Union

import numpy as np
import scipy.sparse
from jaxtyping import Float32, Int, Shaped, UInt8

from embed.errors import StoreError
from embed.store import SpaceInfo, Store
from retrieval.search.exact import rounding
from retrieval.search.sparse_vectors import UnitSparse, sparse_scores_of_pairs

Vector = Union[Shaped[np.ndarray, "1 _"], scipy.sparse.csr_array]  # noqa: UP007 (mypy)
"""A query: one row, of the kind and the numbers of the space."""


class SpaceVectors(ABC):
    """The vectors of a space in a store.

    Attributes:
        info: what the space says of itself.
        margin: how far a score of `near` may be from that of `exact`.
    """

    info: SpaceInfo
    margin: float

    @abstractmethod
    def of_row(self, row: int) -> Vector:
        """The vector of an item, as a query."""

    @abstractmethod
    def prepared(self, query: Vector) -> Any:
        """A query as `near` and `exact` take it."""

    @abstractmethod
    def near(self, queries: Sequence[Any], start: int, stop: int) -> Float32[np.ndarray, "q m"]:
        """Roughly the scores of rows `start` to `stop`, of each query."""

    @abstractmethod
    def exact(self, query: Any, rows: Int[np.ndarray, " m"]) -> Float32[np.ndarray, " m"]:
        """The scores of rows, ascending, as every search in the space has them."""


def open_vectors(store: Store, name: str) -> SpaceVectors:
    """The vectors of a space, by its kind.

    Raises:
        StoreError: there is no such space, or a vector is not finite.
    """
    from retrieval.service.dense import DenseVectors  # torch takes seconds

    kinds: dict[str, Callable[[Store, str], SpaceVectors]] = {
        "dense": DenseVectors,
        "sparse": SparseVectors,
        "binary": BinaryVectors,
    }
    return kinds[store.space(name).kind](store, name)


class SparseVectors(SpaceVectors):
    """Held in memory at unit length, once."""

    def __init__(self, store: Store, name: str) -> None:
        self.info = store.space(name)
        self._parts = store.sparse_parts(name)
        units = UnitSparse(self._parts, np.arange(len(store)))
        if not np.isfinite(units.norms()).all():
            raise StoreError(f"space '{name}' holds NaN or infinity: encode the titles again")
        self._rows = units.between(0, len(units))
        self.margin = 2 * rounding(max(1, units.longest))

    def of_row(self, row: int) -> Vector:
        """The components of an item, as they are stored."""
        data, indices, indptr, (_, dim) = self._parts
        start, stop = int(indptr[row]), int(indptr[row + 1])
        ends = np.array([0, stop - start])
        return scipy.sparse.csr_array((data[start:stop], indices[start:stop], ends), (1, dim))

    def prepared(self, query: Vector) -> tuple[scipy.sparse.csr_matrix, Float32[np.ndarray, " d"]]:
        """At unit length, and the same written out."""
        assert isinstance(query, scipy.sparse.csr_array)
        unit = UnitSparse(query, np.arange(1)).between(0, 1)
        return unit, np.asarray(unit.toarray()[0], np.float32)

    def near(self, queries: Sequence[Any], start: int, stop: int) -> Float32[np.ndarray, "q m"]:
        """Products of the matrix with each query."""
        rows = self._rows[start:stop]
        return np.stack([np.asarray(rows @ query[1], np.float32) for query in queries])

    def exact(self, query: Any, rows: Int[np.ndarray, " m"]) -> Float32[np.ndarray, " m"]:
        """Pair by pair."""
        return sparse_scores_of_pairs(query[0], self._rows, np.zeros(len(rows), np.int64), rows)


class BinaryVectors(SpaceVectors):
    """Mapped from the file; scores are exact at once."""

    margin = 0.0

    def __init__(self, store: Store, name: str) -> None:
        self.info = store.space(name)
        self._codes = store.array(name)

    def of_row(self, row: int) -> Vector:
        """The bits of an item."""
        return np.array(self._codes[row : row + 1])

    def prepared(self, query: Vector) -> UInt8[np.ndarray, "1 bytes"]:
        """As it is."""
        assert isinstance(query, np.ndarray)
        return query

    def near(self, queries: Sequence[Any], start: int, stop: int) -> Float32[np.ndarray, "q m"]:
        """By the number of bits that differ."""
        codes = self._codes[start:stop]
        return np.stack([self._scores(query, codes) for query in queries])

    def exact(self, query: Any, rows: Int[np.ndarray, " m"]) -> Float32[np.ndarray, " m"]:
        """The same."""
        return self._scores(query, self._codes[rows])

    def _scores(
        self, query: UInt8[np.ndarray, "1 bytes"], codes: UInt8[np.ndarray, "m bytes"]
    ) -> Float32[np.ndarray, " m"]:
        distances = np.bitwise_count(query ^ codes).sum(axis=1, dtype=np.int64)
        return np.asarray(1 - 2 * distances / self.info.dim, np.float32)
