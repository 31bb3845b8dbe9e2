"""Finding duplicates: exact ones by their bytes, near ones by spaces; their groups, and leaks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int, Int64, Shaped

from embed.errors import SettingsError
from embed.files import refuse_existing
from embed.rows import Where, select_rows
from embed.store import Store
from embed.tables import refuse_suffix, writing_table
from retrieval.matches.copies import HASHED, Hashed, exact_copies, near_copies
from retrieval.matches.copy_pairs import EXACT, CopyPairs, Way
from retrieval.matches.grouping import refuse_same
from retrieval.matches.groups import connected_groups
from retrieval.matches.leaks import ItemSides, Leak
from retrieval.matches.links import Links


@dataclass(frozen=True)
class DuplicateSettings:
    """Which items count as copies of one another, and what is written of them.

    Attributes:
        exact: what has to be equal byte by byte: content (all that was encoded), image or text.
        max_bits: of binary spaces by name, by how many bits two codes may differ.
        min_scores: of any spaces by name, which score two vectors reach, above 0.
        where: restrictions that all items have to fulfil.
        leaks: COLUMN or COLUMN=VALUE,VALUE: count pairs on different sides of it, and list these
            alone; groups and all other counts are of all copies.
        output: a .csv or .parquet file for the pairs; None writes none.
        groups: likewise for the groups.
        force: replace files that exist.
    """

    exact: Hashed = "content"
    max_bits: Mapping[str, int] = field(default_factory=dict)
    min_scores: Mapping[str, float] = field(default_factory=dict)
    where: tuple[Where, ...] = ()
    leaks: str | None = None
    output: Path | None = None
    groups: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class WayFound:
    """What one way of looking has found: `way` is exact or a space, `limit` what it asks for."""

    way: str
    limit: str
    num_pairs: int
    num_items: int


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
        StoreError: there is no such space or column, or a vector is not finite.
        SelectionError: no rows are left, or none on a side of `leaks`.
        SettingsError: bits of a space that is not binary, a limit that makes no sense, two limits
            for one space, or another suffix.
    """
    _refuse_wrong(store, settings)
    rows = np.flatnonzero(select_rows(store, settings.where))
    sides = None if settings.leaks is None else ItemSides.of(store, rows, settings.leaks)
    ways = _ways(store, rows, settings)
    pairs = CopyPairs(store.ids[rows], ways, sides)
    if settings.output is None:
        pairs.count()
    else:
        with writing_table(settings.output) as write:
            for table in pairs.tables():
                write(table)
    return _summary(store, settings, rows, ways, pairs)


def _ways(store: Store, rows: Int[np.ndarray, " n"], settings: DuplicateSettings) -> list[Way]:
    ways = [Way(EXACT, settings.exact, exact_copies(store, rows, settings.exact))]
    for space, bits in settings.max_bits.items():
        num_bits = store.space(space).dim
        # Half a bit more than allowed: between two scores, so that no rounding matters.
        least = 1 - (2 * bits + 1) / num_bits
        copies = near_copies(store, space, rows, least)
        ways.append(Way(space, f"≤ {bits} bits", copies, num_bits))
    for space, score in settings.min_scores.items():
        ways.append(Way(space, f"score ≥ {score:g}", near_copies(store, space, rows, score)))
    return ways


def _summary(
    store: Store,
    settings: DuplicateSettings,
    rows: Int[np.ndarray, " n"],
    ways: Sequence[Way],
    pairs: CopyPairs,
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
            WayFound(way.name, way.limit, int(count), int(way.copies.has_any.sum()))
            for way, count in zip(ways, pairs.num_of_ways, strict=True)
        ),
        leaks=pairs.leaks,
        output=None if settings.output is None else str(settings.output),
        groups=None if settings.groups is None else str(settings.groups),
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


def _refuse_wrong(store: Store, settings: DuplicateSettings) -> None:
    if settings.output is not None and settings.groups is not None:
        refuse_same(settings.output, settings.groups)
    for path in filter(None, (settings.output, settings.groups)):
        refuse_suffix(path)
        refuse_existing(path, force=settings.force)
    if settings.exact not in HASHED:
        raise SettingsError(f"--exact is {', '.join(HASHED)}: found '{settings.exact}'")
    for space, bits in settings.max_bits.items():
        info = store.space(space)
        if info.kind != "binary":
            raise SettingsError(
                f"--max-bits is for binary spaces and '{space}' is {info.kind}: give "
                f"--min-score {space}=0.95"
            )
        if not 0 <= bits < info.dim / 2:
            raise SettingsError(
                f"--max-bits {space} is from 0 to below half of its {info.dim} bits: found {bits}"
            )
    for space, score in settings.min_scores.items():
        if space in settings.max_bits:
            raise SettingsError(f"space '{space}' has a --max-bits and a --min-score: give one")
        if not 0 < score <= 1:
            raise SettingsError(f"--min-score {space} is above 0 and up to 1: found {score:g}")
