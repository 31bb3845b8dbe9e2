"""Which items a head was trained or chosen on, as far as a store can tell."""

import numpy as np
from jaxtyping import Bool

from embed.rows import Split
from embed.store import Store
from heads.features import FeatureStores
from heads.info import HeadInfo


def seen_rows(stores: FeatureStores, info: HeadInfo) -> Bool[np.ndarray, " n"]:
    """The rows that this head, or one whose space it takes in, was trained or chosen on.

    In a store without the columns that a split goes by there is nothing to tell them by.
    """
    seen = np.zeros(len(stores.items), bool)
    for space in info.spaces:
        seen |= stores.seen(space.name)
    for split in info.splits:
        if _has_columns(stores.items, split):
            seen |= np.isin(split.sides(stores.items), ("train", "val"))
    return seen


def tells_seen(stores: FeatureStores, info: HeadInfo) -> bool:
    """Whether the store has the columns that the head's splits go by."""
    return all(_has_columns(stores.items, split) for split in info.splits)


def _has_columns(store: Store, split: Split) -> bool:
    return {split.column or split.group, split.stratify or "id"} <= {"id", *store.columns}
