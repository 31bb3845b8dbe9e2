"""Approximate search: an index proposes, exact scores decide; and how hard it has to look."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Float64

from embed.errors import NeighboursError, SelectionError, SettingsError
from retrieval.search.indexes import (
    Effort,
    EffortRange,
    Method,
    build_index,
    build_parameters,
    effort_range,
    propose,
)
from retrieval.search.neighbours import find_neighbours, refuse_other_vectors
from retrieval.search.plans import MEMORY_BYTES
from retrieval.search.ranking import NO_ROW, SLACK, Neighbours, joined, ranked, self_first
from retrieval.search.sides import Sides, StoreRows, between
from retrieval.search.unit_rows import GalleryScores, unit_vectors

QUERY_BLOCK_ROWS = 1024
DIGEST_BYTES = 16
DEFAULT_K = 50
CHOSEN_MARGIN = 0.25
"""The share of what may be missed that the effort must not miss where it is chosen."""


@dataclass(frozen=True)
class IndexSettings:
    """What to build, and how good it should be.

    Attributes:
        space: a dense space.
        method: hnsw (a graph), ivf-flat (cells), ivf-pq (cells of short codes, the smallest) or sq8
            (a byte for each component, all of them looked at: smaller, but no quicker).
        k: neighbours that recall is measured of, the item itself included; None takes 50, or all
            where there are fewer.
        recall: the share of the exact neighbours that should be found, from 0 to 1.
        num_queries: items that are looked up to measure it.
        seed: of the index, and of the choice of these items.
    """

    space: str
    method: Method = "hnsw"
    k: int | None = None
    recall: float = 0.95
    num_queries: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise SettingsError(f"--recall should be above 0 and at most 1: found {self.recall:g}")
        if self.k is not None and self.k < 2:
            raise SettingsError(f"--k counts the item itself and should be at least 2: {self.k}")
        if self.num_queries < 2:
            raise SettingsError(
                f"--num-queries should be at least 2, to choose by and to report on: found "
                f"{self.num_queries}"
            )


@dataclass(frozen=True)
class IndexInfo:
    """What an index says of itself, beside the vectors in it.

    Attributes:
        space, fingerprint: the vectors it was built of.
        num_rows, ids_digest: the items it holds, in order.
        method, seed, parameters: how it was built.
        effort: how hard it looks.
        k, target_recall: what was asked for.
        recall: the share of the k − 1 exact neighbours of the measured items that are found with
            this effort (an item as near as the last of them counts as found).
        num_queries: the items that it was measured on, all at once: the effort was
            chosen on one half of them, and the recall is that of the other.
        seconds_per_query, exact_seconds_per_query: on this machine, then, all of the measured items
            together: reading the vectors of the gallery is a part of both.
    """

    space: str
    fingerprint: str
    num_rows: int
    ids_digest: str
    method: Method
    seed: int
    parameters: dict[str, int]
    effort: Effort
    k: int
    target_recall: float
    recall: float
    num_queries: int
    seconds_per_query: float
    exact_seconds_per_query: float

    def to_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


@dataclass(frozen=True)
class ApproximateIndex:
    """A FAISS index, and what it says of itself; `name` is what messages call it."""

    faiss_index: Any
    info: IndexInfo
    name: str = "the index"


def approximate_index(
    gallery: StoreRows,
    settings: IndexSettings,
    *,
    memory_bytes: int = MEMORY_BYTES,
    device: str = "auto",
) -> ApproximateIndex:
    """An index of the gallery with the least effort that holds the recall on a sample of it.

    Where no effort does, it has the most that it can make; `info.recall` says what that reaches.
    The searches that measure it take `memory_bytes` and a `device` as `find_neighbours` does.

    Raises:
        StoreError: there is no such space, it is not dense, or a vector is not finite, or zero.
        SelectionError: fewer than 2 rows are selected.
        SettingsError: too few rows for the method, or too little memory.
    """
    if len(gallery) < 2:
        raise SelectionError(
            f"an index needs 2 rows at least: {len(gallery)} of {gallery.store.path} are selected"
        )
    built = build_index(gallery, settings.space, settings.method, settings.seed)
    info = IndexInfo(
        space=settings.space,
        fingerprint=gallery.store.space(settings.space).fingerprint,
        num_rows=len(gallery),
        ids_digest=ids_digest(gallery),
        method=settings.method,
        seed=settings.seed,
        parameters=build_parameters(built),
        effort=Effort(),
        k=min(settings.k or DEFAULT_K, len(gallery)),
        target_recall=settings.recall,
        recall=0.0,
        num_queries=min(settings.num_queries, len(gallery)),
        seconds_per_query=0.0,
        exact_seconds_per_query=0.0,
    )
    return _measured(ApproximateIndex(built, info), gallery, memory_bytes, device)


def approximate_neighbours(
    sides: Sides, k: int, index: ApproximateIndex, *, memory_bytes: int = MEMORY_BYTES
) -> Neighbours:
    """`find_neighbours` among what an index proposes: exact scores, but some may be missing.

    Where the index proposes fewer than k, `NO_ROW` with score −inf fills up the rest.

    Raises:
        NeighboursError: the index holds other vectors or other rows than the gallery.
        FingerprintError: the two stores hold vectors of different encoders.
        SettingsError: k is below 1.
    """
    blocks = iterate_approximate(sides, k, index, memory_bytes=memory_bytes)
    return joined([found for _, found in blocks])


def iterate_approximate(
    sides: Sides, k: int, index: ApproximateIndex, *, memory_bytes: int = MEMORY_BYTES
) -> Iterator[tuple[int, Neighbours]]:
    """Blocks of `approximate_neighbours`, each with the position of its first query.

    A gallery of up to half of `memory_bytes` is held for the scores, beside the index.
    """
    refuse_other_gallery(sides, index)
    if k < 1:
        raise SettingsError(f"k counts the item itself and should be at least 1: found {k}")
    k = min(k, 1 + len(sides.gallery) - int((sides.own != NO_ROW).all()))
    scores = GalleryScores(sides.gallery, index.info.space, memory_bytes // 2)
    return _blocks(sides, k, index, scores)


def refuse_other_gallery(sides: Sides, index: ApproximateIndex) -> None:
    """Raise where an index does not hold the gallery that is to be searched."""
    info = index.info
    refuse_other_vectors(sides, info.space)
    gallery = sides.gallery
    found = gallery.store.space(info.space).fingerprint
    if found != info.fingerprint:
        raise NeighboursError(
            f"{index.name} holds vectors of space '{info.space}' with fingerprint "
            f"{info.fingerprint}, {gallery.store.path} has {found}: make the index again"
        )
    if (len(gallery), ids_digest(gallery)) != (info.num_rows, info.ids_digest):
        raise NeighboursError(
            f"{index.name} holds {info.num_rows:,} rows, and the {len(gallery):,} that are to be "
            f"looked among are not the same: make the index again with the same --where, and "
            f"--unseen-by for the rows that heads have seen"
        )


def ids_digest(side: StoreRows) -> str:
    """A hash of the ids of a side, in their order."""
    text = "\0".join(side.ids.tolist())  # no id holds a NUL: HDF5 ends strings with it
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def _blocks(
    sides: Sides, k: int, index: ApproximateIndex, scores: GalleryScores
) -> Iterator[tuple[int, Neighbours]]:
    effort = index.info.effort
    num_proposals = min(k * effort.oversampling + SLACK, len(sides.gallery))
    queries = unit_vectors(sides.queries, index.info.space)
    for start in range(0, len(sides.queries), QUERY_BLOCK_ROWS):
        stop = min(start + QUERY_BLOCK_ROWS, len(sides.queries))
        block = queries.between(start, stop)
        rows = propose(index.faiss_index, block, num_proposals, effort.depth)
        found = ranked(rows, scores(block, rows), k)
        yield start, self_first(found, sides.own[start:stop], k)


def _measured(
    index: ApproximateIndex, gallery: StoreRows, memory_bytes: int, device: str
) -> ApproximateIndex:
    """The index with the least effort that holds its recall, and with what that reaches."""
    info = index.info
    generator = np.random.default_rng(info.seed)
    chosen = np.sort(generator.choice(info.num_rows, info.num_queries, replace=False))
    sides = between(StoreRows(gallery.store, gallery.rows[chosen]), gallery)
    started = perf_counter()
    exact = find_neighbours(sides, info.space, info.k, memory_bytes=memory_bytes, device=device)
    exact_seconds = perf_counter() - started
    scores = GalleryScores(gallery, info.space, memory_bytes // 2)

    def recall_by_query(effort: Effort) -> Float64[np.ndarray, " q"]:
        trial = replace(index, info=replace(info, effort=effort))
        blocks = [found.scores for _, found in _blocks(sides, info.k, trial, scores)]
        reached = np.concatenate(blocks)[:, 1:] >= exact.scores[:, -1:]
        return np.asarray(reached.mean(axis=1))

    # The effort is chosen by every second query, to a little more than the target, and its recall
    # is told by the others, which need not do as well.
    limits = effort_range(index.faiss_index, info.k + SLACK)
    target = info.target_recall + CHOSEN_MARGIN * (1 - info.target_recall)
    effort, _ = least_effort(
        lambda trial: float(recall_by_query(trial)[::2].mean()), limits, target
    )
    recall = float(recall_by_query(effort)[1::2].mean())
    started = perf_counter()
    chosen_index = replace(index, info=replace(info, effort=effort))
    approximate_neighbours(sides, info.k, chosen_index, memory_bytes=memory_bytes)
    seconds = perf_counter() - started
    measured = replace(
        info,
        effort=effort,
        recall=recall,
        seconds_per_query=seconds / info.num_queries,
        exact_seconds_per_query=exact_seconds / info.num_queries,
    )
    return replace(index, info=measured)


def least_effort(
    recall_at: Callable[[Effort], float], limits: EffortRange, target: float
) -> tuple[Effort, float]:
    """The least effort that holds the target, to an eighth, and its recall; else the most.

    Recall grows with depth. Proposals come first: as few for each neighbour as leave half of what
    may be missed to the depth.
    """
    needed = target if limits.shallowest == limits.deepest else (1 + target) / 2
    for oversampling in limits.oversamplings:
        best = Effort(limits.deepest, oversampling)
        recall = recall_at(best)
        if recall >= needed:
            break
    low, depth = limits.shallowest - 1, limits.shallowest  # the least that is known to be too low
    while recall >= target and best.depth - low > max(1, low // 8):
        effort = replace(best, depth=min(depth, (low + best.depth) // 2))
        reached = recall_at(effort)
        if reached >= target:
            best, recall = effort, reached
        else:
            low, depth = effort.depth, 2 * effort.depth
    return best, recall
