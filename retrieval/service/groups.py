"""The groups of matches, and the order in which people look at them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from embed.errors import IdError
from retrieval.decisions.journal import Decisions
from retrieval.decisions.pairs import DecidedPairs
from retrieval.matches.complete_link import complete_groups
from retrieval.matches.grouping import Linkage
from retrieval.matches.groups import Groups, connected_groups, describe_groups, spanning_forest
from retrieval.matches.honouring import Honouring
from retrieval.matches.links import Links
from retrieval.service.background import Background, Report
from retrieval.service.given_thresholds import GIVE_ONE, thresholds_of
from retrieval.service.service import Snapshot
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.match_rules import MatchRule, categories_of
from retrieval.thresholds.rules import bounds
from retrieval.thresholds.strategies import Fit, matches_of

Order = Literal["size", "doubt"]

PAIRS_SHARE = 0.8
"""Of all the work, that for the candidates of all items."""


@dataclass(frozen=True)
class StoreGroups:
    """The groups of all items of a store; `shared` are the numbers of those of two or more.

    Attributes:
        groups: every item's group, and what there is to say of each.
        matches: the pairs that match, within groups, each once.
        weakest: the place among the matches of each group's weakest link, on the way along which
            its items hold together best; −1 where an item is alone.
        margins: by how much each group's weakest link is above its threshold; where each space has
            one of its own (`has_margins` is False), its score.
    """

    groups: Groups
    matches: Links
    weakest: Int64[np.ndarray, " g"]
    margins: Float64[np.ndarray, " g"]
    has_margins: bool

    @property
    def num_shared(self) -> int:
        """How many groups have more than one item."""
        return self.groups.num_shared

    def ordered(self, order: Order) -> Int64[np.ndarray, " s"]:
        """The groups of two items or more: the largest first, or those that hold together worst.

        Among equals the more doubtful ones come first, or the larger; then those whose first item
        is first in the store.
        """
        sizes = self.groups.sizes
        shared = np.flatnonzero(sizes > 1)
        keys = (self.margins[shared], -sizes[shared])
        return np.asarray(shared[np.lexsort(keys if order == "size" else keys[::-1])])

    def items(self, number: int) -> Int64[np.ndarray, " m"]:
        """The rows of a group's items: the two of its weakest link first.

        Raises:
            IdError: there is no such group.
        """
        if not 0 <= number < len(self.groups.sizes):
            known = len(self.groups.sizes)
            numbered = f"groups are numbered from 1 to {known}" if known > 1 else "there is only 1"
            raise IdError(f"there is no group {number + 1}: {numbered}")
        rows = np.flatnonzero(self.groups.numbers == number)
        first = np.array(self.weakest_link(number) or (), np.int64)
        return np.concatenate([first, np.setdiff1d(rows, first)])

    def weakest_link(self, number: int) -> tuple[int, int] | None:
        """The rows of a group's weakest link; None where an item is alone."""
        place = self.weakest[number]
        return None if place < 0 else (int(self.matches.one[place]), int(self.matches.other[place]))

    def links(self, number: int) -> Iterator[tuple[tuple[int, int], float]]:
        """The rows of each match within a group, and its score: the weakest first."""
        inside = self.matches.where(self.groups.numbers[self.matches.one] == number)
        order = np.argsort(inside.scores, kind="stable")
        pairs = zip(inside.one[order].tolist(), inside.other[order].tolist(), strict=True)
        return zip(pairs, inside.scores[order].tolist(), strict=True)


def groups_of(
    snapshot: Snapshot, linkage: Linkage, thresholds: Sequence[str] = ()
) -> Background[StoreGroups]:
    """The groups of a snapshot's items, by its rule or by other thresholds.

    Raises:
        SettingsError: nothing says when two items match, or a threshold that can't be read.
    """
    if thresholds:
        given = thresholds_of(snapshot.pairs_rule, thresholds)
        chosen = replace(snapshot.pairs_rule, thresholds=given, by_category={})
    else:
        chosen = snapshot.needed_rule(GIVE_ONE)
    decisions = snapshot.journal.read()
    return snapshot.works.once(
        ("groups", linkage, repr(chosen.thresholds), repr(chosen.by_category), decisions.digest),
        lambda report: _groups(snapshot, chosen, linkage, decisions, report),
    )


def _groups(
    snapshot: Snapshot, rule: MatchRule, linkage: Linkage, decisions: Decisions, report: Report
) -> StoreGroups:
    candidates = snapshot.pairs.followed(report, PAIRS_SHARE)
    report(PAIRS_SHARE)
    fit = Fit(rule.thresholds, 0.0, rule.by_category)
    thresholds = fit.of_rows(categories_of(snapshot.sides, rule.category))
    limits = bounds(candidates, rule.rules)
    taken = matches_of(candidates, limits, thresholds, takes_any=rule.takes_any)
    honouring = Honouring(snapshot.sides, rule, decisions)
    candidates, taken = honouring(0, candidates, taken)
    report((1 + PAIRS_SHARE) / 2)
    return make_groups(candidates, taken, linkage, thresholds, honouring.decided)


def make_groups(
    candidates: Candidates,
    taken: Bool[np.ndarray, "n c"],
    linkage: Linkage,
    thresholds: Float64[np.ndarray, "s #n"],
    decided: DecidedPairs | None = None,
) -> StoreGroups:
    """The groups of n items among one another, by their candidates and which of them match.

    Complete groups begin with pairs that were decided to be the same, which flag nothing.
    """
    num_items = len(candidates.rows)
    matches, known = links_of(candidates, taken), links_of(candidates, candidates.exist)
    make = connected_groups if linkage == "single" else complete_groups
    trusted = matches
    if decided is not None:
        same = decided.where(decided.is_same)
        trusted = matches.trusting(same.queries, same.gallery)
    numbers = make(num_items, trusted)
    # Where each space is cut at a threshold of its own, chains are of another score.
    has_margins = len(thresholds) == 1
    own = thresholds[0] if has_margins else np.array([-np.inf])
    groups = describe_groups(numbers, matches, known, float(own.min()), trusted=trusted)
    least = np.full(len(groups.sizes), np.inf)
    np.minimum.at(least, numbers, np.broadcast_to(own, num_items))
    inside = matches.within(numbers)
    margins = groups.weakest_chain - np.where(np.isfinite(least), least, 0)
    weakest = _weakest_links(num_items, inside, numbers)
    return StoreGroups(groups, inside, weakest, margins, has_margins)


def links_of(candidates: Candidates, chosen: Bool[np.ndarray, "n c"]) -> Links:
    """The chosen candidates as pairs, each once, an item with itself left out."""
    queries, columns = np.nonzero(chosen[:, 1:] & (candidates.rows[:, 1:] >= 0))
    others = candidates.rows[queries, columns + 1]
    return Links.of(queries, others, candidates.combined[queries, columns + 1])


def _weakest_links(
    num_items: int, links: Links, numbers: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " g"]:
    """The place of the lowest link of each group's maximum spanning tree, −1 where it has none."""
    places = np.full(int(numbers.max(initial=-1)) + 1, -1)
    forest = spanning_forest(num_items, links)
    keys = links.one * num_items + links.other  # ascending, as links are
    at = np.searchsorted(keys, forest.one * num_items + forest.other)
    falling = np.argsort(-forest.scores, kind="stable")  # the lowest is written last
    places[numbers[forest.one[falling]]] = at[falling]
    return places
