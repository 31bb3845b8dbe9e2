"""What can be evaluated: whatever ranks candidates for each query, and says which of them match."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

from retrieval.evaluation.judgements import judge
from retrieval.search.neighbours import find_neighbours
from retrieval.selection import EvaluationRows
from retrieval.thresholds.protocols import refuse_unfit, tuned

CROSS_FIT, GIVEN, NO_THRESHOLD = "cross-fit", "given", "none: ranking only"


@dataclass(frozen=True)
class Found:
    """What a contender finds for each of q queries.

    `ranking` are positions in the gallery, best first, the query itself in the first column and
    `NO_ROW` where nothing follows. `matched` says which of `candidates`, laid out alike, match; the
    first column always does. Both are None where there is no threshold. `threshold` is the score
    to use on other rows.
    """

    ranking: Int[np.ndarray, "q m"]
    candidates: Int[np.ndarray, "q c"] | None = None
    matched: Bool[np.ndarray, "q c"] | None = None
    threshold: float | None = None


@runtime_checkable
class Contender(Protocol):
    """One line of a comparison: a space, or anything else that yields neighbours and a threshold.

    `model` says what made the vectors, `metric` what a score is, `protocol` where the threshold
    comes from.
    """

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def k(self) -> int:
        """How many neighbours are looked at, in a self-join the item itself included."""

    @property
    def protocol(self) -> str:
        """Where the threshold comes from."""

    def model(self, rows: EvaluationRows) -> str:
        """What made the vectors."""

    def metric(self, rows: EvaluationRows) -> str:
        """What a score is."""

    def find(self, rows: EvaluationRows, depth: int) -> Found:
        """Rank the gallery for each query, `depth` others or more, and match what is near."""


@dataclass(frozen=True)
class SpaceContender:
    """A space, cut at a given score, at cross-fitted ones, or not at all.

    Attributes:
        name: the space.
        k: neighbours that may match; in a self-join the item itself included.
        protocol: cross-fit, given, or none.
        threshold: the given score.
        seed: of the folds.
    """

    name: str
    k: int
    protocol: str = CROSS_FIT
    threshold: float | None = None
    seed: int = 0

    def model(self, rows: EvaluationRows) -> str:
        """The spec of the encoder, or what the head is."""
        return rows.sides.gallery.store.space(self.name).spec

    def metric(self, rows: EvaluationRows) -> str:
        """Always the cosine similarity: of bits, that of vectors of ±1."""
        kind = rows.sides.gallery.store.space(self.name).kind
        return "cosine of ±1" if kind == "binary" else "cosine"

    def find(self, rows: EvaluationRows, depth: int) -> Found:
        """The nearest of the gallery, and those that reach the threshold of their query.

        Raises:
            StoreError: there is no such space, or a vector is not finite.
            SelectionError: there are fewer groups than cross-fit has folds.
        """
        if self.protocol == CROSS_FIT:
            refuse_unfit(rows.num_groups, CROSS_FIT)
        num_columns = 1 + num_nearest(self.k, rows)
        wide = find_neighbours(rows.sides, self.name, max(num_columns, 1 + depth))
        if self.protocol == NO_THRESHOLD:
            return Found(wide.rows)
        neighbours = wide.first(num_columns)
        if self.threshold is not None:
            matched = neighbours.matches(self.threshold)
            return Found(wide.rows, neighbours.rows, matched, self.threshold)
        judged = judge(neighbours.rows, rows)
        tuning = tuned(neighbours, judged, rows.groups, CROSS_FIT, self.seed)
        matched = neighbours.matches(tuning.row_thresholds)
        return Found(wide.rows, neighbours.rows, matched, tuning.threshold)


def num_nearest(k: int, rows: EvaluationRows) -> int:
    """How many others k stands for: the item itself counts where items look among one another."""
    return k - 1 if rows.sides.is_self_join else k
