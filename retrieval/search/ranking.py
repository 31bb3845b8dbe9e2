"""Ranked neighbours: the order that every kind of space shares, whatever searched it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32, Int64

NO_ROW = -1
"""Stands where an item has fewer than k neighbours; its score is −inf and it never matches."""

LOWER_BITS = np.int32(0x7FFFFFFF)
"""All but the sign: turned over, negative floats are in the order of their integers."""

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

    def moved(self, offset: int) -> "Neighbours":
        """The same, found in a part of a gallery that starts at this row."""
        return Neighbours(np.where(self.rows == NO_ROW, NO_ROW, self.rows + offset), self.scores)

    def kth_scores(self, k: int) -> Float32[np.ndarray, " q"]:
        """The k-th best score of each item, −inf where there are fewer."""
        if self.scores.shape[1] < k:
            return np.full(len(self.scores), -np.inf, np.float32)
        return self.scores[:, k - 1].astype(np.float32)

    def matches(self, threshold: float | Float[np.ndarray, " q"]) -> Bool[np.ndarray, "q k"]:
        """True where the score reaches the threshold (of all, or of each item); itself always.

        Scores are compared in float64: a threshold halfway between two neighbouring float32 scores
        would be rounded onto one of them.
        """
        thresholds = np.asarray(threshold, np.float64).reshape(-1, 1)
        matched = (self.scores.astype(np.float64) >= thresholds) & (self.rows != NO_ROW)
        matched[:, 0] = True
        return np.asarray(matched)


def ranked(rows: Int[np.ndarray, "q m"], scores: Float32[np.ndarray, "q m"], k: int) -> Neighbours:
    """The k best of m candidates: by score descending, ties by row ascending, `NO_ROW` last.

    Score and row are packed into one integer, which sorts five times as fast as two keys. A row is
    below 2³¹; a score of −0 comes out as 0.
    """
    keys = np.sort(_packed(rows, scores), axis=1)[:, :k]
    places = keys.astype(np.uint32).view(np.int32)  # the lower half, where NO_ROW is all ones
    return Neighbours(places.astype(np.int64), _unordered(~(keys >> 32).astype(np.int32)))


def _packed(
    rows: Int[np.ndarray, "q m"], scores: Float32[np.ndarray, "q m"]
) -> Int64[np.ndarray, "q m"]:
    """Integers that are in order of score descending, then of row."""
    bits = (scores + np.float32(0)).view(np.int32)  # −0 becomes 0
    descending = ~(bits ^ (bits >> 31 & LOWER_BITS))
    keys = descending.astype(np.int64)
    keys <<= 32
    keys |= rows.astype(np.uint32)
    return keys


def _unordered(ordered: Int32[np.ndarray, "q m"]) -> Float32[np.ndarray, "q m"]:
    """Floats again, of integers that are in their order."""
    return np.asarray((ordered ^ (ordered >> 31 & LOWER_BITS)).view(np.float32))


def ranked_pairs(
    queries: Int[np.ndarray, " p"],
    rows: Int[np.ndarray, " p"],
    scores: Float32[np.ndarray, " p"],
    num_queries: int,
    k: int,
) -> Neighbours:
    """The k best of each query's pairs, which are in order of query; `NO_ROW` fills up the rest."""
    table = padded(queries, rows, scores, num_queries, k)
    return ranked(table.rows, table.scores, k)


def none_found(num_queries: int) -> Neighbours:
    """What to start with: no column."""
    shape = num_queries, 0
    return Neighbours(np.empty(shape, np.int64), np.empty(shape, np.float32))


def nothing_found(num_queries: int, k: int) -> Neighbours:
    """k columns of what is not there yet."""
    shape = num_queries, k
    return Neighbours(np.full(shape, NO_ROW, np.int64), np.full(shape, -np.inf, np.float32))


def joined(blocks: Sequence[Neighbours]) -> Neighbours:
    """Blocks of queries one after another; they have the same number of columns."""
    rows = np.concatenate([block.rows for block in blocks])
    return Neighbours(rows, np.concatenate([block.scores for block in blocks]))


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
    table = nothing_found(num_queries, max(width, int(counts.max(initial=0))))
    table.rows[queries, places] = rows
    table.scores[queries, places] = scores
    return table


def replace_rows(found: Neighbours, at: Int[np.ndarray, " m"], by: Neighbours) -> None:
    """Put another search of some of the items in the place of the first, in its first columns."""
    found.rows[at, : by.rows.shape[1]] = by.rows
    found.scores[at, : by.rows.shape[1]] = by.scores
