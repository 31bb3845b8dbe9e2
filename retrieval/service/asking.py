"""From what a client asks to the best items: queries, thresholds, filters and what matches."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64

from embed.errors import SettingsError, StoreError
from retrieval.service.filtering import restrictions
from retrieval.service.search import Found, SpaceQuery
from retrieval.service.service import Snapshot
from retrieval.thresholds.match_rules import OWN_THRESHOLDS
from retrieval.thresholds.strategies import reach

MOST_RESULTS = 200
Use = Literal["image", "title", "image and title", "id"]


@dataclass(frozen=True)
class Cut:
    """The least scores of a match: of the combined score, and of single spaces."""

    combined: float | None = None
    of_spaces: Mapping[str, float] = field(default_factory=dict)

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

    def only_matches(self) -> "Judged":
        """Nothing but the matches."""
        assert self.is_match is not None
        found, kept = self.found, self.is_match
        few = Found(found.rows[kept], found.combined[kept], found.scores[:, kept])
        agrees = {name: None if of is None else of[kept] for name, of in self.agrees.items()}
        return Judged(few, kept[kept], agrees)


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
        return Cut(float(thresholds[0]))
    return Cut(None, dict(zip(rule.spaces, map(float, thresholds), strict=True)))


def read_thresholds(texts: Sequence[str], given: Cut) -> Cut:
    """The thresholds with those that a client names: a score, or SPACE=SCORE.

    Raises:
        SettingsError: a text that is neither, or no score.
    """
    cut = given
    for text in texts:
        space, equals, score = text.rpartition("=")
        if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?", score):
            raise SettingsError(
                f"threshold is a score from −1 to 1 or SPACE=SCORE: found '{text[:100]}'"
            )
        least = float(score)
        if not -1 <= least <= 1.001:
            raise SettingsError(f"threshold is a score from −1 to 1: found {least:g}")
        if equals:
            cut = replace(cut, of_spaces={**cut.of_spaces, space: least})
        else:
            cut = replace(cut, combined=least)
    return cut


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


def judged(found: Found, plan: Plan) -> Judged:
    """What of it matches by the plan's thresholds."""
    names = list(plan.weights)
    agrees = {
        name: _reached(scores, plan.cut.of_space(name))
        for name, scores in zip(names, found.scores, strict=True)
    }
    if len(names) > 1 and plan.combine in OWN_THRESHOLDS and plan.cut.of_spaces:
        own = [agree for name, agree in agrees.items() if agree is not None]
        join = np.logical_or if plan.combine == "union" else np.logical_and
        return Judged(found, np.asarray(join.reduce(own)), agrees)
    return Judged(found, _reached(found.combined, plan.cut.combined), agrees)


def _reached(
    scores: Float32[np.ndarray, " m"], threshold: float | None
) -> Bool[np.ndarray, " m"] | None:
    if threshold is None:
        return None
    thresholds: Float64[np.ndarray, " 1"] = np.array([threshold], np.float64)
    return np.asarray(reach(scores[None], thresholds)[0])


def queries_of_row(snapshot: Snapshot, row: int, plan: Plan) -> dict[str, SpaceQuery]:
    """The vectors of an item, as queries."""
    return {
        space: SpaceQuery(snapshot.searcher.vectors(space).of_row(row), weight)
        for space, weight in plan.weights.items()
    }
