"""Which items look among which, where no labels are needed, and for how many neighbours."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from embed.errors import SelectionError, SettingsError
from embed.rows import Where, select_rows, unseen_rows
from embed.store import Store
from retrieval.search.sides import Sides, StoreRows, between, self_join


@dataclass(frozen=True)
class Chosen:
    """Restrictions of queries and gallery.

    Attributes:
        where: restrictions that all have to hold, on both sides.
        query_where, gallery_where: restrictions of one side alone; without any of them, and with
            no second store, all items look among one another.
        unseen_by: spaces whose heads must not have seen the items, on either side.
    """

    where: tuple[Where, ...] = ()
    query_where: tuple[Where, ...] = ()
    gallery_where: tuple[Where, ...] = ()
    unseen_by: tuple[str, ...] = ()

    def sides(self, store: Store, gallery_store: Store | None = None) -> Sides:
        """The queries of `store`, and the gallery: of `gallery_store` where there is one.

        Raises:
            StoreError: a column or a space that a store does not have.
            SelectionError: nothing is left on one side.
        """
        queries = chosen_rows(store, (*self.where, *self.query_where), self.unseen_by)
        if gallery_store is None and not (self.query_where or self.gallery_where):
            return self_join(store, queries)
        among = gallery_store or store
        gallery = chosen_rows(among, (*self.where, *self.gallery_where), self.unseen_by)
        return between(StoreRows(store, queries), StoreRows(among, gallery))


def chosen_rows(
    store: Store, where: tuple[Where, ...], unseen_by: tuple[str, ...] = ()
) -> Int[np.ndarray, " n"]:
    """The rows that every restriction keeps and that no head of `unseen_by` has seen.

    Raises:
        StoreError: a column or a space that the store does not have.
        SelectionError: nothing is left.
    """
    mask = select_rows(store, where)
    for space in unseen_by:
        mask = mask & unseen_rows(store, space)
    if not mask.any():
        raise SelectionError(
            f"no row of {store.path} is left: the heads of {', '.join(unseen_by)} have seen all "
            f"that --where keeps"
        )
    return np.flatnonzero(mask)


def refuse_large_k(k: int | None, num_gallery: int) -> None:
    """Raise SettingsError where a `k` that was given is more than there are items."""
    if k is not None and k > num_gallery:
        raise SettingsError(
            f"--k {k:,} asks for more neighbours than there are: the gallery has {num_gallery:,} "
            f"items; give --k {num_gallery} or less, or leave it out"
        )
