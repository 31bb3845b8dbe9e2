"""Groups of items that match one another, and how well they hold together.

Matching is not transitive: a chain of good matches can tie together two items that have nothing in
common. So each group comes with its weakest chain and its lowest score, and is flagged where it
holds together only by chains. `complete_link.complete_groups` makes groups without any.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float64, Int, Int64
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from retrieval.matches.links import Links


@dataclass(frozen=True)
class Groups:
    """The group of each of n items, and what there is to say of each of g groups.

    Attributes:
        numbers: the group of each item; groups are numbered from 0 in the order of their first
            items.
        sizes: how many items each has.
        weakest_chain: the lowest score that has to be passed to get from any item of the group to
            any other, along the best way: the lowest edge of its maximum spanning tree. NaN where
            an item is alone.
        lowest_score: the lowest known score of two of its items, matched or not; NaN likewise.
        num_unmatched: pairs of its items that could match and do not: they share it only through
            others.
        is_flagged: True where some do not, or where the weakest chain is below the threshold.
    """

    numbers: Int64[np.ndarray, " n"]
    sizes: Int64[np.ndarray, " g"]
    weakest_chain: Float64[np.ndarray, " g"]
    lowest_score: Float64[np.ndarray, " g"]
    num_unmatched: Int64[np.ndarray, " g"]
    is_flagged: Bool[np.ndarray, " g"]

    @property
    def num_shared(self) -> int:
        """How many groups have more than one item."""
        return int((self.sizes > 1).sum())


def connected_groups(num_items: int, matches: Links) -> Int64[np.ndarray, " n"]:
    """The group of each item: equal for any two that a chain of matches connects.

    Groups are numbered from 0 in the order of their first items.
    """
    numbers = connected_components(_graph(num_items, matches, np.ones(len(matches))), False)[1]
    return in_order(numbers)


def in_order(numbers: Int[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The same groups, numbered from 0 in the order of their first items."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int64)[inverse]


def describe_groups(
    numbers: Int64[np.ndarray, " n"],
    matches: Links,
    known: Links | None = None,
    threshold: float = -np.inf,
    num_pairs: Int[np.ndarray, " g"] | None = None,
    trusted: Links | None = None,
) -> Groups:
    """What there is to say of groups.

    Args:
        numbers: the group of each item, from 0, none left out.
        matches: the pairs that match; those between two groups do not count.
        known: pairs whose score is known, matched or not; None takes the matches alone.
        threshold: a group whose weakest chain is below is flagged: matches may be below where
            rules other than a threshold have made them.
        num_pairs: how many pairs of each group could match; None takes all of its items' pairs.
        trusted: the matches, with an infinite score where somebody has decided that they are the
            same: that flags nothing. None takes them as they are.
    """
    inner = matches.within(numbers)
    sizes = np.bincount(numbers).astype(np.int64)
    chains = _weakest(numbers, inner)
    doubted = chains if trusted is None else _weakest(numbers, trusted.within(numbers))
    num_matches = np.bincount(numbers[inner.one], minlength=len(sizes))
    num_unmatched = (sizes * (sizes - 1) // 2 if num_pairs is None else num_pairs) - num_matches
    return Groups(
        numbers,
        sizes,
        chains,
        np.fmin(_lowest(inner, numbers), _lowest((known or inner).within(numbers), numbers)),
        num_unmatched,
        (num_unmatched > 0) | (doubted < threshold),
    )


def _weakest(numbers: Int[np.ndarray, " n"], inner: Links) -> Float64[np.ndarray, " g"]:
    """The weakest chain of each group, NaN where there is none, or where all are infinite."""
    return _lowest(spanning_forest(len(numbers), inner), numbers)


def spanning_forest(num_items: int, links: Links) -> Links:
    """The links of a maximum spanning tree of every connected group.

    Its lowest link is the same in each such tree, however ties are broken.

    Source: Hu, The Maximum Capacity Route Problem, Operations Research 9 (1961).
    """
    # Ranks and not scores: in a sparse matrix 0 is no edge, and 2 − score may round.
    ranks = np.unique(-links.scores, return_inverse=True)[1] + 1
    tree = minimum_spanning_tree(_graph(num_items, links, ranks.astype(np.float64))).tocoo()
    keys = links.one * num_items + links.other
    return links.where(np.isin(keys, tree.row.astype(np.int64) * num_items + tree.col))


def _graph(
    num_items: int, links: Links, weights: Float64[np.ndarray, " p"]
) -> scipy.sparse.csr_array:
    shape = (num_items, num_items)
    return scipy.sparse.csr_array((weights, (links.one, links.other)), shape=shape)


def _lowest(links: Links, numbers: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " g"]:
    """The lowest score of links within each group, NaN where there is none."""
    lowest = np.full(int(numbers.max(initial=-1)) + 1, np.inf)
    np.minimum.at(lowest, numbers[links.one], links.scores.astype(np.float64))
    return np.where(np.isinf(lowest), np.nan, lowest)
