"""What heads are trained on: spaces of one or more stores side by side, each of unit length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int, Shaped

from embed.errors import FingerprintError, IdError, SettingsError, StoreError
from embed.store import SpaceInfo, Store

MAX_DENSE_BYTES = 4 * 2**30


@dataclass(frozen=True)
class SpaceReference:
    """A space that a head takes in: its name, the fingerprint and size that it must have.

    Its vectors are scaled to the length `weight`.
    """

    name: str
    fingerprint: str
    dim: int
    weight: float = 1.0


class FeatureStores:
    """Where features come from: items and columns of the first store, spaces of any of them.

    Other stores are joined by id: they may hold more items, in any order.

    Raises:
        IdError: an item that another store lacks; the message names it.
        SettingsError: two stores have a space of one name.
    """

    def __init__(self, items: Store, *others: Store) -> None:
        self.items = items
        self._holders = dict.fromkeys(items.spaces, items)
        self._rows: dict[str, Int[np.ndarray, " n"]] = {}
        for other in others:
            rows = _rows_by_id(items, other)
            for name in other.spaces:
                self._refuse_repeated(name, other)
                self._holders[name], self._rows[name] = other, rows

    def space(self, name: str) -> SpaceInfo:
        """What the space says of itself.

        Raises:
            StoreError: no store has it; the message names those that there are.
        """
        if name not in self._holders:
            known = ", ".join(self._holders) or "none"
            raise StoreError(f"{self.items.path} has no space '{name}': it has {known}")
        return self._holders[name].space(name)

    def seen(self, name: str) -> Bool[np.ndarray, " n"]:
        """True at the items that a head of this space has seen in training."""
        return self._holders[name].seen(name)[self.rows_of(name)]

    def rows_of(self, name: str) -> Int[np.ndarray, " n"] | slice:
        """Where the items stand in the store that holds this space."""
        return self._rows.get(name, slice(None))

    def vectors(self, name: str) -> Shaped[np.ndarray, "m d"] | scipy.sparse.csr_array:
        """All vectors of the space, as its own store holds them: mapped, or sparse in memory."""
        holder = self._holders[name]
        return holder.sparse(name) if self.space(name).kind == "sparse" else holder.array(name)

    def _refuse_repeated(self, name: str, other: Store) -> None:
        if name in self._holders:
            raise SettingsError(
                f"{self._holders[name].path} and {other.path} both have a space '{name}': "
                f"rename one with `python -m embed export` and `import`, or leave it out"
            )


def _rows_by_id(items: Store, other: Store) -> Int[np.ndarray, " n"]:
    try:
        return other.rows_of(items.ids.tolist())
    except IdError as error:
        raise IdError(f"{error}: every item of {items.path} is needed there") from error


def refer_to(
    stores: FeatureStores, names: Sequence[str], weights: Mapping[str, float] | None = None
) -> tuple[SpaceReference, ...]:
    """References to spaces, in the order given, each scaled by its weight, 1 where none is given.

    Raises:
        StoreError: a space that there is not.
        SettingsError: none, or the same one twice; a weight that is not above 0 or of no space.
    """
    weights = weights or {}
    if not names or len(set(names)) < len(names):
        found = ", ".join(names) or "none"
        raise SettingsError(f"--space names one or more different spaces: found {found}")
    for name, weight in weights.items():
        if name not in names or not 0 < weight < np.inf:
            raise SettingsError(
                f"--weight takes NAME=FACTOR of a space that is taken in ({', '.join(names)}), "
                f"above 0: found {name}={weight:g}"
            )
    infos = [stores.space(name) for name in names]
    return tuple(
        SpaceReference(name, info.fingerprint, info.dim, float(weights.get(name, 1.0)))
        for name, info in zip(names, infos, strict=True)
    )


def check_references(stores: FeatureStores, references: Sequence[SpaceReference]) -> None:
    """Raise FingerprintError where a space is not the one that is referred to."""
    for reference in references:
        found = stores.space(reference.name).fingerprint
        if found != reference.fingerprint:
            raise FingerprintError(
                f"space '{reference.name}' of {stores.items.path} has fingerprint {found}, but the "
                f"head was trained on {reference.fingerprint}: other weights, preprocessing or "
                f"precision; train the head again, or embed with the encoder that it knows"
            )


class FeatureReader:
    """Reads features of rows; a sparse space is taken from the file once, however many the calls.

    Features are the spaces side by side, float32, each scaled by row to the length of its weight. A
    binary space counts as −1 and 1, a sparse one is filled up with zeros. A zero vector stays so.
    """

    def __init__(self, stores: FeatureStores, references: Sequence[SpaceReference]) -> None:
        self._stores = stores
        self._references = references
        self._vectors = {r.name: stores.vectors(r.name) for r in references}
        self.num_features = sum(reference.dim for reference in references)

    def __call__(self, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m d"]:
        """The features of these items.

        Raises:
            StoreError: a vector holds NaN or infinity; the message names its item.
            SettingsError: a sparse space too wide to be filled up.
        """
        features = np.empty((len(rows), self.num_features), np.float32)
        start = 0
        for reference in self._references:
            self._fill(features[:, start : start + reference.dim], reference, rows)
            start += reference.dim
        self._refuse_damaged(features, rows)
        return features

    def _fill(
        self, into: Float[np.ndarray, "m d"], reference: SpaceReference, rows: Int[np.ndarray, " m"]
    ) -> None:
        into[...] = self._dense_rows(reference.name, rows)
        scale_rows(into, reference.weight)

    def _refuse_damaged(
        self, features: Float[np.ndarray, "m d"], rows: Int[np.ndarray, " m"]
    ) -> None:
        # A sum is finite where all it adds is, and needs no array of its own.
        damaged = np.flatnonzero(~np.isfinite(features.sum(axis=1, dtype=np.float64)))
        if len(damaged):
            item_id = self._stores.items.ids[rows[damaged[0]]]
            names = " or ".join(reference.name for reference in self._references)
            raise StoreError(
                f"{len(damaged)} items of {self._stores.items.path}, '{item_id}' among them, "
                f"hold NaN or infinity in {names}: embed them again"
            )

    def _dense_rows(self, name: str, rows: Int[np.ndarray, " m"]) -> Shaped[np.ndarray, "m d"]:
        info, vectors = self._stores.space(name), self._vectors[name]
        places = self._stores.rows_of(name)
        at = rows if isinstance(places, slice) else places[rows]
        if info.kind != "sparse":
            return written_out(np.asarray(vectors[at]), info)
        if len(at) * info.dim * 4 > MAX_DENSE_BYTES:
            raise SettingsError(
                f"space '{name}' is sparse with {info.dim:,} terms: {len(at):,} rows of it do "
                f"not fit into {MAX_DENSE_BYTES // 2**30} GiB; embed with tfidf:max_features=… "
                f"first"
            )
        return written_out(vectors[at], info)


def written_out(
    vectors: Shaped[np.ndarray, "m e"] | scipy.sparse.csr_array, info: SpaceInfo
) -> Shaped[np.ndarray, "m d"]:
    """Vectors as numbers, one a component: bits as −1 and 1, sparse ones filled up with zeros."""
    if not isinstance(vectors, np.ndarray):
        return np.asarray(vectors.toarray())
    if info.kind == "dense":
        return vectors
    return np.unpackbits(vectors, axis=1, count=info.dim).astype(np.float32) * 2 - 1


def scale_rows(vectors: Float[np.ndarray, "m d"], weight: float) -> None:
    """Scale each row, in place, to this length; a row of zeros stays."""
    lengths = np.sqrt(np.einsum("md,md->m", vectors, vectors, dtype=np.float64))
    scales = (weight / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    with np.errstate(invalid="ignore"):  # infinity × 0, which the caller refuses
        vectors *= scales[:, None]
