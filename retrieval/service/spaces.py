"""The vectors of one space, as single queries are scored against them.

As in every search here, a quick product only proposes: it may be off by `margin`, and what counts
is the score of a pair, which is added up in one fixed way (`retrieval.search.exact`).
"""

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Union

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Float32, Int, Shaped, UInt8

from embed.errors import StoreError
from embed.store import SpaceInfo, Store
from retrieval.search.exact import rounding, scores_of_pairs
from retrieval.search.sparse_vectors import UnitSparse, sparse_scores_of_pairs
from retrieval.search.vectors import UnitVectors

BLOCK_ROWS = 2048
"""Rows that are looked at together: 4 MiB of 512 numbers, which stay in the cache."""

TRIED_ROWS = 256
"""Rows on which half precision is tried before it is trusted."""

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
    def near(self, query: Any, start: int, stop: int) -> Float32[np.ndarray, " m"]:
        """Roughly the scores of rows `start` to `stop`."""

    @abstractmethod
    def exact(self, query: Any, rows: Int[np.ndarray, " m"]) -> Float32[np.ndarray, " m"]:
        """The scores of rows, ascending, as every search in the space has them."""


def open_vectors(store: Store, name: str) -> SpaceVectors:
    """The vectors of a space, by its kind.

    Raises:
        StoreError: there is no such space, or a vector is not finite.
    """
    kinds: dict[str, Callable[[Store, str], SpaceVectors]] = {
        "dense": DenseVectors,
        "sparse": SparseVectors,
        "binary": BinaryVectors,
    }
    return kinds[store.space(name).kind](store, name)


class DenseVectors(SpaceVectors):
    """Mapped from the file: nothing but the length of each vector is held.

    float16 is multiplied as it is where that adds up in float32, else unpacked block by block.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.info = store.space(name)
        self._array = store.array(name)
        self._tensor = _as_tensor(self._array)
        self._factors = self._lengths_inverted(store, name)
        self.margin = rounding(self.info.dim)
        self._is_half = self._array.dtype == np.float16 and self._is_half_trusted()
        if self._is_half:
            self.margin += _half_margin(self.info.dim)

    def of_row(self, row: int) -> Vector:
        """The vector of an item, as it is stored."""
        return np.array(self._array[row : row + 1])

    def prepared(self, query: Vector) -> tuple[Float32[np.ndarray, "1 d"], torch.Tensor]:
        """At unit length, and the same as it is multiplied."""
        assert isinstance(query, np.ndarray)
        unit = UnitVectors(query, np.arange(1)).between(0, 1)
        as_multiplied = torch.from_numpy(unit[0])
        return unit, as_multiplied.half() if self._is_half else as_multiplied

    def near(self, query: Any, start: int, stop: int) -> Float32[np.ndarray, " m"]:
        """Products, divided by the lengths."""
        products = np.empty(stop - start, np.float32)
        for first in range(start, stop, BLOCK_ROWS):
            block = self._tensor[first : min(first + BLOCK_ROWS, stop)]
            if not self._is_half:
                block = block.float()
            products[first - start : first - start + len(block)] = torch.mv(block, query[1]).numpy()
        products *= self._factors[start:stop]
        return products

    def exact(self, query: Any, rows: Int[np.ndarray, " m"]) -> Float32[np.ndarray, " m"]:
        """Pair by pair."""
        scores = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), BLOCK_ROWS):
            some = rows[start : start + BLOCK_ROWS]
            units = UnitVectors(self._array, some).between(0, len(some))
            of_query, own = np.zeros(len(some), np.int64), np.arange(len(some))
            scores[start : start + len(some)] = scores_of_pairs(query[0], units, of_query, own)
        return scores

    def _lengths_inverted(self, store: Store, name: str) -> Float32[np.ndarray, " n"]:
        lengths = np.empty(len(self._array), np.float32)
        for start in range(0, len(lengths), BLOCK_ROWS):
            block = self._tensor[start : start + BLOCK_ROWS].float()
            lengths[start : start + len(block)] = torch.linalg.vector_norm(block, dim=1).numpy()
        bad = np.flatnonzero(~np.isfinite(lengths))
        if len(bad):
            raise StoreError(
                f"the vector of '{store.ids[bad[0]]}' in space '{name}' should be finite and holds "
                f"NaN or infinity ({len(bad)} do): encode that item again"
            )
        return np.divide(1, lengths, where=lengths > 0, out=np.zeros_like(lengths))

    def _is_half_trusted(self) -> bool:
        """Whether products in half precision are as near as rounding each of them once allows."""
        is_unit = (np.abs(self._factors - 1) < 0.5) | (self._factors == 0)
        if not is_unit.all():
            return False
        tried = self._tensor[:TRIED_ROWS]
        query = tried.float().sum(dim=0)
        query /= max(float(torch.linalg.vector_norm(query)), 1e-6)
        off = torch.mv(tried, query.half()).float() - torch.mv(tried.float(), query)
        return bool(off.abs().max() <= _half_margin(self.info.dim))


def _half_margin(dim: int) -> float:
    """What rounding query and product to float16 adds, for vectors of unit length.

    Half a unit in the last place each, relative, and for numbers near 0, absolute.
    """
    return float(2 * 2.0**-11 * 1.01 + np.sqrt(dim) * 2.0**-24)


def _as_tensor(array: Float[np.ndarray, "n d"]) -> torch.Tensor:
    """A tensor over the same memory: torch warns of what can't be written to, and only reads."""
    if array.size == 0 or array.flags.writeable:
        return torch.from_numpy(array)
    memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    flat: Float[np.ndarray, " _"] = np.frombuffer(memory, array.dtype)  # type: ignore[call-overload]  # any buffer
    return torch.from_numpy(flat.reshape(array.shape))


class SparseVectors(SpaceVectors):
    """Held in memory, once."""

    def __init__(self, store: Store, name: str) -> None:
        self.info = store.space(name)
        matrix = store.sparse(name)
        units = UnitSparse(matrix, np.arange(matrix.shape[0]))
        if not np.isfinite(units.norms()).all():
            raise StoreError(f"space '{name}' holds NaN or infinity: encode the titles again")
        self._units = units.between(0, len(units))
        self.margin = 2 * rounding(max(1, units.longest))
        self._parts = store.sparse_parts(name)

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

    def near(self, query: Any, start: int, stop: int) -> Float32[np.ndarray, " m"]:
        """A product of the matrix with the query."""
        return np.asarray(self._units[start:stop] @ query[1], np.float32)

    def exact(self, query: Any, rows: Int[np.ndarray, " m"]) -> Float32[np.ndarray, " m"]:
        """Pair by pair."""
        return sparse_scores_of_pairs(query[0], self._units, np.zeros(len(rows), np.int64), rows)


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

    def near(self, query: Any, start: int, stop: int) -> Float32[np.ndarray, " m"]:
        """By the number of bits that differ."""
        return self._scores(query, self._codes[start:stop])

    def exact(self, query: Any, rows: Int[np.ndarray, " m"]) -> Float32[np.ndarray, " m"]:
        """The same."""
        return self._scores(query, self._codes[rows])

    def _scores(
        self, query: UInt8[np.ndarray, "1 bytes"], codes: UInt8[np.ndarray, "m bytes"]
    ) -> Float32[np.ndarray, " m"]:
        distances = np.bitwise_count(query ^ codes).sum(axis=1, dtype=np.int64)
        return np.asarray(1 - 2 * distances / self.info.dim, np.float32)
