"""k-reciprocal encodings: each item described by the neighbours that it shares a list with.

Zhong, Zheng, Cao, Li: Re-ranking Person Re-identification with k-reciprocal Encoding (CVPR 2017).
N items are never compared with N: an encoding has a component for each item near its own, a few
dozen, and is kept as a row of a sparse matrix over the gallery.

Departures from the paper, where queries are not in the gallery as they are: a query changes nothing
about the gallery's own lists, so that its result does not depend on the other queries, and it has
no component of its own; a query that refinements have moved has that of its item. The authors'
program divides distances by the largest and encodings by their sum, of which the equations say
nothing; neither is done here.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Int

from embed.errors import SettingsError
from retrieval.refining.vectors import SideVectors
from retrieval.search.exact import scores_of_pairs
from retrieval.search.ranking import NO_ROW, Neighbours

COMPARED_ROWS = 4096


@dataclass(frozen=True)
class Rerank:
    """How k-reciprocal re-ranking works.

    Attributes:
        k1: neighbours that have to be each other's, the item itself not counted.
        k2: encodings that are averaged (local query expansion), its own counted: 1 averages none.
        weight: λ, from 0 to 1: the share of the original score in the final one.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1:
            raise SettingsError(
                f"--rerank-k1 and --rerank-k2 should be at least 1: found {self.k1} and {self.k2}"
            )
        if not 0 <= self.weight <= 1:
            raise SettingsError(
                f"--rerank-lambda is the share of the original score, from 0 to 1: found "
                f"{self.weight:g}"
            )

    @property
    def num_listed(self) -> int:
        """The length of the lists that it needs, the item itself included."""
        return max(self.k1 + 1, self.k2)


@dataclass(frozen=True)
class Encodings:
    """The encodings of both sides: q×g and g×g, in float64; one matrix in a self-join."""

    queries: scipy.sparse.csr_array
    gallery: scipy.sparse.csr_array


def encodings(sides: SideVectors, found: Neighbours, settings: Rerank) -> Encodings:
    """The k-reciprocal encodings of queries and gallery (equations 2 to 7 and 11).

    `found` are the nearest of each query: `settings.num_listed` of them at least, where the gallery
    has as many.
    """
    among = found if sides.is_self_join else sides.of_gallery.nearest(settings.num_listed)
    whole = _reciprocal(among.rows[:, : settings.k1 + 1])
    half = _reciprocal(among.rows[:, : round(settings.k1 / 2) + 1])
    plain = _weighted(_extended(whole, half), sides.of_gallery)
    gallery = _averaged(plain, plain, among.rows[:, : settings.k2])
    if sides.is_self_join:
        return Encodings(gallery, gallery)
    of_queries = _weighted(
        _extended(_of_queries(found, among, whole, sides, settings), half), sides
    )
    queries = _averaged(of_queries, plain, found.rows[:, : settings.k2])
    return Encodings(_with_own(queries, gallery, _unmoved(sides)), gallery)


def _reciprocal(lists: Int[np.ndarray, "g k"]) -> scipy.sparse.csr_array:
    """R(p, k): true where each of two items is in the other's list (equation 3)."""
    adjacency = _matrix(lists, len(lists))
    return adjacency.multiply(adjacency.T).tocsr()


def _of_queries(
    found: Neighbours,
    among: Neighbours,
    whole: scipy.sparse.csr_array,
    sides: SideVectors,
    settings: Rerank,
) -> scipy.sparse.csr_array:
    """R(p, k) of queries outside the gallery: those whose k-th neighbour is further than the query.

    With them goes the item that a query is in the gallery; if nothing has moved it, its row is
    replaced in the end.
    """
    rows, scores = found.rows[:, : settings.k1 + 1], found.scores[:, : settings.k1 + 1]
    is_full = among.rows.shape[1] > settings.k1
    floors = among.scores[:, settings.k1] if is_full else np.full(len(among.rows), -np.inf, "f4")
    is_mutual = (rows != NO_ROW) & (scores > floors[rows])
    is_mutual[:, 0] = rows[:, 0] != NO_ROW
    return _matrix(np.where(is_mutual, rows, NO_ROW), whole.shape[1])


def _extended(
    whole: scipy.sparse.csr_array, half: scipy.sparse.csr_array
) -> scipy.sparse.csr_array:
    """R*: with the half lists of those members that share two thirds of theirs (equation 4)."""
    shared = (whole @ half).multiply(whole).tocsr()  # `half` is symmetric
    sizes = half.sum(axis=1)
    shared.data = (3 * shared.data >= 2 * sizes[shared.indices]).astype(np.int32)
    shared.eliminate_zeros()
    extended = (whole + shared @ half).tocsr()
    extended.sort_indices()
    return extended


def _weighted(members: scipy.sparse.csr_array, sides: SideVectors) -> scipy.sparse.csr_array:
    """V: exp(−d) at each member of R*, with d = 1 − score (equation 7)."""
    queries = np.repeat(np.arange(members.shape[0]), np.diff(members.indptr))
    rows = members.indices.astype(np.int64)
    scores = scores_of_pairs(sides.queries, sides.gallery, queries, rows).astype(np.float64)
    scores[rows == sides.own[queries]] = 1
    return scipy.sparse.csr_array(
        (np.exp(scores - 1), members.indices, members.indptr), members.shape
    )


def _averaged(
    own: scipy.sparse.csr_array, gallery: scipy.sparse.csr_array, lists: Int[np.ndarray, "q k2"]
) -> scipy.sparse.csr_array:
    """Each encoding averaged with those of its nearest, itself first (equation 11)."""
    others = lists[:, 1:]
    counts = 1 + (others != NO_ROW).sum(axis=1)
    total = own + _matrix(others, gallery.shape[0]).astype(np.float64) @ gallery
    averaged = (scipy.sparse.diags_array(1 / counts) @ total).tocsr()
    averaged.sort_indices()
    return averaged


def _unmoved(sides: SideVectors) -> Int[np.ndarray, " q"]:
    """Where each query stands in the gallery with the very same vector; `NO_ROW` elsewhere."""
    own = sides.own.copy()
    for start in range(0, len(own), COMPARED_ROWS):
        block = slice(start, start + COMPARED_ROWS)
        is_same = (sides.queries[block] == sides.gallery[own[block]]).all(axis=1)
        own[block][~is_same] = NO_ROW  # what stands at NO_ROW is compared with it for nothing
    return own


def _with_own(
    queries: scipy.sparse.csr_array, gallery: scipy.sparse.csr_array, own: Int[np.ndarray, " q"]
) -> scipy.sparse.csr_array:
    """The gallery's encoding for each query that is there, its own for each that is not."""
    if (own == NO_ROW).all():
        return queries
    both = scipy.sparse.vstack([gallery, queries], format="csr")
    return both[np.where(own != NO_ROW, own, gallery.shape[0] + np.arange(len(own)))]


def _matrix(lists: Int[np.ndarray, "q k"], num_columns: int) -> scipy.sparse.csr_array:
    """1 at each item of each list, 0 elsewhere."""
    is_there = lists != NO_ROW
    indptr = np.concatenate([[0], np.cumsum(is_there.sum(axis=1))])
    ones = np.ones(indptr[-1], np.int32)
    return scipy.sparse.csr_array((ones, lists[is_there], indptr), (len(lists), num_columns))
