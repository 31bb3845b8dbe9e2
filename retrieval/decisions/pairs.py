"""Decided pairs as positions of queries and in the gallery: what to lay over a table of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int, Int64

from retrieval.decisions.records import Decision
from retrieval.search.sides import Sides, StoreRows


@dataclass(frozen=True)
class DecidedPairs:
    """Pairs of a query and an item of the gallery that were decided to be the same or different.

    By query, and then by position in the gallery. Two items that both look for neighbours, and are
    looked among, are there from either side.

    Attributes:
        queries, gallery: the positions.
        is_same: what was decided.
        numbers: which decision it is; both sides of a pair have the same one.
        num_gone: decisions with an item that no store has any more.
    """

    queries: Int64[np.ndarray, " p"]
    gallery: Int64[np.ndarray, " p"]
    is_same: Bool[np.ndarray, " p"]
    numbers: Int64[np.ndarray, " p"]
    num_gone: int = 0

    @staticmethod
    def of(sides: Sides, decisions: Iterable[Decision]) -> "DecidedPairs":
        """Those of the decisions whose items are on both sides; unsure is no decision here."""
        decided = [made for made in decisions if made.decision != "unsure"]
        ids = {name for made in decided for name in made.pair}
        of_queries = _positions(sides.queries, ids)
        of_gallery = of_queries if sides.is_self_join else _positions(sides.gallery, ids)
        found = [
            (of_queries[one], of_gallery[other], made.decision == "same", number)
            for number, made in enumerate(decided)
            for one, other in (made.pair, made.pair[::-1])
            if one in of_queries and other in of_gallery
        ]
        table = np.array(sorted(found), np.int64).reshape(-1, 4)
        num_gone = _num_gone(sides, decided, of_queries.keys() | of_gallery.keys())
        return DecidedPairs(table[:, 0], table[:, 1], table[:, 2] == 1, table[:, 3], num_gone)

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def num_pairs(self) -> int:
        """How many pairs there are, each counted once."""
        return len(np.unique(self.numbers))

    def where(self, chosen: Bool[np.ndarray, " p"] | Int[np.ndarray, " m"]) -> "DecidedPairs":
        """Only those that are chosen, by a mask or by their places."""
        return replace(
            self,
            queries=self.queries[chosen],
            gallery=self.gallery[chosen],
            is_same=self.is_same[chosen],
            numbers=self.numbers[chosen],
        )

    def places(
        self, rows: Int[np.ndarray, "b c"], start: int = 0
    ) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """Which of these pairs are of a block of queries, and where they stand in it.

        Args:
            rows: the candidates of consecutive queries, the query itself first.
            start: the position of the first query.

        Returns:
            The places here of the m pairs of these queries, and the column of each among the
            candidates: −1 where it is none.
        """
        those = np.arange(*np.searchsorted(self.queries, [start, start + len(rows)]).tolist())
        stands = rows[self.queries[those] - start] == self.gallery[those][:, None]
        return those, np.where(stands.any(axis=1), stands.argmax(axis=1), -1)


def _positions(side: StoreRows, ids: set[str]) -> dict[str, int]:
    """Where items stand, of those that are looked for."""
    if not ids:
        return {}
    return {name: place for place, name in enumerate(side.ids.tolist()) if name in ids}


def _num_gone(sides: Sides, decided: list[Decision], known: set[str]) -> int:
    """How many decisions are of an item that neither store has, selected or not."""
    unknown = {name for made in decided for name in made.pair} - known
    if unknown:
        for side in (sides.queries, sides.gallery):
            unknown.difference_update(side.store.ids.tolist())
    return sum(not unknown.isdisjoint(made.pair) for made in decided)
