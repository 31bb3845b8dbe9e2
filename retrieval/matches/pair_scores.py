"""The scores of single pairs as a rule sees them, whether or not a search has found them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from retrieval.search.combined import shares_of
from retrieval.search.pairs import pair_scores_of
from retrieval.search.sides import Sides, StoreRows, between
from retrieval.thresholds.match_rules import MatchRule


@dataclass(frozen=True)
class ScoredPairs:
    """The scores of p pairs in each of s spaces, and that by which they are ordered."""

    scores: Float32[np.ndarray, "s p"]
    combined: Float32[np.ndarray, " p"]

    def where(self, chosen: Int[np.ndarray, " m"]) -> "ScoredPairs":
        """Only the pairs at these places."""
        return ScoredPairs(self.scores[:, chosen], self.combined[chosen])

    def as_cut(self, rule: MatchRule) -> Float32[np.ndarray, "t p"]:
        """The scores that thresholds cut: of each space, or of all together."""
        return self.scores if len(rule.thresholds) > 1 else self.combined[None]


def scored_pairs(
    sides: Sides, rule: MatchRule, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
) -> ScoredPairs:
    """The scores of pairs of a query and an item of the gallery, both given by their positions.

    They are those that a search in these spaces has, to the bit; refinements are not applied.
    Vectors are taken as they are: it is for a search to refuse them.

    Raises:
        StoreError: there is no such space.
    """
    of_queries, query_places = np.unique(queries, return_inverse=True)
    of_gallery, gallery_places = np.unique(gallery, return_inverse=True)
    # Only the items that are asked for: what a search holds is made ready for each of them.
    few = between(
        StoreRows(sides.queries.store, sides.queries.rows[of_queries]),
        StoreRows(sides.gallery.store, sides.gallery.rows[of_gallery]),
    )
    scores = np.zeros((len(rule.spaces), len(queries)), np.float32)
    combined = np.zeros(len(queries))
    if len(queries):
        for place, (space, share) in enumerate(shares_of(rule.spaces).items()):
            scores[place] = pair_scores_of(few, space)(query_places, gallery_places)
            combined += share * scores[place].astype(np.float64)
    return ScoredPairs(scores, combined.astype(np.float32))
