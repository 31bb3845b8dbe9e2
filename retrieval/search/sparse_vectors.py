"""The vectors of a sparse space at unit length, as a search reads them, and their scores."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float32, Float64, Int

from embed.store import SparseParts
from retrieval.search.exact import rounding
from retrieval.search.mapped import PAGE_BYTES, MappedFile

PIECE_COMPONENTS = 2**14
"""Components that are read and normalised at once: few enough to stay in the cache."""

COMPONENTS_TOGETHER = 2**18
"""Components of either side of pairs that are scored at once: some 10 MiB."""

COUNTED_ROWS = 2**16
"""Rows whose components are counted at once."""

# Bytes, counted high: of a component while it is read, and while a pair with it is scored.
READ_BYTES, SCORED_BYTES = 64, 48


class UnitSparse:
    """The selected rows of a sparse space, L2-normalised as they are read; nothing is kept.

    Components are in ascending order, with 32-bit indices, float32. They are normalised in float64;
    a row without components, or of zeros, stays as it is.
    """

    def __init__(
        self, parts: SparseParts | scipy.sparse.csr_array, rows: Int[np.ndarray, " m"]
    ) -> None:
        self._data, self._indices, self._indptr = parts.data, parts.indices, parts.indptr
        self._rows = rows
        self._file = MappedFile(self._data)
        self.dim = int(parts.shape[1])
        self.num_components = self.longest = 0
        for _, counts in self._counts_between(0, len(rows)):
            self.num_components += int(counts.sum())
            self.longest = max(self.longest, int(counts.max()))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_bytes(self) -> int:
        """What all of them take where they are held."""
        return 8 * self.num_components + 4 * (len(self) + 1)

    @property
    def reading_bytes(self) -> int:
        """What reading any of them takes besides."""
        return READ_BYTES * min(self.num_components, max(self.longest, PIECE_COMPONENTS))

    def norms(self) -> Float64[np.ndarray, " m"]:
        """Those of the rows as stored: where one is not finite nothing should be searched."""
        norms = np.empty(len(self))
        for first, last in self.runs(0, len(self), lambda counts: 1 + counts, PIECE_COMPONENTS):
            norms[first:last] = _norms(self._read(np.arange(first, last)))
        return norms

    def between(self, start: int, stop: int) -> scipy.sparse.csr_matrix:
        """The unit vectors of these positions, one a row; in memory."""
        return self.at(np.arange(start, min(stop, len(self))))

    def at(self, positions: Int[np.ndarray, " b"]) -> scipy.sparse.csr_matrix:
        """The unit vectors at some positions, one a row; in memory."""
        ends = np.cumsum(self._counts(positions))
        data = np.empty(ends[-1] if len(ends) else 0, np.float32)
        indices, indptr = np.empty(len(data), np.int32), np.zeros(len(positions) + 1, np.int32)
        filled = 0
        for first, last in _pieces(ends):
            piece = self._read(positions[first:last])
            stop = filled + piece.nnz
            data[filled:stop], indices[filled:stop] = _normalised(piece), piece.indices
            indptr[first + 1 : last + 1] = filled + piece.indptr[1:]
            filled = stop
        shape = (len(positions), self.dim)
        return scipy.sparse.csr_matrix((data[:filled], indices[:filled], indptr), shape=shape)

    def runs(
        self,
        start: int,
        stop: int,
        size_of: Callable[[Int[np.ndarray, " c"]], Int[np.ndarray, " c"]],
        most: int,
    ) -> Iterator[tuple[int, int]]:
        """Runs of positions, each as long as its size allows: one row at the least.

        `size_of` says the sizes of rows from how many components they have.
        """
        first = start
        before = total = 0  # the sizes of all rows up to `first`, and up to those that are counted
        for at, counts in self._counts_between(start, stop):
            up_to_here, ends = total, total + np.cumsum(size_of(counts))
            total = int(ends[-1])
            while total - before > most:
                fits = at + int(np.searchsorted(ends, before + most, "right"))
                last = max(first + 1, fits)
                yield first, last
                first, before = last, int(ends[last - at - 1]) if last > at else up_to_here
        if first < stop:
            yield first, stop

    def _counts_between(self, start: int, stop: int) -> Iterator[tuple[int, Int[np.ndarray, " c"]]]:
        for at in range(start, stop, COUNTED_ROWS):
            yield at, self._counts(np.arange(at, min(at + COUNTED_ROWS, stop)))

    def _counts(self, positions: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
        """How many components rows have."""
        rows = self._rows[positions]
        counts: Int[np.ndarray, " b"] = self._indptr[rows + 1].astype(np.int64)
        counts -= self._indptr[rows]
        self._file.count(counts.nbytes)
        return counts

    def _read(self, positions: Int[np.ndarray, " b"]) -> scipy.sparse.csr_matrix:
        """Rows as stored, with components in ascending order."""
        counts = self._counts(positions)
        ends = np.cumsum(counts)
        starts = self._indptr[self._rows[positions]].astype(np.int64)
        first, total = int(starts[0]), int(ends[-1])
        shifts = starts - (ends - counts)  # from where a component goes to where it is stored
        is_run = bool((shifts == first).all())
        places: Any = slice(first, first + total)
        if not is_run:
            places = np.repeat(shifts, counts) + np.arange(total)
        self._file.count(8 * total if is_run else 2 * PAGE_BYTES * len(starts))
        data = self._data[places].astype(np.float32)
        indices = self._indices[places].astype(np.int32)
        indptr = np.concatenate([[0], ends]).astype(np.int32)
        piece = scipy.sparse.csr_matrix((data, indices, indptr), shape=(len(starts), self.dim))
        piece.sum_duplicates()
        return piece


def sparse_scores_of_pairs(
    queries: scipy.sparse.csr_matrix,
    gallery: scipy.sparse.csr_matrix,
    query_rows: Int[np.ndarray, " p"],
    gallery_rows: Int[np.ndarray, " p"],
    components_together: int = COMPONENTS_TOGETHER,
) -> Float32[np.ndarray, " p"]:
    """Inner products of unit vectors pair by pair, each added up in the order of the components.

    So they are equal for equal vectors, and the same both ways round. Rounding may leave the
    product of a unit vector with itself a little off 1: it counts as 1.
    """
    longest = max(1, _longest(queries), _longest(gallery))
    ones = np.ones(queries.shape[1], np.float32)
    scores = np.empty(len(query_rows), np.float32)
    step = max(1, components_together // longest)
    for start in range(0, len(scores), step):
        part = slice(start, start + step)
        first, second = queries[query_rows[part]], gallery[gallery_rows[part]]
        found = first.multiply(second).tocsr() @ ones
        near = np.flatnonzero(found >= 1 - rounding(longest))
        differ = (first[near] != second[near]).sum(axis=1)
        found[near[np.asarray(differ).reshape(-1) == 0]] = 1
        scores[part] = np.clip(found, -1, 1)
    return scores


def _longest(matrix: scipy.sparse.csr_matrix) -> int:
    return int(np.diff(matrix.indptr).max(initial=0))


def _pieces(ends: Int[np.ndarray, " b"]) -> Iterator[tuple[int, int]]:
    """Runs of rows with `PIECE_COMPONENTS` in all, or a row that has more; `ends` adds them up."""
    first = 0
    while first < len(ends):
        before = int(ends[first - 1]) if first else 0
        fits = int(np.searchsorted(ends, before + PIECE_COMPONENTS, "right"))
        yield first, max(first + 1, fits)
        first = max(first + 1, fits)


def _normalised(matrix: scipy.sparse.csr_matrix) -> Float32[np.ndarray, " e"]:
    """The components of rows at unit length."""
    norms = _norms(matrix)
    factors = np.zeros_like(norms)
    np.divide(1, norms, where=norms > 0, out=factors)
    data: Float32[np.ndarray, " e"] = matrix.data
    return np.asarray(data * np.repeat(factors, np.diff(matrix.indptr)), np.float32)


def _norms(matrix: scipy.sparse.csr_matrix) -> Float64[np.ndarray, " m"]:
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    squares = matrix.data.astype(np.float64) ** 2
    return np.sqrt(np.bincount(rows, squares, minlength=matrix.shape[0]))
