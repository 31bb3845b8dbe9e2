"""Exact search by the weighted mean of the scores of several spaces, of any kinds.

This is the search among concatenated vectors: the inner product of unit vectors laid side by side,
each scaled by the root of its weight, is the weighted sum of their scores.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from jaxtyping import Float32, Int

from embed.errors import SettingsError
from retrieval.search.neighbours import refuse_empty, refuse_other_vectors, unit_dense, unit_sparse
from retrieval.search.pairs import scores_between
from retrieval.search.ranking import (
    NO_ROW,
    SLACK,
    Neighbours,
    merged,
    none_found,
    ranked,
    ranked_pairs,
    replace_rows,
    self_first,
)
from retrieval.search.sides import Sides, StoreRows
from retrieval.search.sparse import UnitSparse
from retrieval.search.vectors import UnitVectors

SCORE_BYTES = 2**28
"""Scores of a block of queries with a block of the gallery, held at once."""

ROUNDING = 4e-6
"""Two ways of adding up the same score lie no further apart: see `retrieval.search.dense`."""


def combined_neighbours(
    sides: Sides, weights: Mapping[str, float], k: int, *, score_bytes: int = SCORE_BYTES
) -> Neighbours:
    """`find_neighbours` by Σ weight·score / Σ weight over several spaces.

    A vector of zeros, or one without components, adds 0. Scores are added up in one fixed way, so
    that they and the order do not depend on `score_bytes`, which bounds the memory for scores.

    Raises:
        What `find_neighbours` does.
    """
    refuse_empty(sides)
    search = CombinedSearch(sides, shares_of(weights), score_bytes)
    num_gallery = len(sides.gallery)
    k = min(k, 1 + num_gallery - int((sides.own != NO_ROW).all()))
    blocks = [
        self_first(search(start, stop, min(k, num_gallery)), sides.own[start:stop], k)
        for start, stop in search.query_blocks()
    ]
    rows, scores = ([getattr(block, part) for block in blocks] for part in ("rows", "scores"))
    return Neighbours(np.concatenate(rows), np.concatenate(scores))


def shares_of(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights as shares of their sum.

    Raises:
        SettingsError: one is not above 0.
    """
    bad = next((name for name, weight in weights.items() if not 0 < weight < np.inf), None)
    if bad is not None:
        raise SettingsError(f"the weight of a space is above 0: found {bad}={weights[bad]:g}")
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def combined_scores(
    sides: Sides,
    shares: Mapping[str, float],
    queries: Int[np.ndarray, " p"],
    gallery: Int[np.ndarray, " p"],
) -> Float32[np.ndarray, " p"]:
    """The weighted mean of the scores of each pair of positions, summed in float64."""
    mean = np.zeros(len(queries))
    for space, share in shares.items():
        mean += share * scores_between(sides, space, queries, gallery).astype(np.float64)
    return mean.astype(np.float32)


class CombinedSearch:
    """Finds the best of a gallery by the weighted mean of scores: `shares` add up to 1."""

    def __init__(self, sides: Sides, shares: Mapping[str, float], score_bytes: int) -> None:
        self._sides = sides
        self._shares = shares
        self._parts = [_Part(sides, space) for space in shares]
        self._gallery_rows = max(SLACK, min(len(sides.gallery), score_bytes // (8 * SLACK)))
        self._query_rows = max(1, score_bytes // (8 * self._gallery_rows))

    def query_blocks(self) -> Iterator[tuple[int, int]]:
        """The first and last query of each block."""
        num_queries = len(self._sides.queries)
        for start in range(0, num_queries, self._query_rows):
            yield start, min(start + self._query_rows, num_queries)

    def __call__(self, start: int, stop: int, k: int) -> Neighbours:
        """The k best of the gallery for queries `start` to `stop`, maybe themselves as well."""
        queries = np.arange(start, stop)
        proposed, wanted = none_found(stop - start), k + SLACK
        for offset, block in self._blocks(queries):
            best = _best_columns(block, min(wanted, block.shape[1]))
            proposed = merged(proposed, Neighbours(best.rows + offset, best.scores), wanted)
        found = ranked(proposed.rows, self._scores(queries, proposed.rows), k)
        if wanted < len(self._sides.gallery):
            is_doubtful = proposed.scores[:, -1] + ROUNDING >= found.scores[:, -1]
            self._search_again(queries, found, np.flatnonzero(is_doubtful))
        return found

    def _blocks(
        self, queries: Int[np.ndarray, " b"]
    ) -> Iterator[tuple[int, Float32[np.ndarray, "b g"]]]:
        """The scores with blocks of the gallery, rounded as matrix products round."""
        num_gallery = len(self._sides.gallery)
        for start in range(0, num_gallery, self._gallery_rows):
            stop = min(start + self._gallery_rows, num_gallery)
            block = np.zeros((len(queries), stop - start), np.float32)
            for part, share in zip(self._parts, self._shares.values(), strict=True):
                block += np.float32(share) * part.scores(queries, start, stop)
            yield start, block

    def _scores(
        self, queries: Int[np.ndarray, " b"], rows: Int[np.ndarray, "b m"]
    ) -> Float32[np.ndarray, "b m"]:
        pairs = np.repeat(queries, rows.shape[1])
        flat = combined_scores(self._sides, self._shares, pairs, rows.reshape(-1))
        return flat.reshape(rows.shape)

    def _search_again(
        self, queries: Int[np.ndarray, " b"], best: Neighbours, doubtful: Int[np.ndarray, " m"]
    ) -> None:
        """Rank every row that may be among the k best of the doubtful queries, by its own score."""
        for at in np.array_split(doubtful, max(1, len(doubtful) // max(1, self._query_rows // 8))):
            if len(at) == 0:
                continue
            floor = best.scores[at, -1:] - np.float32(ROUNDING)
            found = [
                (pairs, offset + rows)
                for offset, block in self._blocks(queries[at])
                for pairs, rows in [np.nonzero(block >= floor)]
            ]
            pairs, rows = (np.concatenate([part[side] for part in found]) for side in (0, 1))
            order = np.argsort(pairs, kind="stable")
            pairs, rows = pairs[order], rows[order]
            scores = combined_scores(self._sides, self._shares, queries[at][pairs], rows)
            table = ranked_pairs(pairs, rows, scores, len(at), best.rows.shape[1])
            replace_rows(best, at, table)


class _Part:
    """One space of a combined search: the scores of a block of queries with one of the gallery."""

    def __init__(self, sides: Sides, space: str) -> None:
        refuse_other_vectors(sides, space)
        kind = sides.gallery.store.space(space).kind
        make = _MAKERS[kind]
        self._gallery = make(sides.gallery, space)
        self._queries = self._gallery if sides.is_self_join else make(sides.queries, space)

    def scores(
        self, queries: Int[np.ndarray, " b"], start: int, stop: int
    ) -> Float32[np.ndarray, "b g"]:
        """The scores of queries, which are ascending positions, with a part of the gallery."""
        of_queries, of_gallery = self._queries, self._gallery
        if isinstance(of_gallery, UnitSparse):
            assert isinstance(of_queries, UnitSparse)
            product = of_queries.rows[queries] @ of_gallery.rows[start:stop].T
            return np.asarray(product.toarray(), np.float32)
        assert isinstance(of_queries, UnitVectors)
        first = int(queries[0])
        block = of_queries.between(first, int(queries[-1]) + 1)[queries - first]
        return np.asarray(block @ of_gallery.between(start, stop).T)


def _unit_signs(side: StoreRows, space: str) -> UnitVectors:
    """A binary space as vectors of ±1, scaled to length 1."""
    bits = side.store.space(space).dim
    codes = np.unpackbits(side.store.array(space)[side.rows], axis=1)[:, :bits]
    return UnitVectors(1 - 2 * codes.astype(np.float32), np.arange(len(side)))


_MAKERS: dict[str, Callable[[StoreRows, str], UnitVectors | UnitSparse]] = {
    "dense": unit_dense,
    "sparse": unit_sparse,
    "binary": _unit_signs,
}


def _best_columns(scores: Float32[np.ndarray, "b g"], m: int) -> Neighbours:
    """The m highest of each row, ranked."""
    at = np.argpartition(-scores, m - 1, axis=1)[:, :m]
    return ranked(at, np.take_along_axis(scores, at, 1), m)
