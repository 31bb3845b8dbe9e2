"""Undirected pairs of items with a score: what groups are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int64


@dataclass(frozen=True)
class Links:
    """Pairs of items, each once, by `one` and then by `other`, where one < other.

    `scores` are higher where two items are nearer; a pair has one score whichever of the two found
    the other.
    """

    one: Int64[np.ndarray, " p"]
    other: Int64[np.ndarray, " p"]
    scores: Float[np.ndarray, " p"]

    @staticmethod
    def of(
        one: Int[np.ndarray, " m"], other: Int[np.ndarray, " m"], scores: Float[np.ndarray, " m"]
    ) -> "Links":
        """From pairs in any order, either way round and repeated: the higher score stays.

        Pairs of an item with itself are left out.
        """
        low, high = np.minimum(one, other), np.maximum(one, other)
        order = np.lexsort((-scores, high, low))
        order = order[low[order] != high[order]]
        low, high = low[order].astype(np.int64), high[order].astype(np.int64)
        is_first = np.ones(len(low), bool)
        is_first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
        return Links(low[is_first], high[is_first], scores[order][is_first])

    @staticmethod
    def joined(parts: Sequence["Links"]) -> "Links":
        """The pairs of any of them, each once: none at all where there are no parts."""
        nothing = np.zeros(0, np.int64)
        return Links.of(
            np.concatenate([nothing, *(part.one for part in parts)]),
            np.concatenate([nothing, *(part.other for part in parts)]),
            np.concatenate([np.zeros(0), *(part.scores for part in parts)]),
        )

    def __len__(self) -> int:
        return len(self.one)

    def where(self, chosen: Bool[np.ndarray, " p"]) -> "Links":
        """Only the pairs that are chosen."""
        return Links(self.one[chosen], self.other[chosen], self.scores[chosen])

    def trusting(self, one: Int[np.ndarray, " m"], other: Int[np.ndarray, " m"]) -> "Links":
        """With an infinite score where somebody has decided that two items are the same."""
        size = 1 + max(int(items.max(initial=0)) for items in (self.other, one, other))
        keys = np.minimum(one, other) * size + np.maximum(one, other)
        is_decided = np.isin(self.one * size + self.other, keys)
        return Links(self.one, self.other, np.where(is_decided, np.inf, self.scores))

    def within(self, groups: Int[np.ndarray, " n"]) -> "Links":
        """Only the pairs whose two items have the same group."""
        return self.where(groups[self.one] == groups[self.other])
