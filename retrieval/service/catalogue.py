"""The items of a store as the service looks at them: by id, with their title and columns."""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from embed.errors import IdError
from embed.labels import label_texts
from embed.store import Store


class Catalogue:
    """An open store, whose columns are read once and kept."""

    def __init__(self, store: Store, image_column: str, title_column: str) -> None:
        self.store = store
        self.image_column = image_column
        self.title_column = title_column
        self._texts: dict[str, Shaped[np.ndarray, " n"]] = {}

    def __len__(self) -> int:
        return len(self.store)

    @cached_property
    def _row_of(self) -> Mapping[str, int]:
        return {item_id: row for row, item_id in enumerate(self.store.ids.tolist())}

    def know_ids(self) -> None:
        """Make ready what `row_of` looks in."""
        _ = self._row_of

    def row_of(self, item_id: str) -> int:
        """The row of an item.

        Raises:
            IdError: the store has no such item.
        """
        row = self._row_of.get(item_id)
        if row is None:
            raise IdError(f"there is no item '{item_id[:200]}'")
        return row

    @staticmethod
    def as_rows(row: int) -> Int[np.ndarray, " 1"]:
        """One row, where rows are asked for."""
        return np.array([row], np.int64)

    def id_of(self, row: int) -> str:
        """The id of a row."""
        return str(self.store.ids[row])

    def texts(self, column: str) -> Shaped[np.ndarray, " n"]:
        """The values of a column as text, '' where one is missing.

        Raises:
            StoreError: there is no such column.
        """
        if column not in self._texts:
            values = [text or "" for text in label_texts(self.store.column(column))]
            self._texts[column] = np.array(values, dtype=object)
        return self._texts[column]

    def title_of(self, row: int) -> str:
        """The title of an item, '' where the store has none."""
        if self.title_column not in self.store.columns:
            return ""
        return str(self.texts(self.title_column)[row])

    def mask(self, column: str, value: str) -> Bool[np.ndarray, " n"]:
        """True at the rows that have a value; numbers are compared as numbers, '' is a missing one.

        Raises:
            StoreError: there is no such column.
        """
        texts = self.texts(column)
        if self.store.column_dtype(column).kind in "if":
            value = _as_number(value)
        return np.asarray(texts == value, bool)

    @cached_property
    def distinct(self) -> Mapping[str, Counter[str]]:
        """How many items have each value of each column; missing values are left out."""
        counts = {column: Counter(self.texts(column).tolist()) for column in self.store.columns}
        return {
            column: Counter({v: n for v, n in of.items() if v}) for column, of in counts.items()
        }

    def columns_of(self, row: int) -> dict[str, Any]:
        """The values of every column of an item, as text."""
        return {column: self.texts(column)[row] for column in self.store.columns}


def _as_number(text: str) -> str:
    """A number as `label_texts` writes it; what is none, as it is."""
    try:
        return label_texts(np.array([float(text)]))[0] or ""
    except ValueError:
        return text
