"""Tiny real stores for the tests of retrieval, and vectors whose scores a float holds exactly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import scipy.sparse
from jaxtyping import Float, Int, Shaped

from embed.store import SpaceInfo, StoreWriter

# On a busy machine, threads wait far longer for one another than a tiny search takes.
faiss.omp_set_num_threads(1)


def dense_info(dim: int, fingerprint: str = "dense-1") -> SpaceInfo:
    return SpaceInfo("dense", "image", "test", fingerprint, "fp32", False, dim)


def sparse_info(dim: int) -> SpaceInfo:
    return SpaceInfo("sparse", "text", "test", "sparse-1", "fp32", False, dim)


def binary_info(bits: int) -> SpaceInfo:
    return SpaceInfo("binary", "image", "test", "binary-1", "binary", False, bits)


def write_store(
    path: Path,
    spaces: Mapping[str, tuple[SpaceInfo, Any]],
    columns: Mapping[str, Any] | None = None,
    ids: Shaped[np.ndarray, " n"] | None = None,
    seen: Mapping[str, Any] | None = None,
) -> Path:
    """A store with these spaces; ids are r0, r1, … where none are given."""
    num_rows = next(iter(spaces.values()))[1].shape[0]
    names = np.array([f"r{row}" for row in range(num_rows)], object) if ids is None else ids
    arrays = {name: np.asarray(values) for name, values in (columns or {}).items()}
    with StoreWriter(path, "test", {}) as writer:
        writer.write_items(names, arrays, {"image": np.zeros((num_rows, 16), np.uint8)})
        for name, (info, vectors) in spaces.items():
            if info.kind == "sparse":
                writer.write_sparse(name, info, scipy.sparse.csr_array(vectors), {})
            else:
                writer.write_array(name, info, vectors)
        for name, rows in (seen or {}).items():
            writer.write_seen(name, np.asarray(rows, bool))
    return path


def exact_vectors(
    num_rows: int, seed: int, *, signed: bool = True, zeros: bool = False
) -> Float[np.ndarray, "n 16"]:
    """Vectors of 0 and ±1 with 1, 4 or 16 components, or none: every score is a multiple of 1/16.

    So a float32 sum is exact in any order, equal scores are equal bits, and ties are everywhere.
    Vectors of none are what no dense space of a store may hold.
    """
    generator = np.random.default_rng(seed)
    vectors = np.zeros((num_rows, 16), np.float32)
    for vector in vectors:
        size = max(generator.choice([0, 1, 4, 16], p=[0.05, 0.25, 0.6, 0.1]), 0 if zeros else 1)
        places = generator.choice(16, size, replace=False)
        vector[places] = generator.choice([-1, 1], size) if signed else 1
    return vectors


def clustered(
    num_groups: int, group_size: int, *, spread: float, seed: int = 0, dim: int = 16
) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
    """Vectors around the centre of their group, and the group of each."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_groups), group_size)
    noise = generator.standard_normal((len(labels), dim))
    vectors = generator.standard_normal((num_groups, dim))[labels] + spread * noise
    return vectors.astype(np.float32), labels
