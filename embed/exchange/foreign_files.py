"""Files of numbers that somebody else wrote, opened without trust: .npy and .npz."""

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
import scipy.sparse
from jaxtyping import Shaped

from embed.errors import SourceError

FLOATS = ("float16", "float32", "float64")
UNREADABLE = (
    *(ValueError, OSError, EOFError, KeyError, TypeError, SyntaxError, OverflowError),
    *(MemoryError, RuntimeError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What numpy and scipy raise for files that are damaged, or claim to be larger than they are."""


def map_npy(path: Path) -> Shaped[np.ndarray, "..."]:
    """The array of an .npy file, mapped; pickled objects are never read.

    Raises:
        SourceError: it is no such file, is cut short, or holds Python objects.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except UNREADABLE as error:
        raise SourceError(
            f"{path} can't be read as an .npy file of numbers: {_reason(error)}; it is damaged, "
            f"cut short or holds Python objects: save it again with numpy.save(FILE, array)"
        ) from error


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def open_array(path: Path) -> Shaped[np.ndarray, "n d"]:
    """The rows of an .npy file, one for each item, mapped.

    Raises:
        SourceError: it holds no such rows.
    """
    values = map_npy(path)
    if values.dtype.name not in (*FLOATS, "uint8") or values.ndim != 2 or 0 in values.shape:
        raise SourceError(
            f"{path} should hold one row of float16, float32, float64 or, as packed bits, uint8 "
            f"for each item: found {values.dtype} of shape {values.shape}"
        )
    return values


def open_sparse(path: Path) -> scipy.sparse.csr_array:
    """The CSR matrix of an .npz file, its structure checked; it is read into memory.

    Raises:
        SourceError: it is no such file, or has no rows or columns.
    """
    try:
        matrix = scipy.sparse.load_npz(path)  # which never reads pickled objects
        if matrix.format != "csr" or matrix.dtype.kind not in "fiu":
            raise SourceError(
                f"{path} should hold a CSR matrix of numbers: found {matrix.format} of "
                f"{matrix.dtype}; save it with scipy.sparse.save_npz(FILE, matrix.tocsr())"
            )
        matrix.check_format(full_check=True)
        matrix = scipy.sparse.csr_array(matrix)
    except UNREADABLE as error:
        raise SourceError(
            f"{path} can't be read as a sparse matrix: {_reason(error)}; save it again with "
            f"scipy.sparse.save_npz(FILE, matrix)"
        ) from error
    if 0 in matrix.shape:
        raise SourceError(f"{path} should hold a row for each item: its shape is {matrix.shape}")
    return matrix
