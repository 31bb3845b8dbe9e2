"""Unit vectors of sparse spaces as they are read, against scipy's own."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from embed.store import SparseParts
from retrieval.search import sparse_vectors as module
from retrieval.search.sparse_vectors import UnitSparse, sparse_scores_of_pairs


def drawn(num_rows: int = 300, dim: int = 40) -> scipy.sparse.csr_array:
    """Rows of many lengths, some empty, one of zeros."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((num_rows, dim)).astype(np.float32)
    vectors[generator.random(vectors.shape) < generator.random((num_rows, 1))] = 0
    matrix = scipy.sparse.csr_array(vectors)
    matrix.data[matrix.indptr[5] : matrix.indptr[6]] = 0
    return matrix


@pytest.mark.parametrize("piece", [1, 17, 2**14])
def test_rows_are_of_unit_length_however_they_are_read(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE_COMPONENTS", piece)
    matrix = drawn()
    rows = np.arange(300)[np.arange(300) % 10 > 0]
    units = UnitSparse(matrix, rows)
    plain = matrix.toarray()[rows].astype(np.float64)
    lengths = np.linalg.norm(plain, axis=1)
    np.testing.assert_allclose(units.norms(), lengths)
    assert (lengths == 0).sum() >= 1
    expected = plain / np.where(lengths > 0, lengths, 1)[:, None]
    whole = units.between(0, 270)
    np.testing.assert_allclose(whole.toarray(), expected, atol=1e-7)
    for at in (np.array([3, 4, 100]), np.array([269, 0]), np.arange(9), np.arange(0)):
        np.testing.assert_array_equal(units.at(at).toarray(), whole.toarray()[at])
    assert units.between(260, 999).shape == (10, 40)
    assert (len(units), units.dim) == (270, 40)
    assert units.num_components == whole.nnz
    assert units.longest == int(np.diff(whole.indptr).max())
    assert units.num_bytes == whole.data.nbytes + whole.indices.nbytes + whole.indptr.nbytes


def test_components_are_sorted_and_those_that_are_there_twice_added_up() -> None:
    data, indices = np.array([3, 1, 1, 2, 5], np.float64), np.array([7, 2, 2, 0, 1], np.int64)
    parts = SparseParts(data, indices, np.array([0, 3, 3, 5], np.int64), (3, 8))
    found = UnitSparse(parts, np.arange(3)).between(0, 3)
    assert (found.dtype, found.indices.dtype) == (np.float32, np.int32)
    assert found.indices.tolist() == [2, 7, 0, 1]
    expected = np.array([2, 3]) / np.sqrt(13), np.array([2, 5]) / np.sqrt(29)
    np.testing.assert_allclose(found.data, np.concatenate(expected), rtol=1e-6)
    assert found.indptr.tolist() == [0, 2, 2, 4]


@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    most=st.integers(1, 40),
    counted=st.integers(1, 12),
)
def test_runs_are_as_long_as_they_fit(counts: list[int], most: int, counted: int) -> None:
    ends = np.concatenate([[0], np.cumsum(counts)])
    places = np.concatenate([np.arange(count) for count in counts])
    matrix = scipy.sparse.csr_array((np.ones(ends[-1]), places, ends), shape=(len(counts), 9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "COUNTED_ROWS", counted)
        units = UnitSparse(matrix, np.arange(len(counts)))
        runs = list(units.runs(0, len(counts), lambda found: 1 + found, most))
    sizes = 1 + np.array(counts)
    assert [first for first, _ in runs] == [0, *(last for _, last in runs[:-1])]
    assert runs[-1][1] == len(counts)
    assert all(sizes[first:last].sum() <= most or last == first + 1 for first, last in runs)
    assert all(sizes[first : last + 1].sum() > most for (first, last), _ in pairwise(runs))


def test_scores_do_not_depend_on_how_many_are_added_up_at_once() -> None:
    matrix = drawn()
    units = UnitSparse(matrix, np.arange(300)).between(0, 300)
    one, other = np.random.default_rng(0).integers(0, 300, (2, 500))
    other[:100] = one[:100]
    expected = sparse_scores_of_pairs(units, units, one, other)
    np.testing.assert_array_equal(sparse_scores_of_pairs(units, units, one, other, 64), expected)
    np.testing.assert_array_equal(sparse_scores_of_pairs(units, units, other, one), expected)
    has_length = np.asarray(units.multiply(units).sum(axis=1)).reshape(-1)[one[:100]] > 0
    np.testing.assert_array_equal(expected[:100], has_length.astype(np.float32))
