"""The scores of given pairs, in any space."""

import numpy as np
from jaxtyping import Float32, Int

from retrieval.search.exact import scores_of_pairs
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import Sides, StoreRows
from retrieval.search.sparse import UnitSparse
from retrieval.search.vectors import UnitVectors

PAIRS_TOGETHER = 2**17


def pair_scores(
    sides: Sides, space: str, rows: Int[np.ndarray, "q c"]
) -> Float32[np.ndarray, "q c"]:
    """The score of each query with each of its candidates, which are positions in the gallery.

    −inf where the row is `NO_ROW`, and 1 where it is the query itself. Where no component is shared
    in a sparse space the score is 0. Vectors are taken to be finite: a search has looked at them.
    """
    scores = np.full(rows.shape, -np.inf, np.float32)
    step = max(1, PAIRS_TOGETHER // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        queries, columns = np.nonzero(block != NO_ROW)
        at = (start + queries, columns)
        scores[at] = scores_between(sides, space, at[0], rows[at])
    scores[(rows == sides.own[:, None]) & (rows != NO_ROW)] = 1
    return scores


def scores_between(
    sides: Sides, space: str, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
) -> Float32[np.ndarray, " p"]:
    """The score of each pair of positions."""
    kind = sides.gallery.store.space(space).kind
    score = {"dense": _dense, "sparse": _sparse, "binary": _binary}[kind]
    of_queries, query_places = np.unique(queries, return_inverse=True)
    of_gallery, gallery_places = np.unique(gallery, return_inverse=True)
    return score(
        space,
        (_taken(sides.queries, of_queries), query_places),
        (_taken(sides.gallery, of_gallery), gallery_places),
    )


Taken = tuple[StoreRows, Int[np.ndarray, " p"]]
"""The rows that pairs are made of, each once, and which of them each pair has."""


def _taken(side: StoreRows, positions: Int[np.ndarray, " m"]) -> StoreRows:
    return StoreRows(side.store, side.rows[positions])


def _dense(space: str, one: Taken, other: Taken) -> Float32[np.ndarray, " p"]:
    units = [
        UnitVectors(side.store.array(space), side.rows).between(0, len(side))
        for side, _ in (one, other)
    ]
    return scores_of_pairs(units[0], units[1], one[1], other[1])


def _sparse(space: str, one: Taken, other: Taken) -> Float32[np.ndarray, " p"]:
    units = [
        UnitSparse(side.store.sparse(space), side.rows).rows[places]
        for side, places in (one, other)
    ]
    sums = units[0].multiply(units[1]).sum(axis=1)
    return np.clip(np.asarray(sums, np.float32).reshape(-1), -1, 1)


def _binary(space: str, one: Taken, other: Taken) -> Float32[np.ndarray, " p"]:
    codes = [side.store.array(space)[side.rows][places] for side, places in (one, other)]
    distances = np.bitwise_count(codes[0] ^ codes[1]).sum(axis=1, dtype=np.int64)
    bits = one[0].store.space(space).dim
    return np.asarray(1 - 2 * distances / bits, np.float32)
