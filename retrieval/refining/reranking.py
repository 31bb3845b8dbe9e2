"""Ranking by shared neighbours: the Jaccard similarity of k-reciprocal encodings, and the score."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float32, Float64, Int

from retrieval.refining.reciprocal import Encodings, Rerank, encodings
from retrieval.refining.vectors import SideVectors
from retrieval.search.exact import scores_of_pairs
from retrieval.search.ranking import NO_ROW, Neighbours, joined, padded, ranked

MEETINGS_AT_ONCE = 2**22
"""Components that two encodings share, looked at together: some 200 MiB."""


def reranked(sides: SideVectors, k: int, settings: Rerank) -> Neighbours:
    """The k best for each query by k-reciprocal re-ranking, itself first with score 1.

    The score of a pair is 1 − d* of Zhong et al. (CVPR 2017, equation 12) with the original
    distance d = 1 − score: (1 − λ)·J + λ·score, where J, from 0 to 1, is the Jaccard similarity of
    their encodings (equation 10). So it lies between −λ and 1, higher is nearer, and a threshold
    of plain scores does not fit it. The whole gallery is ranked, not only the nearest, and yet
    only those pairs are looked at that share a component or are among the k nearest.
    """
    found = sides.nearest(max(k, settings.num_listed))
    encoded = encodings(sides, found, settings)
    nearest = found.first(k)
    if nearest.rows.shape[1] == 1:
        return nearest
    ranking = _Ranking(sides, nearest, encoded, settings.weight)
    blocks = [ranking.block(start, stop) for start, stop in ranking.blocks()]
    return joined(blocks)


@dataclass(frozen=True)
class _Meetings:
    """Pairs that share a component, and their Jaccard similarity, by query, then by gallery row.

    `keys` are query · g + row: ascending, each once.
    """

    queries: Int[np.ndarray, " p"]
    rows: Int[np.ndarray, " p"]
    keys: Int[np.ndarray, " p"]
    jaccard: Float64[np.ndarray, " p"]

    def places(
        self, keys: Int[np.ndarray, " m"]
    ) -> tuple[Int[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
        """Where each key stands, and whether it is there at all."""
        places = np.minimum(np.searchsorted(self.keys, keys), max(0, len(self.keys) - 1))
        return places, self.keys[places] == keys if len(self.keys) else np.zeros(len(keys), bool)


@dataclass(frozen=True)
class _Ranking:
    sides: SideVectors
    nearest: Neighbours
    encoded: Encodings
    weight: float

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Runs of queries whose meetings fit in what is looked at together."""
        queries = self.encoded.queries
        costs = np.diff(self._members.indptr)[queries.indices]
        ends = np.concatenate([[0], np.cumsum(costs, dtype=np.int64)])[queries.indptr]
        start = 0
        while start < queries.shape[0]:
            stop = int(np.searchsorted(ends, ends[start] + MEETINGS_AT_ONCE, side="right")) - 1
            stop = min(max(stop, start + 1), queries.shape[0])
            yield start, stop
            start = stop

    def block(self, start: int, stop: int) -> Neighbours:
        """The best for queries `start` to `stop`: as many as there are nearest."""
        meetings = self._meetings(start, stop)
        listed, is_listed = self._listed(meetings, start, stop)
        others = self._outsiders(meetings, is_listed, listed, start)
        num_others = listed.rows.shape[1]
        best = ranked(
            np.concatenate([listed.rows, others.rows], axis=1),
            np.concatenate([listed.scores, others.scores], axis=1),
            num_others,
        )
        first = self.nearest.first(1)
        return Neighbours(
            np.concatenate([first.rows[start:stop], best.rows], axis=1),
            np.concatenate([first.scores[start:stop], best.scores], axis=1),
        )

    def _meetings(self, start: int, stop: int) -> _Meetings:
        shared = _shared(self.encoded.queries[start:stop], self._members)
        counts = np.diff(shared.indptr)
        queries = np.repeat(np.arange(stop - start), counts)
        rows = shared.indices.astype(np.int64)
        unions = self._totals[0][start + queries] + self._totals[1][rows] - shared.data
        keys = queries * shared.shape[1] + rows
        return _Meetings(queries, rows, keys, shared.data / unions)

    def _listed(
        self, meetings: _Meetings, start: int, stop: int
    ) -> tuple[Neighbours, Bool[np.ndarray, " p"]]:
        """The final scores of the nearest, and which meetings are theirs or an item's own."""
        rows, scores = self.nearest.rows[start:stop], self.nearest.scores[start:stop]
        keys = np.arange(len(rows))[:, None] * len(self.sides.gallery) + rows
        places, is_met = meetings.places(keys.ravel())
        is_met &= rows.ravel() != NO_ROW
        is_listed = np.zeros(len(meetings.keys), bool)
        is_listed[places[is_met]] = True
        jaccard = np.zeros(rows.size)
        jaccard[is_met] = meetings.jaccard[places[is_met]]
        finals = self._final(jaccard.reshape(rows.shape), scores)
        return Neighbours(rows[:, 1:], finals[:, 1:]), is_listed

    def _outsiders(
        self, meetings: _Meetings, is_listed: Bool[np.ndarray, " p"], listed: Neighbours, start: int
    ) -> Neighbours:
        """Pairs beyond the nearest that may yet be among the best, with their final scores.

        None of them has a higher score than the last of the nearest: most are ruled out by that.
        """
        last = self.nearest.scores[start : start + len(listed.rows), -1]
        floors = listed.scores.min(axis=1)
        bounds = self._final(meetings.jaccard, last[meetings.queries])
        at = np.flatnonzero(~is_listed & (bounds >= floors[meetings.queries]))
        queries, rows = meetings.queries[at], meetings.rows[at]
        scores = scores_of_pairs(self.sides.queries, self.sides.gallery, start + queries, rows)
        finals = self._final(meetings.jaccard[at], scores)
        kept = finals >= floors[queries]
        return padded(queries[kept], rows[kept], finals[kept], len(listed.rows), 0)

    def _final(
        self, jaccard: Float64[np.ndarray, "..."], scores: Float32[np.ndarray, "..."]
    ) -> Float32[np.ndarray, "..."]:
        """1 − d*; −inf where there is no item."""
        is_there = np.isfinite(scores)
        finals = (1 - self.weight) * jaccard
        finals += self.weight * np.where(is_there, scores, 0).astype(np.float64)
        finals[~is_there] = -np.inf
        return finals.astype(np.float32)

    @cached_property
    def _members(self) -> scipy.sparse.csr_array:
        members = self.encoded.gallery.T.tocsr()  # who has a component at each item
        members.sort_indices()
        return members

    @cached_property
    def _totals(self) -> tuple[Float64[np.ndarray, " q"], Float64[np.ndarray, " g"]]:
        return self.encoded.queries.sum(axis=1), self.encoded.gallery.sum(axis=1)


def _shared(
    queries: scipy.sparse.csr_array, members: scipy.sparse.csr_array
) -> scipy.sparse.csr_array:
    """Σ min(V_p, V_g) for each pair that shares a component: the intersections of equation 10.

    Every meeting is one entry of a product of sparse matrices, which adds them up.
    """
    lengths = np.diff(members.indptr)[queries.indices]
    ends = np.cumsum(lengths, dtype=np.int64)
    num_meetings = int(ends[-1]) if len(ends) else 0
    shifts = members.indptr[queries.indices] - (ends - lengths)
    at = np.arange(num_meetings) + np.repeat(shifts, lengths)
    least = np.minimum(np.repeat(queries.data, lengths), members.data[at])
    values = scipy.sparse.csr_array(
        (least, members.indices[at], np.arange(num_meetings + 1)),
        (num_meetings, members.shape[1]),
    )
    bounds = np.concatenate([[0], ends])[queries.indptr]
    summing = scipy.sparse.csr_array(
        (np.ones(num_meetings), np.arange(num_meetings), bounds),
        (queries.shape[0], num_meetings),
    )
    return (summing @ values).tocsc().tocsr()  # sorts the rows of each query, in linear time
