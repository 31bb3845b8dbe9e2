"""Ranked neighbours: the order that every kind of space shares, whatever searched it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

NO_ROW = -1
"""Stands where an item has fewer than k neighbours; its score is −inf and it never matches."""

SLACK = 16
"""How many more candidates than k a search asks for, so that last-place ties rarely matter."""


@dataclass(frozen=True)
class Neighbours:
    """The k best-scored items of each of q items, the item itself first.

    `rows` are positions within the selected rows, int64, `NO_ROW` where there is no k-th neighbour.
    `scores` are cosine similarities between −1 and 1, float32, descending; equal scores are in
    ascending order of row.
    """

    rows: Int[np.ndarray, "q k"]
    scores: Float[np.ndarray, "q k"]

    def first(self, k: int) -> "Neighbours":
        """Only the first k columns: all of them where there are fewer."""
        return Neighbours(self.rows[:, :k], self.scores[:, :k])

    def matches(self, threshold: float | Float[np.ndarray, " q"]) -> Bool[np.ndarray, "q k"]:
        """True where the score reaches the threshold (of all, or of each item); itself always.

        Scores are compared in float64: a threshold halfway between two neighbouring float32 scores
        would be rounded onto one of them.
        """
        thresholds = np.asarray(threshold, np.float64).reshape(-1, 1)
        matched = (self.scores.astype(np.float64) >= thresholds) & (self.rows != NO_ROW)
        matched[:, 0] = True
        return np.asarray(matched)


def ranked(rows: Int[np.ndarray, "q m"], scores: Float[np.ndarray, "q m"], k: int) -> Neighbours:
    """The k best of m candidates: by score descending, ties by row ascending, `NO_ROW` last."""
    order = np.lexsort((rows, -scores), axis=-1)[:, :k]
    return Neighbours(np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1))


def merged(one: Neighbours, other: Neighbours, k: int) -> Neighbours:
    """The k best of two searches among different rows."""
    rows = np.concatenate([one.rows, other.rows], axis=1)
    return ranked(rows, np.concatenate([one.scores, other.scores], axis=1), k)


def self_first(found: Neighbours, own: Int[np.ndarray, " q"], k: int) -> Neighbours:
    """The k nearest with each query itself first, at score 1, and not a second time.

    `own` is its position in the gallery, `NO_ROW` where it is not there. Among many duplicates the
    item itself may not have been found: the last one found makes room.
    """
    is_own = (found.rows == own[:, None]) & (found.rows != NO_ROW)
    order = np.argsort(is_own, axis=1, kind="stable")[:, : k - 1]  # itself last, then cut off
    scores = np.where(is_own, -np.inf, found.scores)  # it stays where there is nothing else
    rows = np.where(is_own, NO_ROW, found.rows)
    first = np.ones((len(own), 1), np.float32)
    return Neighbours(
        np.concatenate([own[:, None], np.take_along_axis(rows, order, 1)], axis=1),
        np.concatenate([first, np.take_along_axis(scores, order, 1)], axis=1),
    )


def padded(
    queries: Int[np.ndarray, " p"],
    rows: Int[np.ndarray, " p"],
    scores: Float[np.ndarray, " p"],
    num_queries: int,
    width: int,
) -> Neighbours:
    """Pairs, ordered by query, as a table that is at least `width` wide; not ranked yet."""
    counts = np.bincount(queries, minlength=num_queries)
    places = np.arange(len(queries)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (num_queries, max(width, int(counts.max(initial=0))))
    table = Neighbours(np.full(shape, NO_ROW, np.int64), np.full(shape, -np.inf, np.float32))
    table.rows[queries, places] = rows
    table.scores[queries, places] = scores
    return table


def replace_rows(found: Neighbours, at: Int[np.ndarray, " m"], by: Neighbours) -> None:
    """Put a second, more careful search of some of the items in the place of the first."""
    found.rows[at] = by.rows
    found.scores[at] = by.scores
