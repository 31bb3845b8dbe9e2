"""Rules beside the threshold: which candidates are matches whatever they score, and which never.

They depend on the order of a row's candidates and on their scores alone, not on the threshold, so
the best threshold under any of them is still found exactly.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float32, Int

from embed.errors import SettingsError
from retrieval.search.ranking import NO_ROW
from retrieval.thresholds.candidates import Candidates


@dataclass(frozen=True)
class Rules:
    """How many matches a row has at least and at most, and which candidates are left out.

    Attributes:
        at_least: the so many best of a row's set are always taken, itself included: 2 never leaves
            a row alone. It goes before the other rules.
        at_most: no more than so many, itself included.
        gap: a row's candidates end where the score falls most from one to the next, itself (with
            score 1) included; the first of equal falls.
        reciprocal: only candidates that have the row among their own.
    """

    at_least: int = 1
    at_most: int | None = None
    gap: bool = False
    reciprocal: bool = False

    def __post_init__(self) -> None:
        if self.at_least < 1:
            raise SettingsError(
                f"--at-least counts the item itself and is 1 or more: found {self.at_least}"
            )
        if self.at_most is not None and self.at_most < self.at_least:
            raise SettingsError(
                f"--at-most should not be below --at-least: found {self.at_most} and "
                f"{self.at_least}"
            )


@dataclass(frozen=True)
class Bounds:
    """What a threshold can change: `always` are matches, and only `possible` ones can be."""

    always: Bool[np.ndarray, "q c"]
    possible: Bool[np.ndarray, "q c"]


def bounds(candidates: Candidates, rules: Rules, *, is_self_join: bool = True) -> Bounds:
    """Apply the rules to candidates.

    Raises:
        SettingsError: reciprocal matches are asked for where queries and gallery are different.
    """
    refuse_one_way(rules, is_self_join=is_self_join)
    exist = candidates.exist
    places = np.arange(exist.shape[1])
    possible = exist.copy()
    if rules.at_most is not None:
        possible &= places < rules.at_most
    if rules.gap:
        possible &= places <= _before_the_gap(candidates.combined)[:, None]
    if rules.reciprocal:
        is_mutual = np.zeros(exist.size, bool)
        is_mutual[mutual_entries(candidates.rows, exist)[0]] = True
        possible &= is_mutual.reshape(exist.shape)
    always = exist & (places < rules.at_least)
    return Bounds(always, possible | always)


def refuse_one_way(rules: Rules, *, is_self_join: bool) -> None:
    """Raise SettingsError where reciprocal matches are asked for and only one side looks."""
    if rules.reciprocal and not is_self_join:
        raise SettingsError(
            "--reciprocal is for items that look among one another: found queries and a gallery, "
            "which does not look among them; leave it out"
        )


def mutual_entries(
    rows: Int[np.ndarray, "q c"], taken: Bool[np.ndarray, "q c"]
) -> Int[np.ndarray, "2 m"]:
    """Pairs of two queries that are taken from both sides, each once from either side.

    The flat index of each such candidate j of row i, and of i as a candidate of j: two sparse
    matrices of what is taken, one of them transposed, are laid over each other.

    Args:
        rows: candidates, the query itself in the first column, `NO_ROW` where it is in no gallery.
        taken: which of them are taken; what is said of the query itself does not count.
    """
    num_rows, queries = len(rows), candidate_queries(rows)
    is_pair = taken & (queries != NO_ROW) & (queries != np.arange(num_rows)[:, None])
    entries = np.flatnonzero(is_pair)
    ends = np.concatenate([[0], np.cumsum(is_pair.sum(axis=1))])
    matrix = scipy.sparse.csr_array(
        (entries + 1, queries.reshape(-1)[entries], ends), shape=(num_rows, num_rows)
    )  # 0 would be none
    matrix.sort_indices()
    back = matrix.T.tocsr()
    there = (matrix > 0).astype(np.int64)
    return np.stack([matrix.multiply(back > 0).data, there.multiply(back).data]) - 1


def candidate_queries(rows: Int[np.ndarray, "q c"]) -> Int[np.ndarray, "q c"]:
    """The query that each candidate is itself: their pair may be taken from either side.

    `NO_ROW` where a candidate is no query, or where its own query is in no gallery. Among items
    that look among one another these are the candidates as they are.
    """
    own = rows[:, 0]
    is_inside = own != NO_ROW
    if np.array_equal(own, np.arange(len(own))) and rows.max(initial=NO_ROW) < len(own):
        return rows
    query_of = np.full(int(rows.max(initial=NO_ROW)) + 2, NO_ROW, rows.dtype)
    query_of[own[is_inside]] = np.flatnonzero(is_inside)
    return np.where(is_inside[:, None] & (rows != NO_ROW), query_of[rows], NO_ROW)


def _before_the_gap(scores: Float32[np.ndarray, "q c"]) -> Int[np.ndarray, " q"]:
    """The last place before the widest fall of each row's scores; all where nothing falls."""
    if scores.shape[1] == 1:
        return np.zeros(len(scores), np.int64)
    above, below = scores[:, :-1].astype(np.float64), scores[:, 1:]
    falls = np.zeros(above.shape)
    np.subtract(above, below, out=falls, where=np.isfinite(below))  # beyond the last none falls
    return np.asarray(np.where(falls.max(axis=1) > 0, falls.argmax(axis=1), scores.shape[1]))
