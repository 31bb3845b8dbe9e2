"""What scores pairs, whatever the kind of their space, and how several share the memory."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int

from embed.errors import SettingsError
from retrieval.search.plans import MEMORY_BYTES
from retrieval.search.sides import Sides

LEAST_ROWS = 16
"""Vectors of either side that are looked at together, at the least."""

MOST_PAIRS = 2**17
"""Pairs that are scored at once, at the most: more are no faster."""


class PairScores(ABC):
    """The scores of pairs of a query and an item of the gallery, both given by their positions.

    Attributes:
        held_bytes: what is held whole, however little memory there is.
        row_bytes: of a vector that is looked at in a block.
        pair_bytes: of a pair with its vectors.
        working_bytes: what may be held besides, as `share_out` sets it.
    """

    held_bytes: int = 0
    row_bytes: int
    pair_bytes: int

    def __init__(self, sides: Sides, space: str) -> None:
        self._sides = (sides.queries, sides.gallery)
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
        return True

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


def share_out(parts: Sequence[PairScores], memory_bytes: int, least_beside: int = 0) -> int:
    """Give the scores of each space an equal part of one half of the memory.

    Returns the other half, which is `least_beside` or more. What is held whole comes off first.

    Raises:
        SettingsError: the memory is too little; the message says the least.
    """
    held_bytes = sum(part.held_bytes for part in parts)
    least_of_parts = len(parts) * max(part.least_bytes for part in parts)
    least = held_bytes + 2 * max(least_of_parts, least_beside)
    if memory_bytes < least:
        raise SettingsError(
            f"this search needs a memory of at least {least:,} bytes: found {memory_bytes:,}; "
            f"give a larger --memory"
        )
    half = (memory_bytes - held_bytes) // 2
    for part in parts:
        part.working_bytes = half // len(parts)
    return half
