"""Exact searches against the bare work of other libraries, for benchmarks/retrieval.py."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
import scipy.sparse
from jaxtyping import Float32
from sklearn.feature_extraction.text import TfidfVectorizer

from embed.store import SpaceInfo, Store, StoreWriter
from retrieval.search.dense import DenseSearch, UnitVectors
from retrieval.search.neighbours import Neighbours, find_neighbours, neighbours_of_vectors
from retrieval.search.plans import Join, plan_in_float32
from retrieval.search.ranking import joined, self_first
from retrieval.search.sides import self_join

K = 50
ROUNDS = 3
WORDS = 25_000


def dense_results(folder: Path, *, quick: bool) -> dict[str, Any]:
    """A self-join of 34,250 × 384 float32, k = 50, over `faiss.knn` of the same unit vectors.

    Twice: in the way that is chosen for this machine, and in float32 alone. Both results must be
    the same to the bit, and those of FAISS but for rounding.
    """
    vectors = unit_vectors(12_000 if quick else 34_250, 384)
    ways: dict[str, Callable[[], Any]] = {
        "chosen": lambda: neighbours_of_vectors(vectors, K),
        "float32": lambda: join_in_float32(vectors),
        "faiss": lambda: faiss.knn(vectors, vectors, K, faiss.METRIC_INNER_PRODUCT),
    }
    found = {name: way() for name, way in ways.items()}
    _assert_same(found["chosen"], found["float32"], found["faiss"][0])
    seconds = interleaved(ways)
    return {
        "join_rows": len(vectors),
        "join_seconds": seconds["chosen"],
        "join_seconds_float32": seconds["float32"],
        "faiss_flat_seconds": seconds["faiss"],
        "join_over_faiss_flat": seconds["chosen"] / seconds["faiss"],
        "join_over_faiss_flat_float32": seconds["float32"] / seconds["faiss"],
    }


def title_results(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Neighbours of titles by TF-IDF, from a store; titles are drawn by Zipf's law."""
    matrix = TfidfVectorizer().fit_transform(draw_titles(4_000 if quick else 34_250))
    path = folder / "titles.h5"
    write_sparse_store(path, scipy.sparse.csr_array(matrix))
    with Store(path) as store:
        sides = self_join(store, np.arange(len(store)))
        ways = {"titles": lambda: find_neighbours(sides, "tfidf", K)}
        found = ways["titles"]()
        dense = matrix[:50] @ matrix.T
        best = -np.sort(-dense.toarray(), axis=1)[:, : K - 1]
        scores = np.where(found.scores[:50, 1:] > 0, found.scores[:50, 1:], 0)
        np.testing.assert_allclose(scores[:, :1], best[:, 1:2], atol=1e-5)
        seconds = interleaved(ways)
    return {
        "titles": matrix.shape[0],
        "title_words": matrix.shape[1],
        "title_seconds": seconds["titles"],
    }


def unit_vectors(num_rows: int, dim: int) -> Float32[np.ndarray, "n d"]:
    """Vectors around one another in groups of a few, as products look like one another."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((num_rows // 5 + 1, dim), np.float32)
    noise = generator.standard_normal((num_rows, dim), np.float32)
    vectors = centres[generator.integers(0, len(centres), num_rows)] + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors, np.float32)


def join_in_float32(vectors: Float32[np.ndarray, "n d"]) -> Neighbours:
    """`neighbours_of_vectors` as on a machine that does not multiply bf16."""
    units = UnitVectors(vectors, np.arange(len(vectors)))
    plan = plan_in_float32(Join(len(units), len(units), units.dim, K))
    search = DenseSearch(units, units, K, plan)
    blocks = []
    for start in range(0, len(units), plan.query_rows):
        own = np.arange(start, min(start + plan.query_rows, len(units)))
        blocks.append(self_first(search(start, start + len(own)), own, K))
    return joined(blocks)


def draw_titles(count: int) -> list[str]:
    """Titles of 4 to 15 words from a vocabulary in which few are common."""
    generator = np.random.default_rng(0)
    shares = 1 / np.arange(1, WORDS + 1) ** 0.9
    lengths = generator.integers(4, 16, count)
    drawn = generator.choice(WORDS, lengths.sum(), p=shares / shares.sum())
    words = np.array([f"word{number}" for number in range(WORDS)])[drawn]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    return [" ".join(words[a:b]) for a, b in zip(starts, ends, strict=True)]


def write_sparse_store(path: Path, matrix: scipy.sparse.csr_array) -> None:
    info = SpaceInfo("sparse", "text", "tfidf", "d" * 32, "fp32", True, matrix.shape[1])
    with StoreWriter(path, "", {}) as writer:
        ids = np.array([f"{row}" for row in range(matrix.shape[0])], object)
        writer.write_items(ids, {}, {"text": np.zeros((len(ids), 16), np.uint8)})
        writer.write_sparse("tfidf", info, matrix.astype(np.float32), {})


def interleaved(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each, one after another in turn: what else runs here hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    return {name: median(times) for name, times in seconds.items()}


def _assert_same(
    chosen: Neighbours, float32: Neighbours, of_faiss: Float32[np.ndarray, "q k"]
) -> None:
    np.testing.assert_array_equal(chosen.rows, float32.rows)
    np.testing.assert_array_equal(chosen.scores, float32.scores)
    np.testing.assert_allclose(chosen.scores[:, 1:], of_faiss[:, 1:], atol=1e-6)
