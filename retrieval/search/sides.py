"""Who looks among whom: the queries of a search, and the gallery that they look among."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Shaped

from embed.store import Store
from retrieval.search.ranking import NO_ROW


@dataclass(frozen=True)
class StoreRows:
    """Some rows of a store, ascending."""

    store: Store
    rows: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> Shaped[np.ndarray, " n"]:
        """The ids of the rows."""
        return np.asarray(self.store.ids[self.rows])


@dataclass(frozen=True)
class Sides:
    """The items that look for neighbours, and those that they look among.

    `own` is where each query itself stands in the gallery, `NO_ROW` where it does not: an item is
    never found as a neighbour of itself. In a self-join both sides are the same object.
    """

    queries: StoreRows
    gallery: StoreRows
    own: Int[np.ndarray, " q"]

    @property
    def is_self_join(self) -> bool:
        """True where all items look among one another."""
        return self.queries is self.gallery


def self_join(store: Store, rows: Int[np.ndarray, " n"]) -> Sides:
    """All of these rows look among one another."""
    both = StoreRows(store, rows)
    return Sides(both, both, np.arange(len(rows)))


def between(queries: StoreRows, gallery: StoreRows) -> Sides:
    """Queries look among a gallery, of the same store or of another: items are joined by id."""
    if queries.store is gallery.store:
        places = np.minimum(np.searchsorted(gallery.rows, queries.rows), max(0, len(gallery) - 1))
        is_own = (
            gallery.rows[places] == queries.rows if len(gallery) else np.zeros(len(queries), bool)
        )
        return Sides(queries, gallery, np.where(is_own, places, NO_ROW))
    positions = {item_id: place for place, item_id in enumerate(gallery.ids.tolist())}
    own = [positions.get(item_id, NO_ROW) for item_id in queries.ids.tolist()]
    return Sides(queries, gallery, np.array(own, np.int64))
