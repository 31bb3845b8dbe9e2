"""The vectors of a dense space, as single queries are scored against them."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from embed.errors import StoreError
from embed.store import Store
from retrieval.search.exact import rounding, scores_of_pairs
from retrieval.search.vectors import UnitVectors
from retrieval.service.spaces import SpaceVectors, Vector

BLOCK_ROWS = 2048
"""Rows that are looked at together: 4 MiB of 512 numbers, which stay in the cache."""

LEAST_UNPACKED = 4
"""Queries for which it is quicker to unpack float16 once than to multiply it as it is for each."""

TRIED_ROWS = 256
"""Rows on which half precision is tried before it is trusted."""


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

    def near(self, queries: Sequence[Any], start: int, stop: int) -> Float32[np.ndarray, "q m"]:
        """Products, divided by the lengths."""
        units = torch.from_numpy(np.concatenate([unit for unit, _ in queries]))
        products = np.empty((len(queries), stop - start), np.float32)
        for first in range(start, stop, BLOCK_ROWS):
            block = self._tensor[first : min(first + BLOCK_ROWS, stop)]
            into = products[:, first - start : first - start + len(block)]
            if self._is_half and len(queries) < LEAST_UNPACKED:
                for row, (_, half) in zip(into, queries, strict=True):
                    row[:] = torch.mv(block, half).numpy()
            else:
                into[:] = torch.mm(units, block.float().T).numpy()
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
