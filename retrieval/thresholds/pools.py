"""Candidates with all that is known of them: what thresholds are tuned on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Shaped

from retrieval.evaluation.judgements import Judgements
from retrieval.evaluation.metrics import row_f1, row_precision, row_recall
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.rules import Bounds, Rules, bounds, reverse_entries
from retrieval.thresholds.sweeps import Sweep


@dataclass(frozen=True)
class Outcome:
    """What each of q rows takes: how many items, itself included, and how many of them are true.

    `pairs` and `hits` count its pairs, and the true ones among them: a pair that both of its items
    take is one half on each side.
    """

    num_taken: Int[np.ndarray, " q"]
    num_common: Int[np.ndarray, " q"]
    num_true: Int[np.ndarray, " q"]
    pairs: Float64[np.ndarray, " q"]
    hits: Float64[np.ndarray, " q"]

    @property
    def f1(self) -> Float64[np.ndarray, " q"]:
        """Row F1, the item itself included."""
        return row_f1(self.num_common, self.num_taken, self.num_true)

    @property
    def precision(self) -> Float64[np.ndarray, " q"]:
        """The share of what a row takes that is true, itself included."""
        return row_precision(self.num_common, self.num_taken)

    @property
    def recall(self) -> Float64[np.ndarray, " q"]:
        """The share of what is true that a row takes, itself included."""
        return row_recall(self.num_common, self.num_true)

    def replaced(self, at: Bool[np.ndarray, " q"], by: "Outcome") -> "Outcome":
        """With these rows of another outcome in the place of their own."""
        return Outcome(
            np.where(at, by.num_taken, self.num_taken),
            np.where(at, by.num_common, self.num_common),
            self.num_true,
            np.where(at, by.pairs, self.pairs),
            np.where(at, by.hits, self.hits),
        )


@dataclass(frozen=True)
class Pool:
    """Candidates, which of them are true matches, and what the rules let a threshold change.

    `categories` are those of the queries, where they have thresholds of their own.
    """

    candidates: Candidates
    judged: Judgements
    limits: Bounds
    is_self_join: bool
    categories: Shaped[np.ndarray, " q"] | None = None

    @staticmethod
    def of(
        candidates: Candidates,
        judged: Judgements,
        rules: Rules,
        *,
        is_self_join: bool = True,
        categories: Shaped[np.ndarray, " q"] | None = None,
    ) -> "Pool":
        """Candidates as they were judged, with the rules applied."""
        limits = bounds(candidates, rules, is_self_join=is_self_join)
        return Pool(candidates, judged, limits, is_self_join, categories)

    def sweep(self, space: int, *, with_pairs: bool) -> Sweep:
        """The candidates in the order of one space's scores."""
        weights = self.pair_weights if with_pairs else None
        return Sweep(self.candidates.scores[space], self.judged, weights)

    def sweeps(self, objective: Objective) -> Sequence[Sweep]:
        """The candidates in the order of each space's scores."""
        with_pairs = "pairs" in objective.gains
        spaces = range(len(self.candidates.scores))
        return [self.sweep(space, with_pairs=with_pairs) for space in spaces]

    @cached_property
    def pair_weights(self) -> Float32[np.ndarray, "q c"]:
        """½ for pairs that can be taken from both sides, 1 for others, 0 for the query itself."""
        weights = self.limits.possible.astype(np.float32)
        weights[:, 0] = 0
        if self.is_self_join:
            reverse = reverse_entries(self.candidates.rows)
            is_both = (reverse >= 0) & self.limits.possible.reshape(-1)[np.maximum(reverse, 0)]
            weights[is_both] /= 2
        return weights

    def num_true_pairs(self, chosen: Bool[np.ndarray, " q"] | None = None) -> float:
        """How many true pairs the chosen rows have, one half for each row in a self-join."""
        others = self.judged.num_true - 1
        total = others.sum() if chosen is None else others[chosen].sum()
        return float(total) / (2 if self.is_self_join else 1)

    def outcome(self, matches: Bool[np.ndarray, "q c"]) -> Outcome:
        """What each row reaches by its matches."""
        true = matches & self.judged.relevant
        pairs = self._pairs(matches)
        return Outcome(
            matches.sum(axis=1),
            true.sum(axis=1),
            self.judged.num_true,
            pairs.sum(axis=1),
            (pairs * self.judged.relevant).sum(axis=1),
        )

    def _pairs(self, matches: Bool[np.ndarray, "q c"]) -> Float64[np.ndarray, "q c"]:
        """Each match as a share of a pair: one half where the other item takes this one as well."""
        shares = matches.astype(np.float64)
        shares[:, 0] = 0
        if self.is_self_join:
            is_both = (self._reverse >= 0) & matches.reshape(-1)[np.maximum(self._reverse, 0)]
            shares[is_both] /= 2
        return shares

    @cached_property
    def _reverse(self) -> Int[np.ndarray, "q c"]:
        return reverse_entries(self.candidates.rows)
