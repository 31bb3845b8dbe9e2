"""Rules beside the threshold: which candidates are matches whatever they score, and which never.

They depend on the order of a row's candidates and on their scores alone, not on the threshold, so
the best threshold under any of them is still found exactly.
"""

from dataclasses import dataclass

import numpy as np
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
    exist = candidates.exist
    places = np.arange(exist.shape[1])
    possible = exist.copy()
    if rules.at_most is not None:
        possible &= places < rules.at_most
    if rules.gap:
        possible &= places <= _before_the_gap(candidates.combined)[:, None]
    if rules.reciprocal:
        if not is_self_join:
            raise SettingsError(
                "--reciprocal is for items among one another: the gallery does not look for "
                "neighbours among the queries"
            )
        possible &= reverse_entries(candidates.rows) >= 0
    always = exist & (places < rules.at_least)
    return Bounds(always, possible | always)


def reverse_entries(rows: Int[np.ndarray, "n c"]) -> Int[np.ndarray, "n c"]:
    """For each candidate j of row i, where i stands among those of j: flat index, −1 nowhere."""
    num_rows, width = rows.shape
    own = np.repeat(np.arange(num_rows), width).reshape(rows.shape)
    is_pair = (rows != NO_ROW) & (rows != own)
    entries = np.flatnonzero(is_pair)
    forward = own.ravel()[entries] * num_rows + rows.ravel()[entries]
    backward = rows.ravel()[entries] * num_rows + own.ravel()[entries]
    order = np.argsort(forward)
    places = np.minimum(np.searchsorted(forward, backward, sorter=order), max(0, len(order) - 1))
    reverse = np.full(rows.size, -1)
    if len(entries):
        found = order[places]
        reverse[entries] = np.where(forward[found] == backward, entries[found], -1)
    return reverse.reshape(rows.shape)


def _before_the_gap(scores: Float32[np.ndarray, "q c"]) -> Int[np.ndarray, " q"]:
    """The last place before the widest fall of each row's scores; all where nothing falls."""
    if scores.shape[1] == 1:
        return np.zeros(len(scores), np.int64)
    falls = scores[:, :-1].astype(np.float64) - scores[:, 1:]
    falls[~np.isfinite(falls)] = -1  # beyond the last candidate nothing falls
    widest = falls.argmax(axis=1)
    falls_at_all = falls.max(axis=1) > 0
    return np.asarray(np.where(falls_at_all, widest, scores.shape[1]))
