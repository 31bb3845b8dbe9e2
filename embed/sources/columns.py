"""How the store keeps a column: as int64, float64 or text, decided over all of its rows."""

from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Shaped

INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
DECIMAL = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?$"
MAX_EXACT = 2**53  # integers above are not told apart as float64
_BEYOND_INT64 = frozenset(("UInt64", "Int128", "UInt128"))

Kind = Literal["int64", "float64", "object"]


class ColumnSurvey:
    """Sees the rows of a column block by block, and says how the store keeps it.

    Text becomes numbers only where equal numbers are equal texts, but for trailing zeros: '007' and
    '1e5' stay what they are, and so do integers that a missing one would make inexact. A missing
    number is NaN.
    """

    def __init__(self, example: pl.Series) -> None:
        dtype = example.dtype
        self._is_text = dtype == pl.String
        self._is_float = dtype.is_float()
        self._may_be_integer = self._is_text or (
            dtype.is_integer() and str(dtype) not in _BEYOND_INT64
        )
        self._may_be_decimal = self._is_text
        self._has_given = False
        self._has_missing = False
        self._largest = 0

    def add(self, series: pl.Series) -> None:
        """Take the next rows into account."""
        given = series.drop_nulls()
        if self._is_text:
            given = given.filter(given != "")
        self._has_missing |= len(given) < len(series)
        if not len(given):
            return
        self._has_given = True
        if self._may_be_decimal:
            self._may_be_decimal = given.str.contains(DECIMAL).all()
        if self._may_be_integer and self._is_text:
            self._may_be_integer = given.str.contains(INTEGER).all()
        if self._may_be_integer:
            low, high = _range(given)
            self._largest = max(self._largest, -low, high)

    @property
    def kind(self) -> Kind:
        """What the rows so far are kept as."""
        if self._is_text and not self._has_given:
            return "object"
        if self._may_be_integer and not self._has_missing:
            return "int64"
        if self._may_be_integer and self._largest < MAX_EXACT:
            return "float64"
        if self._is_float or (self._may_be_decimal and not self._may_be_integer):
            return "float64"
        return "object"


def _range(integers: pl.Series) -> tuple[int, int]:
    numbers = integers.cast(pl.Int64).to_numpy()
    return int(numbers.min()), int(numbers.max())


def texts(series: pl.Series) -> pl.Series:
    """The rows as strings, '' where one is missing."""
    if series.dtype.is_nested():
        return pl.Series(series.name, [str(value) for value in series.to_list()], pl.String)
    return series.cast(pl.String).fill_null("")


def as_array(series: pl.Series, kind: Kind) -> Shaped[np.ndarray, " m"]:
    """The rows as the store keeps a column of this kind; objects are strings."""
    if kind == "object":
        return np.array(texts(series).to_list(), object)
    if series.dtype == pl.String:
        series = series.set(series == "", None)
    return series.cast(pl.Int64 if kind == "int64" else pl.Float64).to_numpy()
