"""Which items look among which, where no labels are needed."""

from dataclasses import dataclass

import numpy as np

from embed.rows import Where, select_rows
from embed.store import Store
from retrieval.search.sides import Sides, StoreRows, between, self_join


@dataclass(frozen=True)
class Chosen:
    """Restrictions of queries and gallery.

    Attributes:
        where: restrictions that all have to hold, on both sides.
        query_where, gallery_where: restrictions of one side alone; without any of them, and with
            no second store, all items look among one another.
    """

    where: tuple[Where, ...] = ()
    query_where: tuple[Where, ...] = ()
    gallery_where: tuple[Where, ...] = ()

    def sides(self, store: Store, gallery_store: Store | None = None) -> Sides:
        """The queries of `store`, and the gallery: of `gallery_store` where there is one.

        Raises:
            StoreError: a column that a store does not have.
            SelectionError: nothing is left on one side.
        """
        queries = np.flatnonzero(select_rows(store, (*self.where, *self.query_where)))
        if gallery_store is None and not (self.query_where or self.gallery_where):
            return self_join(store, queries)
        among = gallery_store or store
        gallery = np.flatnonzero(select_rows(among, (*self.where, *self.gallery_where)))
        return between(StoreRows(store, queries), StoreRows(among, gallery))
