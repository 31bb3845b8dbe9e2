"""The unit vectors of one side of a search in a dense space, checked before anything uses them."""

import numpy as np
from jaxtyping import Float32, Int

from embed.errors import SelectionError, StoreError
from retrieval.search.exact import scores_of_pairs
from retrieval.search.neighbours import directed_dense
from retrieval.search.plans import MEMORY_BYTES
from retrieval.search.sides import StoreRows
from retrieval.search.vectors import UnitVectors


def unit_vectors(side: StoreRows, space: str) -> UnitVectors:
    """The vectors of a side at unit length, read as they are asked for.

    Raises:
        StoreError: there is no such space, it is not dense, or a vector is not finite, or zero.
        SelectionError: the side is empty.
    """
    kind = side.store.space(space).kind
    if kind != "dense":
        raise StoreError(
            f"refinements and indexes add up vectors, so they need a dense space: "
            f"'{space}' of {side.store.path} is {kind}"
        )
    if len(side) == 0:
        raise SelectionError(f"no row of {side.store.path} is selected: there is nothing to search")
    return directed_dense(side, space)


class GalleryScores:
    """The scores of proposed pairs by the one fixed way that an exact search ranks by.

    A gallery of up to `held_bytes` is held in memory at unit length; of a larger one only the
    vectors that are asked for are read, block by block.
    """

    def __init__(self, side: StoreRows, space: str, held_bytes: int = MEMORY_BYTES // 2) -> None:
        self._side = side
        self._space = space
        num_bytes = 4 * len(side) * side.store.space(space).dim
        self._held = None
        if num_bytes <= held_bytes:
            self._held = unit_vectors(side, space).between(0, len(side))

    def __call__(
        self, queries: Float32[np.ndarray, "b d"], rows: Int[np.ndarray, "b m"]
    ) -> Float32[np.ndarray, "b m"]:
        """The score of each query with each row of the gallery; −inf where the row is below 0."""
        is_there = rows >= 0
        pairs, wanted = np.nonzero(is_there)[0], rows[is_there]
        gallery = self._held
        if gallery is None:
            needed, wanted = np.unique(wanted, return_inverse=True)
            some = StoreRows(self._side.store, self._side.rows[needed])
            gallery = unit_vectors(some, self._space).between(0, len(needed))
        scores = np.full(rows.shape, -np.inf, np.float32)
        scores[is_there] = scores_of_pairs(queries, gallery, pairs, wanted.astype(np.int64))
        return scores
