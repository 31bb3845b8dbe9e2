"""The heads that an ensemble is made of, and what it says of the data that they were trained on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from torch import nn

from embed.errors import HeadError, SettingsError
from embed.rows import Split
from heads.attributes.vocabulary import Pair, Vocabulary
from heads.head import load_head
from heads.info import HeadInfo
from heads.wording import spoken_split


@dataclass(frozen=True)
class Member:
    """A head: what messages call it, the hash of its file, what it is, its network, what it saw."""

    name: str
    fingerprint: str
    info: HeadInfo
    network: nn.Module
    seen_ids: Int64[np.ndarray, " s"] | None = None


def load_members(paths: Sequence[Path]) -> tuple[Member, ...]:
    """The heads of these files.

    Raises:
        SettingsError: fewer than two files, or the same head twice.
        HeadError: a file that is no head.
    """
    if len(paths) < 2:
        raise SettingsError(
            f"an ensemble is made of two heads or more: found "
            f"{', '.join(map(str, paths)) or 'none'}"
        )
    members = []
    for path in paths:
        head = load_head(path)
        members.append(Member(str(path), head.fingerprint, head.info, head.network, head.seen_ids))
    refuse_repeated(members)
    return tuple(members)


def refuse_repeated(members: Iterable[Member]) -> None:
    """Raise SettingsError where a head is there twice, be it under another name."""
    names: dict[str, str] = {}
    for member in members:
        if member.fingerprint in names:
            raise SettingsError(
                f"{names[member.fingerprint]} and {member.name} are the same head: name each once, "
                f"and let it count for more with a weight"
            )
        names[member.fingerprint] = member.name


def refuse_other_rows(members: Sequence[Member]) -> None:
    """Raise HeadError unless all heads were validated on the same rows of a store."""
    first = members[0]
    if len(first.info.splits) != 1:
        raise HeadError(
            f"{first.name} goes back to {len(first.info.splits)} splits, so its validation rows "
            f"can't be told: only heads of one split can be compared on a store"
        )
    for other in members[1:]:
        for what, of in _ROWS.items():
            if what != "targets" or first.info.output == "vectors":
                refuse_difference(what, (first, of(first.info)), (other, of(other.info)))
        if _sides(first.info) != _sides(other.info):
            raise HeadError(
                f"the heads differ in their splits, so that one was trained on rows that another "
                f"is judged on: of {first.name} rows are split {_spoken_splits(first)}; of "
                f"{other.name} {_spoken_splits(other)}"
            )


def _sides(info: HeadInfo) -> tuple[Split, ...]:
    """What rows fall into sides by, and into which: of a split column, the column alone."""
    return tuple(
        split if split.column is None else Split("", column=split.column) for split in info.splits
    )


def _spoken_splits(member: Member) -> str:
    return "; and ".join(map(spoken_split, member.info.splits))


_ROWS: dict[str, Callable[[HeadInfo], Any]] = {
    "restrictions": lambda info: " and ".join(sorted(info.where)) or "no --where",
    "targets": lambda info: ", ".join(info.targets),
}


def refuse_difference(what: str, one: tuple[Member, Any], other: tuple[Member, Any]) -> None:
    """Raise HeadError where the two values that members have for something differ."""
    if one[1] != other[1]:
        raise HeadError(
            f"the heads differ in their {what}: {one[0].name} has {one[1]}, {other[0].name} has "
            f"{other[1]}; expected the same in all of them"
        )


def merged_info(members: Sequence[Member], **fields: Any) -> HeadInfo:
    """What several heads say together of the data that they were trained on.

    Of each split there is one; `where` are the restrictions that all of them share. Rows are
    counted once where all heads were trained on the same ones, as far as splits, restrictions and
    targets tell; otherwise their numbers are added up. `fields` replace what the first head says.
    """
    infos = [member.info for member in members]
    count = max if _are_of_the_same_rows(infos) else sum
    together = {
        "targets": _once(name for info in infos for name in info.targets),
        "splits": _once(split for info in infos for split in info.splits),
        "where": tuple(w for w in infos[0].where if all(w in info.where for info in infos)),
        "classes": tuple(sorted({name for info in infos for name in info.classes})),
        "num_train": count(info.num_train for info in infos),
        "num_validation": count(info.num_validation for info in infos),
    }
    empty: dict[str, Any] = {"metrics": {}, "intervals": {}, "details": {}, "members": ()}
    return replace(infos[0], **{**together, **empty, **fields})


def merged_seen_ids(members: Sequence[Member]) -> Int64[np.ndarray, " s"] | None:
    """The ids that any of the heads has seen, None where one of them keeps none."""
    kept = [member.seen_ids for member in members if member.seen_ids is not None]
    return np.unique(np.concatenate(kept)) if len(kept) == len(members) else None


def merged_vocabulary(members: Sequence[Member]) -> Vocabulary:
    """All categories, attributes and classes that any of the heads knows, by name.

    Raises:
        HeadError: heads whose categories are in different columns.
    """
    infos = [member.info for member in members]
    known = [Vocabulary.from_json(info.vocabulary or {}) for info in infos]
    for member, vocabulary in zip(members[1:], known[1:], strict=True):
        columns = known[0].category or "none", vocabulary.category or "none"
        refuse_difference("column of categories", (members[0], columns[0]), (member, columns[1]))
    count = max if _are_of_the_same_rows(infos) else sum
    counts: dict[tuple[str, str], dict[str, list[int]]] = {}
    for vocabulary in known:
        for pair in vocabulary.pairs:
            classes = counts.setdefault((pair.category, pair.attribute), {})
            for name, number in zip(pair.classes, pair.counts, strict=True):
                classes.setdefault(name, []).append(number)
    categories = tuple(sorted({text for vocabulary in known for text in vocabulary.categories}))
    attributes = _once(name for vocabulary in known for name in vocabulary.attributes)
    pairs = tuple(
        Pair(
            *key, *zip(*((name, count(n)) for name, n in sorted(counts[key].items())), strict=True)
        )
        for key in ((category, name) for category in categories for name in attributes)
        if key in counts
    )
    return Vocabulary(known[0].category, attributes, categories, pairs)


def _are_of_the_same_rows(infos: Sequence[HeadInfo]) -> bool:
    return len({(_sides(i), *(of(i) for of in _ROWS.values())) for i in infos}) == 1


def _once(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))
