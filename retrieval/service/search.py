"""Search of a store by single queries: the best rows, with their scores in every space.

Scores are to the bit those of `retrieval neighbours`; ties go by row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int

from embed.devices import num_cores
from embed.store import Store
from retrieval.search.combined import shares_of
from retrieval.service.batching import MOST_TOGETHER, Batcher
from retrieval.service.spaces import SpaceVectors, Vector, open_vectors
from retrieval.service.threads import core_threads

EVERY_CANDIDATE = ("sum", "union", "intersection")
LEAST_ROWS = 16_384
"""Rows that are worth a thread of their own."""

MOST_SCORES = 2**24
"""Of rows with queries that are searched together."""


@dataclass(frozen=True)
class SpaceQuery:
    """A query in one space, and the share of that space in the combined score."""

    vector: Vector
    weight: float = 1.0


@dataclass(frozen=True)
class _Product:
    """A query, prepared for each of its spaces, and their shares."""

    prepared: Mapping[str, Any]
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Found:
    """The best m rows: by combined score descending, ties by row ascending.

    `combined` is the weighted mean of `scores`, which are those of each space.
    """

    rows: Int[np.ndarray, " m"]
    combined: Float32[np.ndarray, " m"]
    scores: Float32[np.ndarray, "s m"]


class Searcher:
    """Searches the spaces of a store, each opened when it is first asked for.

    All products are made by as many threads as there are cores, however many requests there are,
    and each of them by one thread alone. Queries that arrive together are multiplied together.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._num_rows = store, len(store)
        self._opened: dict[str, SpaceVectors] = {}
        self._opening = Lock()
        self._num_threads = num_cores()
        self._pool = core_threads("search")
        together = max(1, min(MOST_TOGETHER, MOST_SCORES // max(1, self._num_rows)))
        self._near = Batcher("searches", self._near_together, most_together=together)

    def __len__(self) -> int:
        return self._num_rows

    @property
    def num_products(self) -> int:
        """How often all rows have been looked at, for one query or for several together."""
        return self._near.num_batches

    def vectors(self, space: str) -> SpaceVectors:
        """The vectors of a space.

        Raises:
            StoreError: there is no such space, or a vector is not finite.
        """
        opened = self._opened.get(space)
        if opened is not None:  # as it always is in the threads of the pool
            return opened
        with self._opening:
            if space not in self._opened:
                opening = self._pool.submit(open_vectors, self._store, space)
                self._opened[space] = opening.result()
            return self._opened[space]

    def best(
        self,
        queries: Mapping[str, SpaceQuery],
        k: int,
        *,
        combine: str = "concat",
        allowed: Bool[np.ndarray, " n"] | None = None,
        without: int | None = None,
    ) -> Found:
        """The k best rows by the weighted mean of their scores.

        Args:
            queries: by space.
            k: how many; fewer where there are fewer.
            combine: as of a rule; for sum, union and intersection only what is among the k nearest
                in some space counts, k each.
            allowed: the rows to look among; None: all.
            without: a row that is not looked at: the query's own.
        """
        kept = np.ones(self._num_rows, bool) if allowed is None else allowed.copy()
        if without is not None:
            kept[without] = False
        if len(queries) > 1 and combine in EVERY_CANDIDATE:
            found = [self._nearest({name: each}, k, kept).rows for name, each in queries.items()]
            rows = np.unique(np.concatenate(found))
            return self.scored(queries, rows)
        return self._nearest(queries, k, kept)

    def scored(self, queries: Mapping[str, SpaceQuery], rows: Int[np.ndarray, " m"]) -> Found:
        """These rows, ranked."""
        scores = self._exact(self._prepared(queries), rows)
        return _ranked(rows, scores, _shares(queries), len(rows))

    def close(self) -> None:
        """End the threads."""
        self._near.close()
        self._pool.shutdown(wait=False)

    def _nearest(
        self, queries: Mapping[str, SpaceQuery], k: int, kept: Bool[np.ndarray, " n"]
    ) -> Found:
        prepared = self._prepared(queries)
        k = min(k, int(kept.sum()))
        if k == 0:
            none = np.empty(0, np.float32)
            return Found(np.empty(0, np.int64), none, np.empty((len(queries), 0), np.float32))
        near = self._near(_Product(prepared, dict(zip(queries, _shares(queries), strict=True))))
        near[~kept] = -np.inf
        rows = _candidates(near, k, self._margin(queries))
        scores = self._exact(prepared, rows)
        if len(queries) == 1 and self.vectors(next(iter(queries))).info.kind == "sparse":
            shares_some = scores[0] > 0  # without a common component nothing is a neighbour
            rows, scores = rows[shares_some], scores[:, shares_some]
        return _ranked(rows, scores, _shares(queries), k)

    def _prepared(self, queries: Mapping[str, SpaceQuery]) -> dict[str, Any]:
        return {name: self.vectors(name).prepared(each.vector) for name, each in queries.items()}

    def _margin(self, queries: Mapping[str, SpaceQuery]) -> float:
        of_spaces = [self.vectors(name).margin for name in queries]
        mean = float(np.dot(_shares(queries), of_spaces))
        return mean + (len(queries) + 2) * float(np.finfo(np.float32).eps)

    def _near_together(self, asked: list[_Product]) -> list[Float32[np.ndarray, " n"]]:
        """Roughly the combined score of every row, of each query."""
        near = np.zeros((len(asked), self._num_rows), np.float32)
        step = max(LEAST_ROWS, -(-self._num_rows // self._num_threads))

        def fill(first: int) -> None:
            last = min(first + step, self._num_rows)
            for start in range(first, last, LEAST_ROWS):
                self._fill(near, asked, start, min(start + LEAST_ROWS, last))

        for done in [self._pool.submit(fill, first) for first in range(0, self._num_rows, step)]:
            done.result()
        return list(near)

    def _fill(
        self, near: Float32[np.ndarray, "q n"], asked: list[_Product], start: int, stop: int
    ) -> None:
        """Add up the scores of rows `start` to `stop`."""
        for space in dict.fromkeys(name for each in asked for name in each.shares):
            which = [number for number, each in enumerate(asked) if space in each.shares]
            queries = [asked[number].prepared[space] for number in which]
            scores = self.vectors(space).near(queries, start, stop)
            for number, of_query in zip(which, scores, strict=True):
                near[number, start:stop] += asked[number].shares[space] * of_query

    def _exact(
        self, prepared: Mapping[str, Any], rows: Int[np.ndarray, " m"]
    ) -> Float32[np.ndarray, "s m"]:
        def score() -> Float32[np.ndarray, "s m"]:
            return np.stack([self.vectors(name).exact(q, rows) for name, q in prepared.items()])

        return self._pool.submit(score).result()


def _shares(queries: Mapping[str, SpaceQuery]) -> list[float]:
    return list(shares_of({name: each.weight for name, each in queries.items()}).values())


def _candidates(near: Float32[np.ndarray, " n"], k: int, margin: float) -> Int[np.ndarray, " m"]:
    """Every row that may be among the k best, ascending.

    k rows are near the k-th value or above it, so the k-th best score is at most `margin` below;
    and a row that reaches that is itself at most `margin` below it here.
    """
    import torch  # many times as fast as numpy's partition

    kth = np.float32(torch.from_numpy(near).topk(k, sorted=False).values.min().item())
    return np.flatnonzero(near >= kth - np.float32(2 * margin))


def _ranked(
    rows: Int[np.ndarray, " m"],
    scores: Float32[np.ndarray, "s m"],
    shares: list[float],
    k: int,
) -> Found:
    # Added up as `retrieval.search.combined` does.
    mean = np.zeros(len(rows))
    for share, of_space in zip(shares, scores, strict=True):
        mean += share * of_space.astype(np.float64)
    combined = mean.astype(np.float32)
    best = np.lexsort((rows, -combined))[:k]
    return Found(rows[best], combined[best], scores[:, best])
