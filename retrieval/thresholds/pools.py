"""Candidates with all that is known of them: what thresholds are tuned on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Shaped

from retrieval.metrics.judgements import Judgements
from retrieval.metrics.sets import row_f1, row_precision, row_recall
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.rules import Bounds, Rules, bounds, mutual_entries
from retrieval.thresholds.sweeps import Sweep
from retrieval.thresholds.uneven_pairs import UnevenPairs


@dataclass(frozen=True)
class Outcome:
    """What each of q rows takes: how many items, itself included, and how many of them are true.

    `pairs` and `hits` count its pairs, and the true ones among them; `true_pairs` are those that
    there are. A pair of two items that both look for neighbours, and are looked among, is shared
    between them, so that each pair is counted once in the sum over all rows.
    """

    num_taken: Int[np.ndarray, " q"]
    num_common: Int[np.ndarray, " q"]
    num_true: Int[np.ndarray, " q"]
    pairs: Float64[np.ndarray, " q"]
    hits: Float64[np.ndarray, " q"]
    true_pairs: Float64[np.ndarray, " q"]

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
            self.true_pairs,
        )


@dataclass(frozen=True)
class Pool:
    """Candidates, which of them are true matches, and what the rules let a threshold change.

    `categories` are those of the queries, where they have thresholds of their own.
    """

    candidates: Candidates
    judged: Judgements
    limits: Bounds
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
        return Pool(candidates, judged, limits, categories)

    def sweep(self, space: int, *, with_pairs: bool) -> Sweep:
        """The candidates in the order of one space's scores."""
        scores = self.candidates.scores[space]
        if not with_pairs:
            return Sweep(scores, self.judged)
        return Sweep(scores, self.judged, self.pair_weights, self.uneven_pairs)

    def sweeps(self, objective: Objective) -> Sequence[Sweep]:
        """The candidates in the order of each space's scores."""
        with_pairs = "pairs" in objective.gains
        spaces = range(len(self.candidates.scores))
        return [self.sweep(space, with_pairs=with_pairs) for space in spaces]

    @cached_property
    def pair_weights(self) -> Float32[np.ndarray, "q c"]:
        """What taking each candidate adds to the number of pairs, but for `uneven_pairs`."""
        return self._shares(self.limits.possible)

    @cached_property
    def uneven_pairs(self) -> UnevenPairs | None:
        """Pairs whose shares depend on the thresholds: of several spaces, and there hardly ever."""
        if len(self.candidates.scores) == 1:
            return None
        uneven = UnevenPairs.of(
            self.candidates, self.judged.relevant, self.limits, self.pair_weights
        )
        return uneven if len(uneven.here) else None

    @cached_property
    def true_pairs(self) -> Float64[np.ndarray, " q"]:
        """How many true pairs each row has: one half of each that another row has as well.

        Those are its true pairs with other queries, where both are in the gallery.
        """
        return np.asarray(self.judged.num_true - 1 - self.judged.num_shared / 2)

    def num_true_pairs(self, chosen: Bool[np.ndarray, " q"] | None = None) -> float:
        """How many true pairs the chosen rows have, or all of them."""
        return float(self.true_pairs.sum() if chosen is None else self.true_pairs[chosen].sum())

    def outcome(self, matches: Bool[np.ndarray, "q c"]) -> Outcome:
        """What each row reaches by its matches."""
        shares, relevant = self._shares(matches), self.judged.relevant
        return Outcome(
            matches.sum(axis=1),
            (matches & relevant).sum(axis=1),
            self.judged.num_true,
            shares.sum(axis=1, dtype=np.float64),
            (shares * relevant).sum(axis=1, dtype=np.float64),
            self.true_pairs,
        )

    def _shares(self, taken: Bool[np.ndarray, "q c"]) -> Float32[np.ndarray, "q c"]:
        """The share of a pair that each candidate is; those of its two sides add up to 1.

        Where both sides take the pair, it is all that of the side with the higher combined score,
        or that takes it by a rule whatever the threshold; where they are equal, one half of each.
        By the scores of one space that side takes it first as a threshold falls, and the other adds
        nothing by taking it later.
        """
        shares = taken.astype(np.float32)
        shares[:, 0] = 0
        there, back = mutual_entries(self.candidates.rows, taken)
        first_taken = np.where(self.limits.always, np.inf, self.candidates.combined).reshape(-1)
        here, other = first_taken[there], first_taken[back]
        shares.reshape(-1)[there] = ((here > other).astype(np.float32) + (here >= other)) / 2
        return shares
