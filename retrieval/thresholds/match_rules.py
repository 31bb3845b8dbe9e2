"""How candidates become matches: the spaces, how they are combined, where they are cut.

This is what a threshold file keeps, and all that is needed to match another day.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Shaped

from embed.errors import FingerprintError, SettingsError
from embed.labels import label_texts
from embed.store import Store
from retrieval.finding import EXACT, NO_REFINEMENTS, Finding
from retrieval.refining.refinements import Refinements
from retrieval.search.sides import Sides
from retrieval.thresholds.calibration import Calibration
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.columns import num_columns
from retrieval.thresholds.gathering import gather
from retrieval.thresholds.rules import Rules

OWN_THRESHOLDS = ("union", "intersection")


@dataclass(frozen=True)
class MatchRule:
    """How candidates become matches.

    Attributes:
        spaces: the spaces that are searched, with the share of each in the combined score.
        fingerprints: those of the vectors that this was tuned on, where they are known.
        combine: concat, sum, union or intersection; of no account with one space.
        k: neighbours of each item in each space, as `--k` counts them: itself included where items
            look among one another, and not where queries look among a gallery.
        thresholds: the least score of a match: of each space (union, intersection), or of their
            combined score.
        rules: what else decides.
        category: the column whose values have thresholds of their own, `by_category`.
        calibration: from combined scores to probabilities, where it was asked for.
        refinements: what was done to vectors and rankings.
    """

    spaces: Mapping[str, float]
    thresholds: tuple[float, ...]
    k: int
    combine: str = "concat"
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)
    category: str | None = None
    by_category: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    calibration: Calibration | None = None
    refinements: Refinements = NO_REFINEMENTS

    @property
    def takes_any(self) -> bool:
        """True where one score that reaches its threshold is enough."""
        return self.combine != "intersection"

    def found_by(self, finding: Finding) -> Finding:
        """The same way of finding neighbours, with the refinements of this rule.

        Raises:
            SettingsError: other refinements are asked for, or neighbours in a file have others.
            NeighboursError: the file can't be read.
        """
        own = self.refinements.to_json()
        if finding.neighbours is not None and finding.applied.to_json() != own:
            raise SettingsError(
                f"{finding.neighbours} was not refined as the neighbours that the threshold was "
                f"tuned on: make it with the same refinements, or tune the threshold on it"
            )
        if finding.refinements and finding.refinements.to_json() != own:
            raise SettingsError(
                f"the threshold was tuned {_in_words(own)}, and others are given: "
                f"{_in_words(finding.refinements.to_json())}; leave them out, or tune it with them"
            )
        if finding.neighbours is not None:
            return finding
        return replace(finding, refinements=self.refinements)

    def refuse_other_vectors(self, store: Store) -> None:
        """Check the spaces of a store against those that this was tuned on.

        Raises:
            StoreError: there is no such space.
            FingerprintError: a space holds other vectors.
        """
        for space in self.spaces:
            found, wanted = store.space(space).fingerprint, self.fingerprints.get(space)
            if wanted is not None and found != wanted:
                raise FingerprintError(
                    f"the threshold was tuned on space '{space}' with fingerprint {wanted}, "
                    f"{store.path} has {found}: tune it again on this store"
                )


def _in_words(refinements: Mapping[str, Any]) -> str:
    if not refinements:
        return "without refinements"
    return f"with {', '.join(f'{name} {value}' for name, value in refinements.items())}"


def gathered(sides: Sides, rule: MatchRule, finding: Finding = EXACT) -> Candidates:
    """The candidates of all queries.

    Raises:
        SettingsError: neighbours are refined otherwise than the rule says, or k leaves no room.
    """
    columns = num_columns(rule.k, sides)
    return gather(sides, rule.spaces, columns, rule.combine, rule.found_by(finding))


def categories_of(sides: Sides, column: str | None) -> Shaped[np.ndarray, " q"] | None:
    """The categories of the queries as text, '' where one is missing; None without a column.

    Raises:
        StoreError: there is no such column.
    """
    if column is None:
        return None
    values = sides.queries.store.column(column)[sides.queries.rows]
    return np.array([text or "" for text in label_texts(values)])
