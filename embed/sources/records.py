"""JSON objects as rows of text, and which of their columns are numbers."""

import json
from collections.abc import Mapping
from typing import Any

from embed.sources.columns import MAX_EXACT


class NumberColumns:
    """Notes which columns hold JSON numbers alone, some of them not whole.

    Whole numbers need no note: they are told by their digits, as in a CSV file. Of others the text
    may be '1e-07', which would stay text in one.
    """

    def __init__(self) -> None:
        self._with_fractions: set[str] = set()
        self._with_others: set[str] = set()

    def add(self, name: str, value: object) -> None:
        """Take a value into account."""
        if isinstance(value, float):
            self._with_fractions.add(name)
        elif type(value) is not int or abs(value) >= MAX_EXACT:
            self._with_others.add(name)

    @property
    def names(self) -> frozenset[str]:
        """The columns that are kept as float64."""
        return frozenset(self._with_fractions - self._with_others)


def as_row(fields: Mapping[str, Any], numbers: NumberColumns) -> dict[str, str | int | None]:
    """The fields as text, lists and objects as JSON; None where there is no value."""
    row: dict[str, str | int | None] = {}
    for name, value in fields.items():
        row[name] = None if value is None else as_text(value)
        if value is not None:
            numbers.add(name, value)
    return row


def as_text(value: object) -> str:
    """A JSON value as the text of a cell; true and false as Parquet's are."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)
