"""Indexes for approximate search: how FAISS's are built, and how hard they look.

They hold unit vectors under the inner product. An index only proposes rows of the gallery; what
proposals are worth is said by the exact scores of their pairs.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import faiss
import numpy as np
from jaxtyping import Float32, Int

from embed.errors import SettingsError
from retrieval.search.sides import StoreRows
from retrieval.search.unit_rows import unit_vectors

Method = Literal["hnsw", "ivf-flat", "ivf-pq", "sq8"]

LINKS = 32  # of each vector of an HNSW graph, as in its paper's and FAISS's own experiments
CONSTRUCTION_DEPTH = 100  # efConstruction
DEEPEST_GRAPH_SEARCH = 2048  # efSearch: beyond it an exact search is as quick
VECTORS_PER_CELL = 39  # what FAISS asks for to place the centre of a cell
TRAINING_VECTORS_PER_CELL = 256
CODES = 256  # of each part of a product quantiser: a byte
VECTORS_PER_CODE = 64  # a quarter of FAISS's own number, in a quarter of the time
PART_DIM = 4  # components that share a byte
ADD_BLOCK_ROWS = 2**16


@dataclass(frozen=True)
class Effort:
    """How hard an index looks.

    Attributes:
        depth: candidates that are kept in the walk through an HNSW graph (efSearch), or cells
            that are looked into (nprobe); an index without either has 1.
        oversampling: proposals for each neighbour that is wanted.
    """

    depth: int = 1
    oversampling: int = 1


@dataclass(frozen=True)
class EffortRange:
    """The efforts that an index can be searched with."""

    shallowest: int
    deepest: int
    oversamplings: tuple[int, ...]


def build_index(side: StoreRows, space: str, method: Method, seed: int) -> Any:
    """A FAISS index of one side's vectors in a dense space, the same for the same seed.

    An HNSW graph depends on the order in which vectors come in, so one thread builds it.

    Raises:
        StoreError: there is no such space, it is not dense, or a vector is not finite, or zero.
        SelectionError: the side is empty.
        SettingsError: too few rows for ivf-pq.
    """
    vectors = unit_vectors(side, space)
    num_rows, dim = len(side), side.store.space(space).dim
    index = _MAKERS[method](num_rows, dim, seed)
    if not index.is_trained:
        index.train(_padded(_sample(side, space, num_rows, index, seed), index.d))
    with _threads(1 if method == "hnsw" else faiss.omp_get_max_threads()):
        for start in range(0, num_rows, ADD_BLOCK_ROWS):
            block = vectors.between(start, min(start + ADD_BLOCK_ROWS, num_rows))
            index.add(_padded(block, index.d))
    return index


def propose(
    index: Any, queries: Float32[np.ndarray, "q d"], num_proposals: int, depth: int
) -> Int[np.ndarray, "q m"]:
    """The rows that an index takes for the nearest of each query; −1 where it found no more."""
    parameters = None
    # FAISS's stubs know neither of the two.
    if isinstance(index, faiss.IndexHNSW):
        parameters = faiss.SearchParametersHNSW(efSearch=depth)  # type: ignore[attr-defined]
    elif isinstance(index, faiss.IndexIVF):
        parameters = faiss.SearchParametersIVF(nprobe=depth)  # type: ignore[call-arg]
    padded = _padded(queries, index.d)
    rows: Int[np.ndarray, "q m"] = index.search(padded, num_proposals, params=parameters)[1]
    return rows


def effort_range(index: Any, num_neighbours: int) -> EffortRange:
    """The efforts between which one is chosen."""
    if isinstance(index, faiss.IndexHNSW):
        deepest = max(num_neighbours, min(index.ntotal, DEEPEST_GRAPH_SEARCH))
        return EffortRange(num_neighbours, deepest, (1,))
    if isinstance(index, faiss.IndexIVFPQ):
        return EffortRange(1, index.nlist, (2, 4, 8, 16, 32))
    if isinstance(index, faiss.IndexIVF):
        return EffortRange(1, index.nlist, (1,))
    return EffortRange(1, 1, (1, 2, 4, 8))


def build_parameters(index: Any) -> dict[str, int]:
    """What an index was built with, by the names of FAISS."""
    if isinstance(index, faiss.IndexHNSW):
        return {"M": LINKS, "efConstruction": index.hnsw.efConstruction}
    if isinstance(index, faiss.IndexIVFPQ):
        return {"nlist": index.nlist, "m": index.pq.M, "nbits": index.pq.nbits}
    return {"nlist": index.nlist} if isinstance(index, faiss.IndexIVF) else {}


def _graph(num_rows: int, dim: int, seed: int) -> Any:
    index: Any = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CONSTRUCTION_DEPTH
    index.hnsw.rng = faiss.RandomGenerator(seed)  # type: ignore[attr-defined]
    return index


def _cells(num_rows: int, dim: int, seed: int) -> Any:
    quantiser = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFFlat(quantiser, dim, _num_cells(num_rows), faiss.METRIC_INNER_PRODUCT)
    _settle(index.cp, seed)
    return index


def _coded_cells(num_rows: int, dim: int, seed: int) -> Any:
    if num_rows < CODES:
        raise SettingsError(
            f"ivf-pq learns {CODES} codes from the vectors and needs as many of them: found "
            f"{num_rows} rows: take --method hnsw"
        )
    num_parts = -(-dim // PART_DIM)
    quantiser = faiss.IndexFlatIP(num_parts * PART_DIM)
    num_cells, product = _num_cells(num_rows), faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFPQ(quantiser, num_parts * PART_DIM, num_cells, num_parts, 8, product)
    _settle(index.cp, seed)
    _settle(index.pq.cp, seed)
    index.pq.cp.max_points_per_centroid = VECTORS_PER_CODE
    return index


def _bytes(num_rows: int, dim: int, seed: int) -> Any:
    eight_bits = faiss.ScalarQuantizer.QT_8bit
    return faiss.IndexScalarQuantizer(dim, eight_bits, faiss.METRIC_INNER_PRODUCT)


_MAKERS = {"hnsw": _graph, "ivf-flat": _cells, "ivf-pq": _coded_cells, "sq8": _bytes}


def _num_cells(num_rows: int) -> int:
    return max(1, min(round(4 * math.sqrt(num_rows)), num_rows // VECTORS_PER_CELL))


def _settle(clustering: Any, seed: int) -> None:
    clustering.seed = seed
    clustering.min_points_per_centroid = 1  # FAISS would print a warning from C


def _sample(
    side: StoreRows, space: str, num_rows: int, index: Any, seed: int
) -> Float32[np.ndarray, "t d"]:
    """The vectors that an index learns from: all, or as many as it has use for."""
    num_codes = max(getattr(index, "nlist", 1), CODES)
    num_wanted = min(num_rows, num_codes * TRAINING_VECTORS_PER_CELL)
    chosen = np.sort(np.random.default_rng(seed).choice(num_rows, num_wanted, replace=False))
    sample = StoreRows(side.store, side.rows[chosen])
    return unit_vectors(sample, space).between(0, num_wanted)


def _padded(vectors: Float32[np.ndarray, "n d"], dim: int) -> Float32[np.ndarray, "n e"]:
    """With zeros up to `dim` components, which change no inner product."""
    missing = dim - vectors.shape[1]
    return np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(number)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
