"""Pairs that one row may take before the row that they are counted for does.

What is taken from both sides is shared between them as `Pool.pair_weights` says. By the scores of
one space the side that it belongs to takes it first, so a candidate adds the same at whatever
threshold. Several spaces that are cut apart may not agree on who is first, where scores are not the
same both ways round: with queries of one store and a gallery of another that has the same ids.
Until both sides take such a pair, all of it is the side's that does.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.rules import Bounds, mutual_entries


@dataclass(frozen=True)
class UnevenPairs:
    """Candidates that may be taken before the other side takes its share of their pair.

    `here` are flat indices of such candidates, `there` those of the same pairs from the other side.
    `pair_shares` are those of the other side where both take it, `hit_shares` the same of true
    pairs.
    """

    here: Int[np.ndarray, " m"]
    there: Int[np.ndarray, " m"]
    pair_shares: Float64[np.ndarray, " m"]
    hit_shares: Float64[np.ndarray, " m"]

    @staticmethod
    def of(
        candidates: Candidates,
        relevant: Bool[np.ndarray, "q c"],
        limits: Bounds,
        shares: Float32[np.ndarray, "q c"],
    ) -> "UnevenPairs":
        """Those among candidates whose pairs are shared like this where both sides take them."""
        here, there = mutual_entries(candidates.rows, limits.possible)
        of_other = shares.reshape(-1)[there].astype(np.float64)
        scores = candidates.scores.reshape(len(candidates.scores), -1)
        is_uneven = (of_other > 0) & (scores[:, here] > scores[:, there]).any(axis=0)
        here, there, pairs = here[is_uneven], there[is_uneven], of_other[is_uneven]
        return UnevenPairs(here, there, pairs, pairs * relevant.reshape(-1)[here])

    def rows(self, num_columns: int) -> Int[np.ndarray, " m"]:
        """The rows of the candidates, which have so many columns."""
        return np.asarray(self.here // num_columns)

    def corrections(
        self,
        scores: Float32[np.ndarray, "q c"],
        bounds: Bounds,
        chosen: Bool[np.ndarray, " q"] | None,
    ) -> dict[str, Float64[np.ndarray, "q c"]]:
        """What a candidate adds to the pairs and hits of the chosen rows besides its own share.

        That is the other side's share where it is taken first, as a threshold of these scores
        falls, and less by that once the other side takes the pair as well.
        """
        taken_at = np.where(bounds.possible, scores, np.float32(-np.inf))
        taken_at = np.where(bounds.always, np.float32(np.inf), taken_at).reshape(-1)
        is_first = taken_at[self.here] > taken_at[self.there]
        if chosen is not None:
            is_first &= chosen[self.rows(scores.shape[1])]
        is_second = is_first & (taken_at[self.there] > -np.inf)
        found = {}
        for gain, shares in (("pairs", self.pair_shares), ("hits", self.hit_shares)):
            values = np.zeros(scores.size)
            values[self.here[is_first]] += shares[is_first]
            values[self.there[is_second]] -= shares[is_second]
            found[gain] = values.reshape(scores.shape)
        return found
