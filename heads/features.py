"""What heads are trained on: spaces of a store side by side, each of unit length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from embed.errors import FingerprintError, SettingsError, StoreError
from embed.store import Store

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


class FeatureReader:
    """Reads features of rows; a sparse space is taken from the file once, however many the calls.

    Features are the spaces side by side, float32, each scaled to unit length by row. A binary space
    counts as −1 and 1, a sparse one is filled up with zeros. A zero vector stays so.
    """

    def __init__(self, store: Store, references: Sequence[SpaceReference]) -> None:
        self._store = store
        self._names = [reference.name for reference in references]
        self._vectors = {
            name: store.sparse(name) if store.space(name).kind == "sparse" else store.array(name)
            for name in self._names
        }

    def __call__(self, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m d"]:
        """The features of these rows.

        Raises:
            StoreError: a vector holds NaN or infinity; the message names its item.
            SettingsError: a sparse space too wide to be filled up.
        """
        features = np.concatenate([self._unit_rows(name, rows) for name in self._names], axis=1)
        damaged = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(damaged):
            item_id = self._store.ids[rows[damaged[0]]]
            raise StoreError(
                f"{len(damaged)} items of {self._store.path}, '{item_id}' among them, "
                f"hold NaN or infinity in {' or '.join(self._names)}: embed them again"
            )
        return features

    def _unit_rows(self, name: str, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m d"]:
        vectors = self._dense_rows(name, rows)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)

    def _dense_rows(self, name: str, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m d"]:
        info, vectors = self._store.space(name), self._vectors[name]
        if info.kind == "dense":
            return np.asarray(vectors[rows], np.float32)
        if info.kind == "binary":
            bits = np.unpackbits(np.asarray(vectors[rows]), axis=1)
            return bits.astype(np.float32) * 2 - 1
        if len(rows) * info.dim * 4 > MAX_DENSE_BYTES:
            raise SettingsError(
                f"space '{name}' is sparse with {info.dim:,} terms: {len(rows):,} rows of it do "
                f"not fit into {MAX_DENSE_BYTES // 2**30} GiB; embed with tfidf:max_features=… "
                f"first"
            )
        return np.asarray(vectors[rows].toarray(), np.float32)
