import mmap
from pathlib import Path

import numpy as np
import pytest

from embed.store import Store
from retrieval.search.binary import Codes
from retrieval.search.sparse_vectors import UnitSparse
from retrieval.search.vectors import UnitVectors
from tests.retrieval.retrieval_stores import binary_info, dense_info, sparse_info, write_store


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_vectors_are_of_unit_length_and_zeros_stay(dtype: type[np.generic]) -> None:
    stored = np.random.default_rng(0).standard_normal((700, 5)).astype(dtype)
    stored[300] = 0
    rows = np.arange(0, 700, 2)
    units = UnitVectors(stored, rows)
    plain = stored[rows].astype(np.float64)
    lengths = np.linalg.norm(plain, axis=1)
    np.testing.assert_allclose(units.norms, lengths)
    lengths[150] = 1
    np.testing.assert_allclose(units.between(0, 350), plain / lengths[:, None], atol=1e-7)
    np.testing.assert_array_equal(units.between(20, 30), units.between(0, 350)[20:30])
    assert units.between(340, 999).shape == (10, 5)
    some = np.array([3, 4, 17, 340])
    np.testing.assert_array_equal(units.at(some), units.between(0, 350)[some])
    assert (len(units), units.dim) == (350, 5)


def resident_bytes(path: Path) -> int:
    """How much of a mapped file this process has in memory, of Linux's own account."""
    lines = Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines()
    sizes, is_file = [], False
    for line in lines:
        if "-" in line.split()[0]:
            is_file = line.endswith(str(path))
        elif is_file and line.startswith("Rss:"):
            sizes.append(int(line.split()[1]) * 1024)
    return sum(sizes)


@pytest.mark.skipif(
    not (Path("/proc/self/smaps").exists() and hasattr(mmap, "MADV_DONTNEED")),
    reason="needs Linux's account of memory",
)
@pytest.mark.parametrize("kind", ["dense", "sparse", "binary"])
def test_pages_of_a_mapped_store_are_handed_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("retrieval.search.mapped.RELEASE_BYTES", 2**20)
    ones = np.ones((20_000, 512 if kind == "binary" else 128), np.float32)  # 10 MB
    spaces = {
        "dense": (dense_info(128), ones),
        "sparse": (sparse_info(128), ones[:, :64]),
        "binary": (binary_info(4096), ones.astype(np.uint8)),
    }
    path = write_store(tmp_path / "a.h5", {"space": spaces[kind]})
    with Store(path) as store:
        rows = np.arange(20_000)
        units: UnitVectors | UnitSparse | Codes
        if kind == "sparse":
            parts = store.sparse_parts("space")
            mapped, units = parts.indices, UnitSparse(parts, rows)
        else:
            mapped = store.array("space")
            units = UnitVectors(mapped, rows) if kind == "dense" else Codes(mapped, rows)
        assert float(mapped.sum()) > 0
        assert resident_bytes(path) > 4.5e6
        for start in range(0, 20_000, 1000):
            assert units.between(start, start + 1000).shape[0] == 1000
        assert resident_bytes(path) < 4e6
