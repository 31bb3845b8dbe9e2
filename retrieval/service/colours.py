"""A column as few groups that can each have a colour: frequent values, or ranges of numbers."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from retrieval.service.catalogue import Catalogue

MOST_VALUES = 20
NUM_RANGES = 5
OTHER, NONE = "other", "no value"


@dataclass(frozen=True)
class Colours:
    """The number of each item's group among `values`, the names of the groups in order."""

    numbers: Int64[np.ndarray, " n"]
    values: list[str]


def colours_of(catalogue: Catalogue, column: str) -> Colours:
    """The 20 most frequent values, and `other`; of more different numbers, five equal shares.

    Values are in order of how frequent they are, ranges ascending; items without one come last.

    Raises:
        StoreError: there is no such column.
    """
    texts = catalogue.texts(column)
    counts = Counter(texts.tolist())
    num_missing = counts.pop("", 0)
    numbers = catalogue.store.column(column)
    if len(counts) > MOST_VALUES and numbers.dtype.kind in "if":
        groups, values = _ranges(numbers.astype(np.float64))
    else:
        groups, values = _frequent(texts, counts)
    if num_missing:
        groups[texts == ""] = len(values)
        values.append(NONE)
    return Colours(groups, values)


def _frequent(
    texts: Shaped[np.ndarray, " n"], counts: Counter[str]
) -> tuple[Int64[np.ndarray, " n"], list[str]]:
    values = [value for value, _ in counts.most_common(MOST_VALUES)]
    places = {value: place for place, value in enumerate(values)}
    groups = np.array([places.get(text, len(values)) for text in texts.tolist()], np.int64)
    return groups, [*values, OTHER] if len(counts) > MOST_VALUES else values


def _ranges(numbers: Float64[np.ndarray, " n"]) -> tuple[Int64[np.ndarray, " n"], list[str]]:
    known = numbers[np.isfinite(numbers)]
    inner = np.quantile(known, np.linspace(0, 1, NUM_RANGES + 1)[1:-1], method="lower")
    edges = np.unique(inner[inner < known.max()])
    if len(edges) == 0:  # nearly all have the highest
        edges = np.unique(known)[-2:-1]
    groups = np.searchsorted(edges, numbers, side="left").astype(np.int64)
    names = [f"{edge:.4g}" for edge in edges]
    between = [f"above {low}, to {high}" for low, high in pairwise(names)]
    return groups, [f"to {names[0]}", *between, f"above {names[-1]}"]
