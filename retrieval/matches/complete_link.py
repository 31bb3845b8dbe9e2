"""Groups in which every item matches every other one: complete-link agglomeration of sparse pairs.

The two groups with the best worst pair are joined first, as in hierarchical clustering with
complete linkage (Sørensen, 1948), but only where all of their pairs match. It never needs more than
the matches themselves: a pair that does not match is not there at all.
"""

import heapq

import numpy as np
from jaxtyping import Bool, Int64

from retrieval.matches.groups import connected_groups, in_order
from retrieval.matches.links import Links


def complete_groups(num_items: int, matches: Links) -> Int64[np.ndarray, " n"]:
    """The group of each item; any two items of a group match.

    Always the two groups are joined whose worst pair scores best; among equal ones those whose
    first items come first. Groups are numbered from 0 in the order of their first items.
    """
    firsts = connected_groups(num_items, matches)
    complete = _is_complete(firsts, matches)
    firsts = _first_items(firsts)
    # Where every pair matches already there is nothing to choose, and that is nearly everywhere.
    open_links = matches.where(~complete[matches.one])
    open_items = np.unique(np.concatenate([open_links.one, open_links.other]))
    firsts[open_items] = open_items
    for kept, gone in _Agglomeration(open_links).joined():
        firsts[gone] = kept
    return in_order(_followed(firsts))


def _is_complete(groups: Int64[np.ndarray, " n"], matches: Links) -> Bool[np.ndarray, " n"]:
    """True at the items of groups in which all pairs match."""
    sizes = np.bincount(groups)
    num_matches = np.bincount(groups[matches.one], minlength=len(sizes))
    return np.asarray((num_matches == sizes * (sizes - 1) // 2)[groups])


def _first_items(groups: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    return np.asarray(np.unique(groups, return_index=True)[1][groups], np.int64)


def _followed(firsts: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Each item's first item, through those that were themselves joined to an earlier one."""
    while not np.array_equal(firsts[firsts], firsts):
        firsts = firsts[firsts]
    return firsts


class _Agglomeration:
    """Groups, each known by its first item, with the worst score to every group they match."""

    def __init__(self, links: Links) -> None:
        self._scores: dict[int, dict[int, float]] = {}
        pairs = zip(links.one.tolist(), links.other.tolist(), links.scores.tolist(), strict=True)
        self._queue = [(-score, one, other) for one, other, score in pairs]
        for negative, one, other in self._queue:
            self._scores.setdefault(one, {})[other] = -negative
            self._scores.setdefault(other, {})[one] = -negative
        heapq.heapify(self._queue)

    def joined(self) -> list[tuple[int, int]]:
        """Join until nothing more can be: which group took in which, first to last."""
        joined = []
        while self._queue:
            negative, one, other = heapq.heappop(self._queue)
            # What was queued before one of the two grew or was taken in no longer holds.
            if self._scores.get(one, {}).get(other) == -negative:
                self._join(one, other)
                joined.append((one, other))
        return joined

    def _join(self, kept: int, gone: int) -> None:
        """Leave the kept group with what both of them match, at the lower of the two scores."""
        ones, others = self._scores[kept], self._scores.pop(gone)
        for group in others:
            del self._scores[group][gone]
        for group in [group for group in ones if group not in others]:
            del ones[group], self._scores[group][kept]
        for group, score in ones.items():
            worst = min(score, others[group])
            if worst < score:
                ones[group] = self._scores[group][kept] = worst
                heapq.heappush(self._queue, (-worst, min(kept, group), max(kept, group)))
