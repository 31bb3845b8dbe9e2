"""Vectors that somebody else made, in .npy and .npz files: opened without trust, read in blocks."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int, Shaped

from embed.errors import SourceError
from embed.exchange.foreign_files import open_array, open_sparse
from embed.exchange.record import UNIT_TOLERANCE, array_hash, block_starts, row_lengths, sparse_hash
from embed.store import SpaceInfo, SpaceKind, SparseParts, StoreWriter

STORED_DTYPES = {"float16": np.float16, "float32": np.float32, "float64": np.float32}


@dataclass(frozen=True)
class Survey:
    """What a look at every vector says: the rows of zeros, and whether all others have length 1."""

    zero_rows: Int[np.ndarray, " z"]
    is_unit: bool


@dataclass(frozen=True)
class Layout:
    """How vectors go into a store: for each row of it the row of the file, and whether scaled."""

    order: Int[np.ndarray, " n"]
    scaled: bool = False


Fitted = Mapping[str, Shaped[np.ndarray, " _"]]
"""What the encoder of a sparse space learnt from the catalogue, by name."""


class ForeignVectors(ABC):
    """The vectors of one space, as files hold them."""

    path: Path
    kind: SpaceKind
    dim: int
    precision: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def tidy(self) -> None:
        """Put the components in order, where an exported store did not fix theirs."""

    @abstractmethod
    def survey(self, ids: Sequence[str]) -> Survey:
        """Look at every vector; `ids` name the rows of the file.

        Raises:
            SourceError: a vector holds NaN or infinity; the message names its row and id.
        """

    @abstractmethod
    def hash(self, layout: Layout) -> str:
        """A hash of the vectors as they are stored."""

    @abstractmethod
    def write(
        self, writer: StoreWriter, name: str, info: SpaceInfo, layout: Layout, fitted: Fitted
    ) -> None:
        """Write the space; only a sparse one has something fitted."""


class ArrayVectors(ForeignVectors):
    """A dense or binary space in one .npy file, or in several with rows in turn."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.path = paths[0]
        self._shards = [open_array(path) for path in paths]
        self.shard_lengths = [len(shard) for shard in self._shards]
        self._starts = np.cumsum([0, *self.shard_lengths])
        first = self._shards[0]
        for path, shard in zip(paths, self._shards, strict=True):
            if (shard.dtype, shard.shape[1]) != (first.dtype, first.shape[1]):
                raise SourceError(
                    f"{path} holds {shard.dtype} with {shard.shape[1]} columns, {paths[0]} "
                    f"{first.dtype} with {first.shape[1]}: the files of a space must be alike"
                )
        is_binary = first.dtype == np.uint8
        self.kind = "binary" if is_binary else "dense"
        self.dim = first.shape[1] * 8 if is_binary else first.shape[1]
        self._dtype: np.dtype[Any] = np.dtype(
            np.uint8 if is_binary else STORED_DTYPES[first.dtype.name]
        )
        precisions = {"uint8": "binary", "float16": "fp16", "float32": "fp32"}
        self.precision = precisions[self._dtype.name]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def tidy(self) -> None:
        """Nothing to do: every component has its place."""

    def survey(self, ids: Sequence[str]) -> Survey:
        """Look at every vector. The codes of a binary space need no length."""
        if self.kind == "binary":
            return Survey(np.zeros(0, np.int64), True)
        zero_rows, is_unit = [], True
        for rows, block in self._blocks(np.arange(len(self))):
            finite = np.isfinite(block).all(axis=1)
            _refuse_non_finite(finite, rows.start, self.path, ids)
            is_zero = ~block.any(axis=1)
            zero_rows.append(rows.start + np.flatnonzero(is_zero))
            is_unit &= has_unit_length(block[~is_zero])
        return Survey(np.concatenate(zero_rows), is_unit)

    def hash(self, layout: Layout) -> str:
        """A hash of dtype, shape and rows."""
        shape = (len(layout.order), self._shards[0].shape[1])
        return array_hash(self._dtype, shape, (block for _, block in self._stored(layout)))

    def write(
        self, writer: StoreWriter, name: str, info: SpaceInfo, layout: Layout, fitted: Fitted
    ) -> None:
        """Write the space block by block."""
        shape = (len(layout.order), self._shards[0].shape[1])
        dataset = writer.create_array(name, info, shape, self._dtype)
        for rows, block in self._stored(layout):
            dataset[rows] = block

    def _stored(self, layout: Layout) -> Iterator[tuple[slice, Shaped[np.ndarray, "b d"]]]:
        for rows, block in self._blocks(layout.order):
            stored = _unit_rows(block) if layout.scaled else block
            yield rows, stored.astype(self._dtype, copy=False)

    def _blocks(
        self, order: Int[np.ndarray, " n"]
    ) -> Iterator[tuple[slice, Shaped[np.ndarray, "b d"]]]:
        row_bytes = self._shards[0].shape[1] * 8
        return ((rows, self._gathered(order[rows])) for rows in block_starts(len(order), row_bytes))

    def _gathered(self, rows: Int[np.ndarray, " b"]) -> Shaped[np.ndarray, "b d"]:
        """These rows, from whichever files they are in."""
        first = self._shards[0]
        gathered = np.empty((len(rows), first.shape[1]), first.dtype)
        holders = np.searchsorted(self._starts, rows, "right") - 1
        for holder in np.unique(holders):
            at = np.flatnonzero(holders == holder)
            gathered[at] = self._shards[holder][rows[at] - self._starts[holder]]
        return gathered


class SparseVectors(ForeignVectors):
    """A sparse space in an .npz file of scipy.sparse.save_npz; it is held in memory whole."""

    kind = "sparse"
    precision = "fp32"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._matrix = open_sparse(path)
        self.dim = self._matrix.shape[1]

    def __len__(self) -> int:
        return int(self._matrix.shape[0])

    def tidy(self) -> None:
        """Add up components that stand twice, and sort each row's."""
        self._matrix.sum_duplicates()

    def survey(self, ids: Sequence[str]) -> Survey:
        """Look at every vector."""
        lengths = _sparse_lengths(self._matrix)
        _refuse_non_finite(np.isfinite(lengths), 0, self.path, ids)
        others = lengths[lengths > 0]
        is_unit = bool((np.abs(others - 1) <= UNIT_TOLERANCE["float32"]).all())
        return Survey(np.flatnonzero(lengths == 0), is_unit)

    def hash(self, layout: Layout) -> str:
        """A hash of shape and components."""
        matrix = self._stored(layout)
        return sparse_hash(SparseParts(matrix.data, matrix.indices, matrix.indptr, matrix.shape))

    def write(
        self, writer: StoreWriter, name: str, info: SpaceInfo, layout: Layout, fitted: Fitted
    ) -> None:
        """Write the space, and what its encoder learnt from the catalogue."""
        writer.write_sparse(name, info, self._stored(layout), fitted)

    def _stored(self, layout: Layout) -> scipy.sparse.csr_array:
        matrix = self._matrix
        if layout.scaled:
            lengths = _sparse_lengths(matrix)
            factors = np.repeat(1 / np.where(lengths > 0, lengths, 1), np.diff(matrix.indptr))
            parts = (matrix.data * factors, matrix.indices, matrix.indptr)
            matrix = scipy.sparse.csr_array(parts, shape=matrix.shape)
        if matrix.dtype != np.float32:
            matrix = matrix.astype(np.float32)
        if np.array_equal(layout.order, np.arange(len(self))):
            return matrix
        return matrix[layout.order]


def open_vectors(path: Path) -> ForeignVectors:
    """The vectors in a file: .npy of floats is dense and of uint8 binary, .npz is sparse.

    Raises:
        SourceError: there is no such file, or it holds something else.
    """
    if path.suffix.lower() not in (".npy", ".npz"):
        raise SourceError(f"{path}: vectors come in .npy files, sparse ones in .npz")
    if not path.is_file():
        raise SourceError(f"no vectors at {path}: give an .npy or .npz file")
    return SparseVectors(path) if path.suffix.lower() == ".npz" else ArrayVectors([path])


def has_unit_length(vectors: Float[np.ndarray, "b d"]) -> bool:
    """Whether every row has length 1, as exactly as its dtype keeps a vector that was scaled."""
    tolerance = UNIT_TOLERANCE.get(vectors.dtype.name, UNIT_TOLERANCE["float32"])
    return bool((np.abs(row_lengths(vectors) - 1) <= tolerance).all())


def _refuse_non_finite(
    finite: Bool[np.ndarray, " b"], start: int, path: Path, ids: Sequence[str]
) -> None:
    if not finite.all():
        row = start + int(np.flatnonzero(~finite)[0])
        raise SourceError(
            f"{path}: the vector in row {row} (counted from 0), of item '{ids[row]}', should be "
            f"finite and holds NaN or infinity: mend it, or leave that item out"
        )


def _unit_rows(block: Float[np.ndarray, "b d"]) -> Float[np.ndarray, "b d"]:
    """The rows scaled to length 1 (float64); zeros stay."""
    wide = block.astype(np.float64)
    peaks = np.abs(wide).max(axis=1, keepdims=True)  # first, so that no square over- or underflows
    wide /= np.where(peaks > 0, peaks, 1)
    lengths = row_lengths(wide)[:, None]
    return np.asarray(wide / np.where(lengths > 0, lengths, 1))


def _sparse_lengths(matrix: scipy.sparse.csr_array) -> Float[np.ndarray, " n"]:
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    squares = matrix.data.astype(np.float64) ** 2
    return np.sqrt(np.bincount(rows, squares, minlength=matrix.shape[0]))
