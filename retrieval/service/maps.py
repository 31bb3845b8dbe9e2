"""A picture of a space in two dimensions, by PCA or by UMAP."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, TypeAlias, get_args

import numpy as np
import scipy.sparse
from jaxtyping import Float32, Int

from embed.errors import SettingsError
from retrieval.search.neighbours import iterate_neighbours, unit_dense, unit_sparse
from retrieval.search.sides import StoreRows, self_join
from retrieval.service.background import Background, Report
from retrieval.service.service import Snapshot

Method = Literal["pca", "umap"]
Vectors: TypeAlias = Float32[np.ndarray, "m d"] | scipy.sparse.csr_array

MOST_SAMPLED = 20_000
"""Items that the axes are fitted to, and the most that UMAP places."""

SAMPLE_BYTES = 2**28
"""What the vectors of these may take, where they are dense."""

MOST_EXACT, FEW_ITEMS = 1024, 256
"""Components and items up to which it takes less than a second to find axes exactly."""

LEAST_OF_ARPACK = 16
"""Of items or components: from fewer, ARPACK can't find two axes."""

SEED = 0
LEAST_OF_UMAP = 4
NEIGHBOURS_OF_UMAP = 15
NEIGHBOURS_SHARE = 0.4
"""Of all that UMAP takes, the search for neighbours."""


@dataclass(frozen=True)
class StoreMap:
    """Where m items of a store lie.

    Attributes:
        rows: which items, ascending.
        points: two coordinates of each, around 0.
        explained: the share of the variance along either axis; None where axes have no meaning.
    """

    rows: Int[np.ndarray, " m"]
    points: Float32[np.ndarray, "m 2"]
    explained: tuple[float, float] | None


def methods() -> list[str]:
    """The methods that there are here: UMAP only where umap-learn is installed."""
    return [name for name in get_args(Method) if name == "pca" or find_spec("umap") is not None]


def map_of(snapshot: Snapshot, space: str, method: Method) -> Background[StoreMap]:
    """The map of a space.

    Raises:
        StoreError: there is no such space.
        SettingsError: the method is not installed, or there are too few items for it.
    """
    snapshot.store.space(space)
    if method not in methods():
        raise SettingsError(
            "maps by UMAP need the package umap-learn: install the extra 'map', or take method=pca"
        )
    if method == "umap" and len(snapshot.catalogue) < LEAST_OF_UMAP:
        raise SettingsError(f"UMAP places {LEAST_OF_UMAP} items or more: take method=pca")
    make = pca_map if method == "pca" else umap_map
    return snapshot.works.once(
        ("map", space, method), lambda report: make(snapshot.sides.queries, space, report)
    )


def pca_map(items: StoreRows, space: str, report: Report) -> StoreMap:
    """All items along the two directions in which the space varies most.

    Vectors are taken as their scores see them: at unit length, bits as ±1. The directions are those
    of a sample of `MOST_SAMPLED` items at most; each points to where its largest component is
    positive, so that a map is the same each time.

    Source: scikit-learn's PCA; with more than `MOST_EXACT` components by Halko, Martinsson and
    Tropp, Finding Structure with Randomness (2011).
    """
    from sklearn.decomposition import PCA

    vectors = SpaceVectors(items, space)
    report(0.0)
    sample = vectors.at(sampled(len(items), vectors.most_held))
    num_axes = min(2, *sample.shape)
    if num_axes < 2 or not _varies(sample):
        return StoreMap(items.rows, np.zeros((len(items), 2), np.float32), (0.0, 0.0))
    solver = _solver(sample)
    if solver == "full" and not isinstance(sample, np.ndarray):
        sample = sample.toarray()
    axes = PCA(num_axes, svd_solver=solver, random_state=SEED).fit(sample)
    largest = np.abs(axes.components_).argmax(axis=1)
    signs = np.sign(axes.components_[np.arange(num_axes), largest])
    points = np.empty((len(items), 2), np.float32)
    for start, block in vectors.blocks():
        report(start / len(items))
        points[start : start + block.shape[0]] = signs * axes.transform(block)
    first, second = axes.explained_variance_ratio_.tolist()
    return StoreMap(items.rows, points, (first, second))


def umap_map(items: StoreRows, space: str, report: Report) -> StoreMap:
    """`MOST_SAMPLED` items at most, near one another where they are neighbours by their scores.

    Neighbours are searched exactly: that is quicker than UMAP's own search, which has to be
    compiled first, and can be given up at any block. What comes then is up to half a minute.

    Source: McInnes, Healy and Melville, UMAP (2018), arXiv:1802.03426, by umap-learn.
    """
    report(0.0)
    warnings.filterwarnings("ignore", module="umap")  # of what nobody asks for here
    from umap import UMAP

    vectors = SpaceVectors(items, space)
    chosen = sampled(len(items), vectors.most_held)
    num_neighbours = min(NEIGHBOURS_OF_UMAP, len(chosen) - 1)
    umap = UMAP(
        n_neighbors=num_neighbours,
        metric="cosine",
        init="random" if len(chosen) < 2 * NEIGHBOURS_OF_UMAP else "spectral",
        random_state=SEED,
        n_jobs=1,  # what a seed makes of it anyway
        precomputed_knn=_nearest(items, space, chosen, num_neighbours, report),
    )
    given = vectors.at(chosen)
    if not isinstance(given, np.ndarray):
        given = scipy.sparse.csr_matrix(given)  # UMAP takes no other for sparse
    points = np.asarray(umap.fit_transform(given), np.float32)
    report(1.0)
    return StoreMap(items.rows[chosen], points - points.mean(axis=0), None)


def _nearest(
    items: StoreRows, space: str, chosen: Int[np.ndarray, " m"], k: int, report: Report
) -> tuple[Int[np.ndarray, "m k"] | None, Float32[np.ndarray, "m k"] | None]:
    """The k nearest of each, itself first, as positions and distances.

    None for sparse spaces, where an item may share nothing with any other: UMAP then searches.
    """
    if items.store.space(space).kind == "sparse":
        return None, None
    rows, scores = [], []
    sides = self_join(items.store, items.rows[chosen])
    for start, found in iterate_neighbours(sides, space, k, device="cpu"):
        report(NEIGHBOURS_SHARE * start / len(chosen))
        rows.append(found.rows)
        scores.append(found.scores)
    report(NEIGHBOURS_SHARE)
    distances = np.maximum(1 - np.concatenate(scores), 0).astype(np.float32)
    distances[:, 0] = 0  # a vector of zeros scores 0 with itself
    return np.concatenate(rows), distances


def sampled(num_items: int, most: int) -> Int[np.ndarray, " m"]:
    """Positions of as many items as there may be, ascending; the same each time."""
    if num_items <= most:
        return np.arange(num_items)
    return np.sort(np.random.default_rng(SEED).choice(num_items, most, replace=False))


class SpaceVectors:
    """The vectors of items in a space, of unit length: sparse where the space is."""

    def __init__(self, items: StoreRows, space: str) -> None:
        self._items = items
        self._space = space
        self._info = items.store.space(space)
        if self._info.kind == "sparse":
            self._sparse = unit_sparse(items, space)

    @property
    def most_held(self) -> int:
        """How many may be held at once."""
        if self._info.kind == "sparse":
            return MOST_SAMPLED
        return max(2, min(MOST_SAMPLED, SAMPLE_BYTES // (4 * self._info.dim)))

    def at(self, positions: Int[np.ndarray, " m"]) -> Vectors:
        """Those at ascending positions."""
        if self._info.kind == "sparse":
            return scipy.sparse.csr_array(self._sparse.at(positions))
        some = StoreRows(self._items.store, self._items.rows[positions])
        if self._info.kind == "binary":
            codes = some.store.array(self._space)[some.rows]
            bits = np.unpackbits(codes, axis=1)[:, : self._info.dim]
            return (1 - 2 * bits.astype(np.float32)) / np.float32(np.sqrt(self._info.dim))
        return unit_dense(some, self._space).between(0, len(some))

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """All of them, in blocks, each with the position of its first."""
        for start in range(0, len(self._items), self.most_held):
            stop = min(start + self.most_held, len(self._items))
            yield start, self.at(np.arange(start, stop))


def _solver(sample: Vectors) -> str:
    """How directions are found: exactly, but where both items and components are many."""
    if scipy.sparse.issparse(sample):
        return "full" if min(sample.shape) <= LEAST_OF_ARPACK else "arpack"
    if len(sample) <= FEW_ITEMS:
        return "full"
    return "covariance_eigh" if sample.shape[1] <= MOST_EXACT else "randomized"


def _varies(sample: Vectors) -> bool:
    """False where all vectors are the same, so that no direction is better than any other."""
    if scipy.sparse.issparse(sample):
        return bool(abs(sample - sample[[0] * sample.shape[0]]).sum() > 0)
    return bool((sample != sample[0]).any())
