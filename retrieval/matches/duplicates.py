"""Finding duplicates: exact ones by their bytes, near ones by spaces; their groups, and leaks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int, Int64, Shaped

from embed.rows import select_rows
from embed.store import Store
from embed.tables import writing_table
from retrieval.matches.copy_pairs import CopyPairs, Way
from retrieval.matches.duplicate_settings import DuplicateSettings, refuse_wrong
from retrieval.matches.groups import connected_groups
from retrieval.matches.leaks import ItemSides, Leak
from retrieval.matches.links import Links
from retrieval.matches.ways import findings_of, warnings_of, ways_of_looking


@dataclass(frozen=True)
class WayFound:
    """What one way of looking has found: `way` is exact or a space, `limit` what it asks for.

    `num_full` items may have more near copies: all neighbours that a file lists of them are near
    enough. It is 0 where everything was looked at.
    """

    way: str
    limit: str
    num_pairs: int
    num_items: int
    num_full: int


@dataclass(frozen=True)
class DuplicateSummary:
    """What was found.

    Attributes:
        num_rows: the items that were compared.
        num_pairs: pairs of copies, by any way.
        num_groups: groups of copies, chains of them included; num_items are the items in them,
            num_redundant those that are not the first of theirs.
        ways: of each way by itself, on all items, leaks or not.
        leaks: None where none were asked for.
        output, groups: the files that were written.
        warnings: what to know before trusting that these are all.
    """

    num_rows: int
    num_pairs: int
    num_groups: int
    num_items: int
    num_redundant: int
    ways: tuple[WayFound, ...]
    leaks: tuple[Leak, ...] | None
    output: str | None
    groups: str | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


def find_duplicates(store: Store, settings: DuplicateSettings) -> DuplicateSummary:
    """Find all copies, count them, and write what is asked for.

    Pairs have id, other_id, found_by (ways joined by +) and, for each space, SPACE_bits or
    SPACE_score, empty where that space did not find the pair; with leaks also the sides of both.
    Each pair is listed once, in the store's order. Groups have id, group (from 1), size and
    is_first, one line for each item that has a copy.

    Raises:
        OutputExistsError: a file exists and `force` was not given.
        StoreError: there is no such space or column, or a vector is not finite or, in a dense
            space, zero.
        NeighboursError: a file of neighbours can't be read, or is of other rows.
        SelectionError: no rows are left, or none on a side of `leaks`.
        SettingsError: bits of a space that is not binary, a limit that makes no sense, two limits
            for one space, neighbours that serve no space, or another suffix.
    """
    refuse_wrong(store, settings)
    rows = np.flatnonzero(select_rows(store, settings.where))
    sides = None if settings.leaks is None else ItemSides.of(store, rows, settings.leaks)
    findings = findings_of(settings)
    ways = ways_of_looking(store, rows, settings, findings)
    pairs = CopyPairs(store.ids[rows], ways, sides)
    if settings.output is None:
        pairs.count()
    else:
        with writing_table(settings.output) as write:
            for table in pairs.tables():
                write(table)
    return _summary(store, settings, rows, ways, pairs, warnings_of(ways, findings))


def _summary(
    store: Store,
    settings: DuplicateSettings,
    rows: Int[np.ndarray, " n"],
    ways: Sequence[Way],
    pairs: CopyPairs,
    warnings: tuple[str, ...],
) -> DuplicateSummary:
    links = Links.joined([way.copies.spanning for way in ways])
    numbers = connected_groups(len(rows), links)
    sizes = np.bincount(numbers)
    if settings.groups is not None:
        _write_groups(settings.groups, store.ids[rows], numbers)
    return DuplicateSummary(
        num_rows=len(rows),
        num_pairs=pairs.num_pairs,
        num_groups=int((sizes > 1).sum()),
        num_items=int(sizes[sizes > 1].sum()),
        num_redundant=int((sizes - 1).sum()),
        ways=tuple(
            WayFound(
                way.name,
                way.limit,
                int(count),
                int(way.copies.has_any.sum()),
                way.copies.num_full,
            )
            for way, count in zip(ways, pairs.num_of_ways, strict=True)
        ),
        leaks=pairs.leaks,
        output=None if settings.output is None else str(settings.output),
        groups=None if settings.groups is None else str(settings.groups),
        warnings=warnings,
    )


def _write_groups(
    path: Path, ids: Shaped[np.ndarray, " n"], numbers: Int64[np.ndarray, " n"]
) -> None:
    """One line for each item of a group of two or more, groups by their first items."""
    sizes = np.bincount(numbers)[numbers]
    order = np.argsort(numbers, kind="stable")
    order = order[sizes[order] > 1]
    is_first = np.diff(numbers[order], prepend=-1) > 0
    table = {
        "id": pl.Series(ids[order].tolist(), dtype=pl.String),
        "group": np.cumsum(is_first),
        "size": sizes[order],
        "is_first": is_first,
    }
    with writing_table(path) as write:
        write(pl.DataFrame(table))
