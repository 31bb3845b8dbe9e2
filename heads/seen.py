"""Which items a head was trained or chosen on, as far as a store can tell."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from jaxtyping import Bool, Int64

from embed.rows import SIDES, Split
from embed.store import Store
from heads.features import FeatureStores
from heads.head import Head
from heads.tasks import Sides


def hashed_ids(ids: Iterable[str]) -> Int64[np.ndarray, " n"]:
    """BLAKE2b of each id: 8 bytes as a number."""
    content = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in ids)
    return np.frombuffer(content, "<i8").astype(np.int64)


def ids_of_sides(store: Store, sides: Sides) -> Int64[np.ndarray, " s"]:
    """The hashed ids of the rows on both sides, ascending, as a head keeps them.

    Rows that a limit leaves out are among them: they are of classes that the head knows.
    """
    rows = np.concatenate([sides.train, sides.left_out, sides.val])
    return np.unique(hashed_ids(store.ids[rows].tolist()))


def seen_rows(stores: FeatureStores, head: Head) -> Bool[np.ndarray, " n"]:
    """The rows that this head, or one whose space it takes in, was trained or chosen on.

    They are known by their ids, and by the sides of the head's splits: a new photo of a product
    that it was trained on is seen, too. Sides within strata depend on what else a store holds, so
    that they count for heads without ids alone. Nothing is told by columns that the store lacks.
    """
    items = stores.items
    seen = np.zeros(len(items), bool)
    for space in head.info.spaces:
        seen |= stores.seen(space.name)
    if head.seen_ids is not None:
        seen |= np.isin(hashed_ids(items.ids.tolist()), head.seen_ids)
    for split in head.info.splits:
        if _tells_sides(items, split) and (head.seen_ids is None or not _is_stratified(split)):
            seen |= np.isin(split.sides(items), ("train", "val"))
    return seen


def tells_seen(stores: FeatureStores, head: Head) -> bool:
    """Whether ids, or all of the head's splits, tell which items it has seen."""
    return head.seen_ids is not None or not _silent_columns(stores.items, head)


def seen_note(stores: FeatureStores, head: Head) -> str:
    """A warning where the store's columns don't tell what the head has seen; '' where they do."""
    silent = _silent_columns(stores.items, head)
    if not silent:
        return ""
    names = " and ".join(f"'{name}'" for name in silent)
    start = f"{stores.items.path} has no column {names} that tells what the head has seen: "
    if head.seen_ids is None:
        return f"{start}nothing else does in this head; train it again, so that it keeps their ids"
    return f"{start}ids alone tell, and new items of the groups that it knows count as unseen"


def _silent_columns(store: Store, head: Head) -> list[str]:
    """The columns of splits that tell nothing here, though ids alone don't tell all."""
    silent = [split for split in head.info.splits if not _tells_sides(store, split)]
    if head.seen_ids is not None:
        silent = [split for split in silent if split.column or split.group != "id"]
    return list(dict.fromkeys(split.column or _missing_column(store, split) for split in silent))


def _tells_sides(store: Store, split: Split) -> bool:
    """Whether the store has what the split goes by: a column may hold words of another meaning."""
    if split.column is None:
        return not _missing_column(store, split)
    return split.column in store.columns and bool(
        np.isin(store.column(split.column).astype(str), SIDES).any()
    )


def _missing_column(store: Store, split: Split) -> str:
    names = (split.group, split.stratify or "id")
    return next((name for name in names if name not in ("id", *store.columns)), "")


def _is_stratified(split: Split) -> bool:
    return split.column is None and split.stratify is not None
