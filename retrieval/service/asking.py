"""From what a client asks to the best items: queries, thresholds, filters and what matches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool

from embed.errors import StoreError
from retrieval.service.filtering import restrictions
from retrieval.service.given_thresholds import COMBINED, given_thresholds
from retrieval.service.search import Found, SpaceQuery
from retrieval.service.service import Snapshot

MOST_RESULTS = 200
Use = Literal["image", "title", "image and title", "id"]


@dataclass(frozen=True)
class Cut:
    """The least scores of a match: of the combined score, and of single spaces.

    `is_tuned` where they are those of the rule, and nobody has moved them.
    """

    combined: float | None = None
    of_spaces: Mapping[str, float] = field(default_factory=dict)
    is_tuned: bool = False

    def of_space(self, space: str) -> float | None:
        """What a space's score has to reach to agree: its own threshold, else the combined one."""
        return self.of_spaces.get(space, self.combined)


@dataclass(frozen=True)
class Plan:
    """Which spaces are searched with which share, what for, and how they are combined."""

    weights: Mapping[str, float]
    used_for: Mapping[str, Use]
    combine: str
    cut: Cut


@dataclass(frozen=True)
class Judged:
    """What was found, and what of it matches: None where no threshold says it."""

    found: Found
    is_match: Bool[np.ndarray, " m"] | None
    agrees: Mapping[str, Bool[np.ndarray, " m"] | None]

    @property
    def num_matches(self) -> int:
        """How many of what was found match."""
        return 0 if self.is_match is None else int(self.is_match.sum())


def combine_of(snapshot: Snapshot, spaces: Sequence[str]) -> str:
    """How these spaces are combined: as the rule says where they are its own."""
    rule = snapshot.rule
    return rule.combine if rule is not None and set(spaces) == set(rule.spaces) else "concat"


def weights_of(snapshot: Snapshot, spaces: Sequence[str]) -> dict[str, float]:
    """The weights of these spaces: the rule's, 1 for others."""
    given = {} if snapshot.rule is None else snapshot.rule.spaces
    return {space: float(given.get(space, 1.0)) for space in spaces}


def cut_of(snapshot: Snapshot, spaces: Sequence[str], row: int | None = None) -> Cut:
    """The rule's thresholds, where its spaces are searched; of an item, those of its category."""
    rule = snapshot.rule
    if rule is None or set(spaces) != set(rule.spaces):
        return Cut()
    thresholds = rule.thresholds
    if rule.category is not None and row is not None:
        category = str(snapshot.catalogue.texts(rule.category)[row])
        thresholds = rule.by_category.get(category, thresholds)
    if len(thresholds) == 1:
        return Cut(float(thresholds[0]), is_tuned=True)
    of_spaces = dict(zip(rule.spaces, map(float, thresholds), strict=True))
    return Cut(None, of_spaces, is_tuned=True)


def cut_of_query(
    snapshot: Snapshot, spaces: Sequence[str], given: Sequence[str], row: int | None = None
) -> Cut:
    """The rule's thresholds, with those in their place that a client gives.

    These are called as those of the rule, whichever spaces are searched. A rule that was tuned with
    refined neighbours gives none: single queries have other scores.

    Raises:
        SettingsError: a text that is no threshold, or none that the rule has.
    """
    is_refined = snapshot.rule is not None and bool(snapshot.rule.refinements)
    cut = Cut() if is_refined else cut_of(snapshot, spaces, row)
    if not given:
        return cut
    of_spaces = given_thresholds(snapshot.pairs_rule, given)
    combined = of_spaces.pop(COMBINED, cut.combined)
    moved = replace(cut, combined=combined, of_spaces={**cut.of_spaces, **of_spaces})
    return cut if moved == cut else replace(moved, is_tuned=False)


def filtered(snapshot: Snapshot, where: Sequence[str]) -> Bool[np.ndarray, " n"] | None:
    """The rows that every COLUMN=VALUE keeps; values of one column are alternatives.

    Raises:
        SettingsError: a text that is no restriction.
        StoreError: there is no such column.
    """
    if not where:
        return None
    by_column: dict[str, Bool[np.ndarray, " n"]] = {}
    for restriction in restrictions(snapshot, where):
        mask = snapshot.catalogue.mask(restriction.column, restriction.value)
        before = by_column.get(restriction.column)
        by_column[restriction.column] = mask if before is None else before | mask
    return np.asarray(np.logical_and.reduce(list(by_column.values())))


def refuse_unknown_spaces(snapshot: Snapshot, spaces: Sequence[str]) -> None:
    """Raise StoreError where a space is asked for that there is not."""
    for space in spaces:
        if space not in snapshot.store.spaces:
            known = ", ".join(snapshot.store.spaces) or "none"
            raise StoreError(f"there is no space '{space[:100]}': the store has {known}")


def queries_of_row(snapshot: Snapshot, row: int, plan: Plan) -> dict[str, SpaceQuery]:
    """The vectors of an item, as queries."""
    return {
        space: SpaceQuery(snapshot.searcher.vectors(space).of_row(row), weight)
        for space, weight in plan.weights.items()
    }
