"""Writing every item's matches to a CSV file, block by block."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from embed.errors import SettingsError
from embed.files import refuse_existing, replacing
from embed.rows import Where, select_rows
from embed.store import Store
from retrieval.search.sides import self_join
from retrieval.thresholds.files import fit_to_store
from retrieval.thresholds.match_rules import matched
from retrieval.thresholds.tuned import ThresholdResult


@dataclass(frozen=True)
class MatchSettings:
    """What to match, and how to write it.

    Attributes:
        output: the CSV file.
        threshold: a score, or a tuned threshold, which knows its space and k.
        space: needed beside a score.
        k: neighbours of each item, itself included: the most matches that a line can have. None
            takes the tuned threshold's, else 50.
        where: restrictions of the items that are matched with one another.
        id_name, matches_name: the header of the two columns.
        separator: between the ids of a line's matches.
        force: replace the output if it exists.
    """

    output: Path
    threshold: float | ThresholdResult
    space: str | None = None
    k: int | None = None
    where: tuple[Where, ...] = ()
    id_name: str = "id"
    matches_name: str = "matches"
    separator: str = " "
    force: bool = False


@dataclass(frozen=True)
class MatchSummary:
    """What was written.

    Attributes:
        path: the CSV file.
        spaces: the spaces that were searched.
        k: the most matches that a line could have in one space, the item itself included.
        score_thresholds: pairs with at least this score match: in each space, or in all together.
        num_rows: lines, one for each item.
        num_matches: ids in the lines besides each item's own: a pair that found each other
            counts twice.
        num_alone: items that match nothing but themselves.
        warnings: what else to know before trusting it.
    """

    path: str
    spaces: tuple[str, ...]
    k: int
    score_thresholds: tuple[float, ...]
    num_rows: int
    num_matches: int
    num_alone: int
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


def match(store: Store, settings: MatchSettings) -> MatchSummary:
    """Write the matches of each item: itself first, then others by score, best first.

    Lines are in the store's order. Only a block of items is in memory at a time, beside the
    vectors, so the size of the output does not matter.

    Raises:
        OutputExistsError: the output exists and `force` was not given.
        StoreError: there is no such space or column, or a vector is not finite.
        FingerprintError: the threshold was tuned on other vectors.
        ThresholdError: the threshold was tuned on another space.
        SelectionError: no rows are left.
        SettingsError: a score without a space, k below 2, or an id that holds the separator.
    """
    refuse_existing(settings.output, force=settings.force)
    rule = fit_to_store(store, settings.threshold, settings.space, settings.k)
    rows = np.flatnonzero(select_rows(store, settings.where))
    ids = store.ids[rows]
    _refuse_separator(ids, settings.separator)
    num_matches = num_alone = 0
    with replacing(settings.output) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([settings.id_name, settings.matches_name])
        for _, candidates, taken in matched(self_join(store, rows), rule):
            matches = _matches(candidates.rows, taken, ids)
            writer.writerows([line[0], settings.separator.join(line)] for line in matches)
            num_matches += sum(len(line) - 1 for line in matches)
            num_alone += sum(len(line) == 1 for line in matches)
    return MatchSummary(
        path=str(settings.output),
        spaces=tuple(rule.spaces),
        k=rule.k,
        score_thresholds=rule.thresholds,
        num_rows=len(rows),
        num_matches=num_matches,
        num_alone=num_alone,
        warnings=_warnings(settings.threshold, len(rows)),
    )


def _warnings(threshold: float | ThresholdResult, num_rows: int) -> tuple[str, ...]:
    """Among more items more come near by chance, so that a threshold tuned among few is too low."""
    if not isinstance(threshold, ThresholdResult) or num_rows <= 2 * threshold.num_rows:
        return ()
    return (
        f"the threshold was tuned among {threshold.num_rows:,} items and {num_rows:,} are matched: "
        f"precision will be lower than it says",
    )


def _matches(
    rows: Int[np.ndarray, "b c"], taken: Bool[np.ndarray, "b c"], ids: Shaped[np.ndarray, " n"]
) -> list[Sequence[str]]:
    """The ids of each item's matches, its own first."""
    found = ids[rows[taken]].tolist()
    ends = np.cumsum(taken.sum(axis=1)).tolist()
    return [found[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _refuse_separator(ids: Shaped[np.ndarray, " n"], separator: str) -> None:
    if not separator:
        raise SettingsError(
            "--separator stands between ids and can't be empty: try --separator ';'"
        )
    bad = next((item_id for item_id in ids if separator in item_id), None)
    if bad is not None:
        other = next(mark for mark in "|;,\t " if mark != separator)
        raise SettingsError(
            f"id '{bad}' holds the separator '{separator}', so its matches could not be told "
            f"apart: give another one, such as --separator '{other}'"
        )
