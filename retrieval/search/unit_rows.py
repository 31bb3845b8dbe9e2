"""The unit vectors of one side of a search in a dense space, checked before anything uses them."""

import numpy as np
from jaxtyping import Float32, Int

from embed.errors import FingerprintError, SelectionError, StoreError
from retrieval.search.dense import GALLERY_BYTES, UnitVectors
from retrieval.search.dense import _scores_of_pairs as scores_of_pairs
from retrieval.search.sides import Sides, StoreRows

__all__ = ["GalleryScores", "refuse_other_encoders", "scores_of_pairs", "unit_vectors"]


def unit_vectors(side: StoreRows, space: str) -> UnitVectors:
    """The vectors of a side at unit length, read as they are asked for.

    Raises:
        StoreError: there is no such space, it is not dense, or a vector is not finite.
        SelectionError: the side is empty.
    """
    _refuse_unfit(side, space)
    vectors = UnitVectors(side.store.array(space), side.rows)
    bad = np.flatnonzero(~np.isfinite(vectors.norms))
    if len(bad):
        raise StoreError(
            f"the vector of '{side.store.ids[side.rows[bad[0]]]}' in space '{space}' should be "
            f"finite and holds NaN or infinity ({len(bad)} do): encode that item again"
        )
    return vectors


def refuse_other_encoders(sides: Sides, space: str) -> None:
    """Raise FingerprintError where the two stores hold vectors of different encoders."""
    stores = sides.queries.store, sides.gallery.store
    found = [store.space(space).fingerprint for store in stores]
    if found[0] != found[1]:
        raise FingerprintError(
            f"space '{space}' should be of the same encoder in both stores: its fingerprint is "
            f"{found[0]} in {stores[0].path} and {found[1]} in {stores[1].path}: run the same "
            f"encoder on both"
        )


class GalleryScores:
    """The scores of proposed pairs by the one fixed way that an exact search ranks by.

    A gallery of up to `held_bytes` is held in memory at unit length; of a larger one only the
    vectors that are asked for are read, block by block.
    """

    def __init__(self, side: StoreRows, space: str, held_bytes: int = GALLERY_BYTES) -> None:
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


def _refuse_unfit(side: StoreRows, space: str) -> None:
    kind = side.store.space(space).kind
    if kind != "dense":
        raise StoreError(
            f"refinements and indexes add up vectors, so they need a dense space: "
            f"'{space}' of {side.store.path} is {kind}"
        )
    if len(side) == 0:
        raise SelectionError(f"no row of {side.store.path} is selected: there is nothing to search")
