"""Imported items beside those of a store: which is which, and were the same things encoded?"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from embed.errors import IdError, StoreError
from embed.exchange.foreign_items import ForeignItems
from embed.exchange.item_hashes import unknown_hashes
from embed.exchange.record import WITHOUT_ENCODER
from embed.ids import ABSENT, IdIndex
from embed.store import SpaceInfo, Store
from embed.wording import agreeing, counted


def match_rows(
    store: Store, items: ForeignItems, path: Path
) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """For each row of the store, the row of the items with its id; and what was left out.

    Raises:
        IdError: the store has an id that is not among the items.
    """
    index = IdIndex([items.ids])
    none = np.zeros(0, np.int64)
    order = np.concatenate([none, *(index.find(block) for block in store.id_blocks())])
    missing = np.flatnonzero(order == ABSENT)
    if len(missing):
        raise IdError(
            f"{path} has no item '{_id(store, int(missing[0]))}' ({len(missing)} of the "
            f"{len(store)} items of {store.path} are missing): a space has a vector for every "
            f"item of its store"
        )
    is_left_out = np.ones(len(items.ids), bool)
    is_left_out[order] = False
    others = np.flatnonzero(is_left_out).tolist()
    if not others:
        return order, ()
    examples = ", ".join(items.ids[row] for row in others[:3])
    return order, (
        f"{counted(len(others), 'item')} of {path} {agreeing(len(others), 'are')} not in "
        f"{store.path} and {agreeing(len(others), 'were')} left out: "
        f"{examples}{', …' if len(others) > 3 else ''}",
    )


def require_same_content(
    store: Store,
    items: ForeignItems,
    order: Int[np.ndarray, " n"],
    recorded: Mapping[str, SpaceInfo],
    path: Path,
) -> None:
    """Raise StoreError where a recorded space was encoded from other bytes than the store's.

    Under its encoder's fingerprint, the next run would take such rows for up to date. Where the
    store does not know what an item was, that run encodes it again. Where the export does not know,
    only what no encoder made is let pass: no run takes that for its own.
    """
    for name, info in recorded.items():
        for modality in ("image", "text"):
            if info.modality in (modality, "fused"):
                theirs = _hashes(items, modality)[order]
                ours = store.modality_hash(modality)
                differs = (theirs != ours).any(axis=1) & ours.any(axis=1)
                if info.spec.startswith(WITHOUT_ENCODER):
                    differs &= theirs.any(axis=1)
                if differs.any():
                    raise StoreError(_told(store, name, modality, np.flatnonzero(differs), path))


def _hashes(items: ForeignItems, modality: str) -> UInt8[np.ndarray, "n 16"]:
    known = items.hashes or {}
    return known[modality] if modality in known else unknown_hashes(len(items.ids))


def _told(store: Store, name: str, modality: str, rows: Int[np.ndarray, " r"], path: Path) -> str:
    thing = "image" if modality == "image" else "title"
    return (
        f"space '{name}' of {path} was not encoded from what {store.path} holds: the {thing} of "
        f"'{_id(store, int(rows[0]))}' is another, or not known in the export ({len(rows)} of the "
        f"{len(store)} items): leave the space out and encode it with `python -m embed run`, or "
        f"export it again from a store that is up to date"
    )


def _id(store: Store, row: int) -> str:
    return str(store.values("id", row, row + 1)[0])
