"""What heads are trained on: spaces of a store side by side, each of unit length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from embed.errors import FingerprintError, SettingsError, StoreError
from embed.store import SpaceInfo, Store

MAX_DENSE_BYTES = 4 * 2**30


@dataclass(frozen=True)
class SpaceReference:
    """A space that a head takes in: its name, and the fingerprint and size that it must have."""

    name: str
    fingerprint: str
    dim: int


def refer_to(store: Store, names: Sequence[str]) -> tuple[SpaceReference, ...]:
    """References to spaces of a store, in the order given.

    Raises:
        StoreError: a space that the store does not have.
        SettingsError: none, or the same one twice.
    """
    if not names or len(set(names)) < len(names):
        found = ", ".join(names) or "none"
        raise SettingsError(f"--space names one or more different spaces: found {found}")
    infos = [store.space(name) for name in names]
    return tuple(
        SpaceReference(name, info.fingerprint, info.dim)
        for name, info in zip(names, infos, strict=True)
    )


def check_references(store: Store, references: Sequence[SpaceReference]) -> None:
    """Raise FingerprintError where a space of the store is not the one that is referred to."""
    for reference in references:
        found = store.space(reference.name).fingerprint
        if found != reference.fingerprint:
            raise FingerprintError(
                f"space '{reference.name}' of {store.path} has fingerprint {found}, but the head "
                f"was trained on {reference.fingerprint}: other weights, preprocessing or "
                f"precision; train the head again, or embed with the encoder that it knows"
            )


def load_features(
    store: Store, references: Sequence[SpaceReference], rows: Int[np.ndarray, " m"]
) -> Float[np.ndarray, "m d"]:
    """The spaces of these rows side by side, float32, each scaled to unit length by row.

    A binary space counts as −1 and 1, a sparse one is filled up with zeros. A zero vector stays so.

    Raises:
        StoreError: a vector holds NaN or infinity; the message names its item.
        SettingsError: a sparse space too wide to be filled up.
    """
    blocks = [_unit_rows(store, reference.name, rows) for reference in references]
    features = np.concatenate(blocks, axis=1)
    damaged = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(damaged):
        raise StoreError(
            f"{len(damaged)} items of {store.path}, '{store.ids[rows[damaged[0]]]}' among them, "
            f"hold NaN or infinity in {' or '.join(r.name for r in references)}: embed them again"
        )
    return features


def _unit_rows(store: Store, name: str, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m d"]:
    vectors = _dense_rows(store, name, store.space(name), rows)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def _dense_rows(
    store: Store, name: str, info: SpaceInfo, rows: Int[np.ndarray, " m"]
) -> Float[np.ndarray, "m d"]:
    if info.kind == "dense":
        return np.asarray(store.array(name)[rows], np.float32)
    if info.kind == "binary":
        bits = np.unpackbits(np.asarray(store.array(name)[rows]), axis=1)
        return bits.astype(np.float32) * 2 - 1
    if len(rows) * info.dim * 4 > MAX_DENSE_BYTES:
        raise SettingsError(
            f"space '{name}' is sparse with {info.dim:,} terms: {len(rows):,} rows of it do not "
            f"fit into {MAX_DENSE_BYTES // 2**30} GiB; embed with tfidf:max_features=… first"
        )
    return np.asarray(store.sparse(name)[rows].toarray(), np.float32)
