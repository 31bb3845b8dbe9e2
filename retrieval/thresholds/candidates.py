"""Pairs that may match: the neighbours of each query, with a score in every space."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int

from retrieval.search.ranking import NO_ROW, Neighbours


@dataclass(frozen=True)
class Candidates:
    """The c candidates of each of q queries, each scored in s spaces.

    `rows` are positions in the gallery, the query itself first (`NO_ROW` where it is not in it),
    and `NO_ROW` where there are fewer than c. `scores` are 1 for the query itself, and −inf where
    there is no candidate. `combined` is the score that the columns are ordered by, best first: the
    only one, or the weighted mean of several.
    """

    rows: Int[np.ndarray, "q c"]
    scores: Float32[np.ndarray, "s q c"]
    combined: Float32[np.ndarray, "q c"]

    @staticmethod
    def of(neighbours: Neighbours) -> "Candidates":
        """The neighbours in one space."""
        return Candidates(neighbours.rows, neighbours.scores[None], neighbours.scores)

    @property
    def exist(self) -> Bool[np.ndarray, "q c"]:
        """True where there is a candidate: in the first column always."""
        found = self.rows != NO_ROW
        found[:, 0] = True
        return np.asarray(found)
