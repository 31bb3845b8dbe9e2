"""What the neighbours of an item say of it, as pure functions of arrays."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

Voting = Literal["weighted", "uniform"]
VOTINGS: tuple[Voting, ...] = ("weighted", "uniform")
NO_CLASS = -1


@dataclass(frozen=True)
class Votes:
    """The outcome for each of q items.

    Attributes:
        classes: the class with the most votes, `NO_CLASS` where nobody voted.
        shares: its share of all votes, above 0 and up to 1; NaN where nobody voted.
        num_voters: how many neighbours voted.
    """

    classes: Int64[np.ndarray, " q"]
    shares: Float64[np.ndarray, " q"]
    num_voters: Int64[np.ndarray, " q"]


def count_votes(
    classes: Int[np.ndarray, "q k"], scores: Float[np.ndarray, "q k"], voting: Voting
) -> Votes:
    """Each item gets the class that most of its neighbours have.

    uniform: each neighbour has one vote. weighted: each has as many as its score, and one whose
    score is 0 or below has none. Among classes with equal votes the one of the nearest voter wins,
    then the one with the lower number.

    Args:
        classes: of the neighbours, from 0; `NO_CLASS` where one does not vote.
        scores: of the neighbours, higher is nearer; not finite where there is no neighbour.
        voting: weighted or uniform.
    """
    votes = scores.astype(np.float64) if voting == "weighted" else np.ones(scores.shape)
    may_vote = (classes != NO_CLASS) & np.isfinite(scores) & (votes > 0)
    items, places = np.nonzero(may_vote)
    num_classes = int(classes.max(initial=0)) + 1
    found, inverse = np.unique(items * num_classes + classes[items, places], return_inverse=True)
    # Without a voter numpy counts in integers.
    totals = np.bincount(inverse, votes[items, places], len(found)).astype(np.float64)
    nearest = np.full(len(found), -np.inf)
    np.maximum.at(nearest, inverse, scores[items, places].astype(np.float64))
    return _winners(found, num_classes, totals, nearest, may_vote.sum(axis=1))


def _winners(
    found: Int[np.ndarray, " m"],
    num_classes: int,
    totals: Float64[np.ndarray, " m"],
    nearest: Float64[np.ndarray, " m"],
    num_voters: Int[np.ndarray, " q"],
) -> Votes:
    """The best of the classes that were voted for, of each item."""
    item, number = np.divmod(found, num_classes)
    order = np.lexsort((number, -nearest, -totals, item))
    winners = order[np.unique(item[order], return_index=True)[1]]
    classes = np.full(len(num_voters), NO_CLASS, np.int64)
    shares = np.full(len(num_voters), np.nan)
    classes[item[winners]] = number[winners]
    shares[item[winners]] = totals[winners] / np.bincount(item, totals)[item[winners]]
    return Votes(classes, shares, num_voters.astype(np.int64))
