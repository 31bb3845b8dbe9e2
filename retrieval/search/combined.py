"""Exact search by the weighted mean of the scores of several spaces, of any kinds.

This is the search among concatenated vectors: the inner product of unit vectors laid side by side,
each scaled by the root of its weight, is the weighted sum of their scores.
"""

from collections.abc import Iterator, Mapping
from math import isfinite, isqrt
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from embed.errors import SettingsError
from retrieval.search.neighbours import (
    directed_dense,
    refuse_empty,
    refuse_other_vectors,
    unit_sparse,
)
from retrieval.search.pairs import pair_scores_of
from retrieval.search.plans import CANDIDATE_BYTES, MEMORY_BYTES
from retrieval.search.ranking import (
    NO_ROW,
    SLACK,
    Neighbours,
    joined,
    merged,
    none_found,
    ranked,
    ranked_pairs,
    replace_rows,
    self_first,
)
from retrieval.search.scoring import LEAST_ROWS, PairScores, share_out
from retrieval.search.sides import Sides

CELL_BYTES = 32
"""Of a score in a block until it is ranked, counted high."""


def combined_neighbours(
    sides: Sides, weights: Mapping[str, float], k: int, *, memory_bytes: int = MEMORY_BYTES
) -> Neighbours:
    """`find_neighbours` by Σ weight·score / Σ weight over several spaces.

    A sparse vector without components adds 0. Scores are added up in one fixed way, so
    that they and the order do not depend on `memory_bytes`: vectors, scores and candidates that are
    held at once, besides the result.

    Raises:
        StoreError, FingerprintError, SelectionError: as `find_neighbours` does.
        SettingsError: k is below 1, the weights do not fit, or the memory is too little.
    """
    if k < 1:
        raise SettingsError(f"k counts the item itself and should be at least 1: found {k}")
    refuse_empty(sides)
    num_gallery = len(sides.gallery)
    k = min(k, 1 + num_gallery - int((sides.own != NO_ROW).all()))
    search = CombinedSearch(sides, shares_of(weights), min(k, num_gallery), memory_bytes)
    return joined(
        [
            self_first(search(start, stop), sides.own[start:stop], k)
            for start, stop in search.query_blocks()
        ]
    )


def shares_of(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights as shares of their sum; by one below 0, what is near in its space is farther.

    Raises:
        SettingsError: one is 0 or no number, or their sum is not above 0.
    """
    bad = next((name for name, each in weights.items() if not (each and isfinite(each))), None)
    if bad is not None:
        raise SettingsError(
            f"the weight of a space is a number other than 0: found {bad}={weights[bad]:g}"
        )
    total = sum(weights.values())
    if total <= 0:
        found = ", ".join(f"{name}={weight:g}" for name, weight in weights.items())
        raise SettingsError(f"the weights of spaces add up to more than 0: found {found}")
    return {name: weight / total for name, weight in weights.items()}


class CombinedSearch:
    """Finds the k best of a gallery by the weighted mean of scores: `shares` add up to 1.

    As in a dense space, products of matrices propose and the scores of pairs decide. One half of
    the memory is for the vectors of the spaces, the other for scores and for candidates.
    """

    def __init__(
        self, sides: Sides, shares: Mapping[str, float], k: int, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._num_queries, self._num_gallery = len(sides.queries), len(sides.gallery)
        self._k = k
        self._parts = [(_checked(sides, space), share) for space, share in shares.items()]
        sizes = [(part.rounding, abs(share)) for part, share in self._parts]
        of_sums = (len(shares) + 2) * float(np.finfo(np.float32).eps)
        self._rounding = sum((rounding + of_sums) * size for rounding, size in sizes)
        self._gallery_rows, self._query_rows = self._block_shape(memory_bytes)

    def query_blocks(self) -> Iterator[tuple[int, int]]:
        """The first and last query of each block."""
        for start in range(0, self._num_queries, self._query_rows):
            yield start, min(start + self._query_rows, self._num_queries)

    def __call__(self, start: int, stop: int) -> Neighbours:
        """The k best of the gallery for queries `start` to `stop`, maybe themselves as well."""
        queries, wanted = np.arange(start, stop), self._k + SLACK
        proposed = none_found(len(queries))
        for offset, block in self._blocks(queries):
            best = _best_columns(block, min(wanted, block.shape[1]))
            proposed = merged(proposed, best.moved(offset), wanted)
        pairs = np.repeat(queries, proposed.rows.shape[1])
        scores = self._scores(pairs, proposed.rows.reshape(-1)).reshape(proposed.rows.shape)
        found = ranked(proposed.rows, scores, self._k)
        if wanted < self._num_gallery:
            is_doubtful = proposed.scores[:, -1] + self._rounding >= found.scores[:, -1]
            self._search_again(queries, found, np.flatnonzero(is_doubtful))
        return found

    def _block_shape(self, memory_bytes: int) -> tuple[int, int]:
        """How many of the gallery, and how many queries, are looked at together.

        Where the gallery is read anew for each block of queries, blocks are square: so the fewest
        vectors are read.
        """
        query_bytes = 2 * CANDIDATE_BYTES * (self._k + SLACK)
        least = 2 * LEAST_ROWS * max(LEAST_ROWS * CELL_BYTES, query_bytes)
        parts = [part for part, _ in self._parts]
        score_bytes = share_out(parts, memory_bytes, least) // 2
        cells, most_rows = score_bytes // CELL_BYTES, min(part.most_rows for part in parts)
        widest = cells // LEAST_ROWS if all(part.is_held for part in parts) else isqrt(cells)
        gallery_rows = min(self._num_gallery, most_rows, widest)
        return gallery_rows, min(cells // gallery_rows, most_rows, score_bytes // query_bytes)

    def _blocks(
        self, queries: Int[np.ndarray, " b"]
    ) -> Iterator[tuple[int, Float32[np.ndarray, "b g"]]]:
        """The scores with blocks of the gallery, rounded as matrix products round."""
        for start in range(0, self._num_gallery, self._gallery_rows):
            stop = min(start + self._gallery_rows, self._num_gallery)
            block = np.zeros((len(queries), stop - start), np.float32)
            for part, share in self._parts:
                scores = part.block(queries, start, stop)
                scores *= np.float32(share)
                block += scores
            yield start, block

    def _scores(
        self, queries: Int[np.ndarray, " p"], gallery: Int[np.ndarray, " p"]
    ) -> Float32[np.ndarray, " p"]:
        """The weighted mean of the scores of each pair of positions, summed in float64."""
        mean = np.zeros(len(queries))
        for part, share in self._parts:
            mean += share * part(queries, gallery).astype(np.float64)
        return mean.astype(np.float32)

    def _search_again(
        self, queries: Int[np.ndarray, " b"], best: Neighbours, doubtful: Int[np.ndarray, " m"]
    ) -> None:
        """Rank every row that may be among the k best of the doubtful queries, by its own score."""
        together = max(1, self._query_rows // 8)
        for start in range(0, len(doubtful), together):
            at = doubtful[start : start + together]
            floor = best.scores[at, -1:] - np.float32(self._rounding)
            found = none_found(len(at))
            for offset, block in self._blocks(queries[at]):
                pairs, columns = np.nonzero(block >= floor)
                rows = offset + columns
                scores = self._scores(queries[at][pairs], rows)
                reached = ranked_pairs(pairs, rows, scores, len(at), self._k)
                found = merged(found, reached, self._k)
            replace_rows(best, at, found)


def _checked(sides: Sides, space: str) -> PairScores[Any]:
    """The scores of a space whose vectors are of one encoder, finite and, if dense, not zero."""
    refuse_other_vectors(sides, space)
    kind = sides.gallery.store.space(space).kind
    if kind != "binary":
        check = unit_sparse if kind == "sparse" else directed_dense
        for side in (sides.gallery,) if sides.is_self_join else (sides.queries, sides.gallery):
            check(side, space)
    return pair_scores_of(sides, space)


def _best_columns(scores: Float32[np.ndarray, "b g"], m: int) -> Neighbours:
    """The m highest of each row, ranked."""
    import torch  # four times as fast as numpy's partition

    best = torch.from_numpy(scores).topk(m, dim=1, sorted=False)
    return ranked(best.indices.numpy(), best.values.numpy(), m)
