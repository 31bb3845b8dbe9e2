"""What scores pairs, whatever the kind of their space, and how several share the memory."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import scipy.sparse
from jaxtyping import Float32, Int

from retrieval.search.plans import MEMORY_BYTES, refuse_too_little
from retrieval.search.sides import Sides, StoreRows

LEAST_ROWS = 16
"""Vectors of either side that are looked at together, at the least."""

MOST_PAIRS = 2**17
"""Pairs that are scored at once, at the most: more are no faster."""


_Units = TypeVar("_Units", np.ndarray, scipy.sparse.csr_matrix)
_Read = TypeVar("_Read", covariant=True)


@runtime_checkable
class Vectors(Protocol[_Read]):
    """The vectors of a side, read from its store as they are asked for."""

    def __len__(self) -> int: ...

    @property
    def num_bytes(self) -> int:
        """What all of them take where they are held."""

    def between(self, start: int, stop: int) -> _Read:
        """Those of these positions."""

    def at(self, positions: Int[np.ndarray, " b"]) -> _Read:
        """Those at some positions."""


class PairScores(ABC, Generic[_Units]):
    """The scores of pairs of a query and an item of the gallery, both given by their positions.

    The vectors of a side are held where half of the memory is enough, the queries first; else those
    that are needed are read.

    Attributes:
        beside_bytes: what is needed besides, however little memory there is.
        row_bytes: of a vector that is looked at in a block.
        pair_bytes: of a pair with its vectors.
        working_bytes: what may be held, as `share_out` sets it.
    """

    beside_bytes: int = 0
    row_bytes: int
    pair_bytes: int

    def __init__(self, sides: Sides, space: str) -> None:
        self._sides = sides
        self._space = space
        self._dim = sides.gallery.store.space(space).dim
        self.working_bytes = MEMORY_BYTES

    def __call__(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        """The score of each pair: the same whatever others are asked for beside it."""
        scores = np.empty(len(queries), np.float32)
        together = max(1, min(MOST_PAIRS, self.working_bytes // (2 * self.pair_bytes)))
        for start in range(0, len(queries), together):
            part = slice(start, start + together)
            scores[part] = self._scores(queries[part], gallery[part])
        return scores

    @property
    def least_bytes(self) -> int:
        """The least to work with: `LEAST_ROWS` of either side."""
        return 2 * LEAST_ROWS * max(2 * self.row_bytes, self.pair_bytes)

    @property
    def most_rows(self) -> int:
        """How many vectors of either side a block may have: half of the memory is theirs."""
        return self.working_bytes // (4 * self.row_bytes)

    @property
    def is_held(self) -> bool:
        """True where the gallery is not read anew for each block."""
        return self._held[1] is not None

    def _some(self, side: int, positions: Int[np.ndarray, " p"]) -> tuple[_Units, Any]:
        """Vectors, and where among them those at some positions are."""
        held = self._held[side]
        if held is not None:
            return held, positions
        needed, places = np.unique(positions, return_inverse=True)
        return self._units(side, needed), places

    def _units(self, side: int, positions: Int[np.ndarray, " m"]) -> _Units:
        """The vectors at ascending positions."""
        held = self._held[side]
        if held is None:
            return self._vectors[side].at(positions)
        first, last = (int(positions[0]), int(positions[-1]) + 1) if len(positions) else (0, 0)
        return held[first:last] if last - first == len(positions) else held[positions]

    @cached_property
    def _held(self) -> list[_Units | None]:
        left = self.working_bytes // 2
        held: list[_Units | None] = []
        for vectors in self._vectors:
            if held and vectors is self._vectors[0]:  # both sides are one
                held.append(held[0])
                continue
            fits = vectors.num_bytes <= left
            held.append(vectors.between(0, len(vectors)) if fits else None)
            left -= vectors.num_bytes if fits else 0
        return held

    @cached_property
    def _vectors(self) -> list[Vectors[_Units]]:
        of_queries = self._vectors_of(self._sides.queries)
        is_self_join = self._sides.is_self_join
        return [of_queries, of_queries if is_self_join else self._vectors_of(self._sides.gallery)]

    @abstractmethod
    def _vectors_of(self, side: StoreRows) -> Vectors[_Units]:
        """The vectors of a side."""

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


def share_out(parts: Sequence[PairScores[Any]], memory_bytes: int, least_beside: int = 0) -> int:
    """Give the scores of each space an equal part of one half of the memory.

    Returns the other half, which is `least_beside` or more. What they need besides comes off first.

    Raises:
        SettingsError: the memory is too little; the message says the least.
    """
    beside_bytes = sum(part.beside_bytes for part in parts)
    least_of_parts = len(parts) * max(part.least_bytes for part in parts)
    least = beside_bytes + 2 * max(least_of_parts, least_beside)
    refuse_too_little(least, memory_bytes)
    half = (memory_bytes - beside_bytes) // 2
    for part in parts:
        part.working_bytes = half // len(parts)
    return half
