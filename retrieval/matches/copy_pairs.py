"""Pairs of copies, by all ways of looking together, as blocks of a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int64, Shaped

from retrieval.matches.copies import Copies
from retrieval.matches.leaks import ItemSides, Leak, LeakTally
from retrieval.matches.naming import joined_names

BY_BYTES = "exact"
BLOCK_PAIRS = 2**16


@dataclass(frozen=True)
class Way:
    """One way of looking; `bits` is how many the codes of a binary space have."""

    name: str
    limit: str
    copies: Copies
    bits: int | None = None

    def column(self, scores: Float64[np.ndarray, " p"]) -> dict[str, pl.Series]:
        """The scores of pairs as a column of the table, by its name; NaN becomes empty."""
        if self.name == BY_BYTES:
            return {}
        if self.bits is None:
            return {f"{self.name}_score": pl.Series(scores.round(6)).fill_nan(None)}
        bits = pl.Series(((1 - scores) * self.bits / 2).round()).fill_nan(None)
        return {f"{self.name}_bits": bits.cast(pl.Int64)}


@dataclass(frozen=True)
class CopyBlock:
    """Some pairs: positions of their items, and the score by each way, NaN where it has none."""

    one: Int64[np.ndarray, " p"]
    other: Int64[np.ndarray, " p"]
    scores: Float64[np.ndarray, "w p"]

    def where(self, chosen: Bool[np.ndarray, " p"]) -> "CopyBlock":
        """Only the pairs that are chosen."""
        return CopyBlock(self.one[chosen], self.other[chosen], self.scores[:, chosen])


class CopyPairs:
    """All pairs of copies in blocks, counted as they pass; few of them are in memory at a time."""

    def __init__(
        self, ids: Shaped[np.ndarray, " n"], ways: Sequence[Way], sides: ItemSides | None
    ) -> None:
        self._ids = ids
        self._ways = ways
        self._sides = sides
        self._tally = None if sides is None else LeakTally(sides)
        self.num_pairs = 0
        self.num_of_ways = np.zeros(len(ways), np.int64)

    @property
    def leaks(self) -> tuple[Leak, ...] | None:
        """Those among the pairs that have passed."""
        return None if self._tally is None else self._tally.leaks()

    def count(self) -> None:
        """Let all pairs pass."""
        for _ in self.blocks():
            pass

    def tables(self) -> Iterator[pl.DataFrame]:
        """The blocks as tables; one without lines comes first, so that there is a header."""
        nothing = np.zeros(0, np.int64)
        yield self._table(CopyBlock(nothing, nothing, np.zeros((len(self._ways), 0))))
        yield from map(self._table, self.blocks())

    def blocks(self) -> Iterator[CopyBlock]:
        """The pairs by first item, then by the other; leaks alone where they are asked for."""
        waiting: list[CopyBlock] = []
        num_waiting = 0
        for item in np.flatnonzero(np.any([way.copies.has_any for way in self._ways], axis=0)):
            waiting.append(self._pairs_of(int(item)))
            num_waiting += len(waiting[-1].one)
            if num_waiting >= BLOCK_PAIRS:
                yield self._counted(waiting)
                waiting, num_waiting = [], 0
        if waiting:
            yield self._counted(waiting)

    def _pairs_of(self, item: int) -> CopyBlock:
        found = [way.copies.after(item) for way in self._ways]
        others = _union([items for items, _ in found if len(items)])
        scores = np.full((len(found), len(others)), np.nan)
        for row, (items, values) in zip(scores, found, strict=True):
            row[np.searchsorted(others, items)] = values
        return CopyBlock(np.full(len(others), item), others, scores)

    def _counted(self, waiting: list[CopyBlock]) -> CopyBlock:
        block = CopyBlock(
            np.concatenate([each.one for each in waiting]),
            np.concatenate([each.other for each in waiting]),
            np.concatenate([each.scores for each in waiting], axis=1),
        )
        self.num_pairs += len(block.one)
        self.num_of_ways += np.isfinite(block.scores).sum(axis=1)
        if self._sides is None or self._tally is None:
            return block
        block = block.where(self._sides.differ(block.one, block.other))
        self._tally.add(block.one, block.other)
        return block

    def _table(self, block: CopyBlock) -> pl.DataFrame:
        columns: dict[str, Any] = {
            "id": self._ids[block.one].tolist(),
            "other_id": self._ids[block.other].tolist(),
        }
        if self._sides is not None:
            for name, items in (("", block.one), ("other_", block.other)):
                sides = self._sides.names_of(items).tolist()
                columns[f"{name}{self._sides.column}"] = pl.Series(sides, dtype=pl.String)
        columns["found_by"] = joined_names(
            [way.name for way in self._ways], np.isfinite(block.scores)
        )
        for way, scores in zip(self._ways, block.scores, strict=True):
            columns |= way.column(scores)
        schema = {"id": pl.String, "other_id": pl.String, "found_by": pl.String}
        return pl.DataFrame(columns, schema_overrides=schema)


def _union(sets: Sequence[Int64[np.ndarray, " _"]]) -> Int64[np.ndarray, " p"]:
    """What is in any of some ascending sets; mostly they are equal, and sorting takes longest."""
    if not sets:
        return np.zeros(0, np.int64)
    if all(np.array_equal(sets[0], other) for other in sets[1:]):
        return sets[0]
    return np.unique(np.concatenate(sets))
