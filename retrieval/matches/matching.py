"""Writing matches to files, block by block: of each item, or pair by pair, and their groups."""

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from embed.errors import SettingsError
from embed.store import Store
from retrieval.choosing import refuse_large_k
from retrieval.matches.grouping import Grouping, write_groups
from retrieval.matches.honouring import Changes, Honouring, decisions_of
from retrieval.matches.match_blocks import match_blocks
from retrieval.matches.match_files import (
    Write,
    writing_competition,
    writing_pairs,
)
from retrieval.matches.match_settings import MatchSettings, refuse_wrong
from retrieval.search.sides import Sides
from retrieval.thresholds.columns import num_columns, refuse_large_at_least
from retrieval.thresholds.files import fit_to_store
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.tuning import ThresholdResult


@dataclass(frozen=True)
class GroupSummary:
    """What groups there are: `num_groups` of two items or more, some of them flagged."""

    path: str
    linkage: str
    num_groups: int
    largest: int
    num_flagged: int


@dataclass(frozen=True)
class MatchSummary:
    """What was written.

    Attributes:
        path: the file.
        format: competition or pairs.
        spaces: the spaces that were searched.
        k: the most matches that an item could have in one space, itself included where items look
            among one another.
        score_thresholds: pairs with at least this score match: in each space, or in all together.
        num_rows: the items whose matches were looked for, and num_gallery those they are among.
        num_matches: matches besides each item's own: a pair that found each other counts twice.
        num_alone: items that match nothing but themselves.
        is_self_join: True where all items looked among one another.
        groups: what was written of groups; None where none were asked for.
        decisions: what people's decisions have changed; None where there are none.
        warnings: what else to know before trusting it.
    """

    path: str
    format: str
    spaces: tuple[str, ...]
    k: int
    score_thresholds: tuple[float, ...]
    num_rows: int
    num_gallery: int
    num_matches: int
    num_alone: int
    is_self_join: bool
    groups: GroupSummary | None
    decisions: Changes | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


def match(
    store: Store, settings: MatchSettings, gallery_store: Store | None = None
) -> MatchSummary:
    """Write the matches of each item, by score, best first; `match_files` has the two layouts.

    What people have decided of pairs beside the store is honoured: what is the same matches both
    ways, and what is different does not, whatever the threshold and the rules say.

    Lines are in the store's order. Only a block of items is in memory at a time, beside the
    vectors, so the size of the output does not matter; groups need all candidates.

    Raises:
        OutputExistsError: a file exists and `force` was not given.
        StoreError: there is no such space or column, or a vector is not finite or, in a dense
            space, zero.
        FingerprintError: the threshold was tuned on other vectors, or two stores differ in them.
        ThresholdError: the threshold was tuned on another space.
        SelectionError: no rows are left.
        DecisionsError: the file of decisions is missing or damaged.
        SettingsError: a score without a space, k below 2 or above the number of items, an
            id that holds the separator, or another layout, linkage or suffix.
    """
    refuse_wrong(settings)
    rule = fit_to_store(store, settings.threshold, settings.space, settings.k)
    sides = settings.sides(store, gallery_store)
    columns = num_columns(rule.k, sides)  # refuses a k that leaves no room
    refuse_large_k(settings.k, len(sides.gallery))
    if settings.k is not None:
        refuse_large_at_least(rule.rules.at_least, rule.k, sides)
    decisions = None if settings.no_decisions else decisions_of(store, settings.decisions)
    honouring = None if decisions is None else Honouring(sides, rule, decisions)
    grouping = _grouping(sides, rule, settings, honouring)
    num_matches = num_alone = 0
    with _writing(settings, sides, rule) as write:
        for block in match_blocks(sides, rule, settings.finding, honouring):
            write(block)
            num_matches += int(block.num_others.sum())
            num_alone += int((block.num_others == 0).sum())
            if grouping is not None:
                grouping.add(block)
    return MatchSummary(
        path=str(settings.output),
        format=settings.format,
        spaces=tuple(rule.spaces),
        k=rule.k,
        score_thresholds=rule.thresholds,
        num_rows=len(sides.queries),
        num_gallery=len(sides.gallery),
        num_matches=num_matches,
        num_alone=num_alone,
        is_self_join=sides.is_self_join,
        groups=None if grouping is None else _grouped(settings, grouping),
        decisions=None if honouring is None else honouring.changes,
        warnings=(
            *settings.finding.warnings_for(columns),
            *_warnings(settings.threshold, sides),
            *(() if honouring is None else honouring.warnings),
        ),
    )


def _grouping(
    sides: Sides, rule: MatchRule, settings: MatchSettings, honouring: Honouring | None
) -> Grouping | None:
    if settings.groups is None:
        return None
    decided = None if honouring is None else honouring.decided
    return Grouping(sides, rule, settings.linkage, decided)


def _writing(
    settings: MatchSettings, sides: Sides, rule: MatchRule
) -> AbstractContextManager[Write]:
    if settings.format == "pairs":
        return writing_pairs(settings.output, sides, rule)
    for side in (sides.gallery,) if sides.is_self_join else (sides.queries, sides.gallery):
        _refuse_separator(side.ids, settings.separator)
    header = settings.id_name, settings.matches_name
    return writing_competition(settings.output, sides, header, settings.separator)


def _grouped(settings: MatchSettings, grouping: Grouping) -> GroupSummary:
    assert settings.groups is not None
    groups = grouping.groups()
    write_groups(settings.groups, grouping.ids, groups)
    return GroupSummary(
        path=str(settings.groups),
        linkage=settings.linkage,
        num_groups=groups.num_shared,
        largest=int(groups.sizes.max()),
        num_flagged=int(groups.is_flagged.sum()),
    )


def _warnings(threshold: float | ThresholdResult, sides: Sides) -> tuple[str, ...]:
    """What a threshold was tuned for, where that is not what it is used for."""
    if not isinstance(threshold, ThresholdResult):
        return ()
    warnings = []
    of_sides = {True: "all items among one another", False: "queries among a gallery"}
    if _is_of_one_side(threshold) != sides.is_self_join:
        warnings.append(
            f"the threshold was tuned for {of_sides[not sides.is_self_join]} and is used for "
            f"{of_sides[sides.is_self_join]}, where precision and recall will be others: tune it "
            f"with the same --query-where, --gallery-where and --gallery-store"
        )
    if len(sides.gallery) > 2 * threshold.num_gallery:
        # Among more items more come near by chance.
        warnings.append(
            f"the threshold was tuned among {threshold.num_gallery:,} items and "
            f"{len(sides.gallery):,} are matched: precision will be lower than it says: tune it "
            f"among as many (--include-training-rows), or restrict the items"
        )
    return tuple(warnings)


def _is_of_one_side(threshold: ThresholdResult) -> bool:
    """True where it was tuned on items that look among one another, as far as it knows.

    A gallery from another store shows in nothing but its size.
    """
    of_sides = {"query_where", "gallery_where"} & set(threshold.selection)
    return not of_sides and threshold.num_rows == threshold.num_gallery


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
