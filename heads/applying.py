"""Applying a head: its vectors for every item of a store become a space of that store."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from embed.errors import OutputExistsError, SettingsError
from embed.files import refuse_existing
from embed.locks import locked
from embed.rows import dump_splits, load_splits
from embed.store import Modality, SpaceInfo, Store, StoreWriter
from heads.features import FeatureReader, FeatureStores, check_references
from heads.head import Head, load_head
from heads.projection.bodies import project
from heads.seen import seen_note, seen_rows

ROWS_PER_BLOCK = 8192


@dataclass(frozen=True)
class Applied:
    """The space that a head made, the store that it is in, and what the user should know of it."""

    store: Path
    space: str
    info: SpaceInfo
    num_items: int
    notes: tuple[str, ...] = ()


def apply_head(
    store_path: Path,
    head_path: Path,
    *,
    name: str | None = None,
    output: Path | None = None,
    joined: Sequence[Path] = (),
    force: bool = False,
    command: str = "heads.applying.apply_head",
) -> Applied:
    """Add the head's space to the store, or to a copy of it at `output`.

    The space is named after the head's file unless `name` is given. Its vectors are float32 and of
    unit length, and it carries the splits of the heads that it went through. Spaces that the head
    takes in may also be in the stores `joined`, by id.

    Raises:
        HeadError: the head can't be read.
        SettingsError: a name that no space may have, or one of the spaces that the head takes in.
        FingerprintError: the store's spaces are not those that the head was trained on.
        OutputExistsError: there is such a space, or `output`, already, and not `force`.
        StoreError: a run is writing the store.
    """
    head = load_head(head_path, "vectors")
    name = head_path.stem if name is None else name
    _refuse_name(name, head)
    if output is not None:
        refuse_existing(output, force=force, is_store=True)
    with locked(output or store_path), ExitStack() as stack:
        store, *others = (stack.enter_context(Store(path)) for path in (store_path, *joined))
        stores = FeatureStores(store, *others)
        _refuse_existing_space(store, name, force=force)
        check_references(stores, head.info.spaces)
        info = _space_info(stores, head)
        with StoreWriter(output or store_path, command, store.versions) as writer:
            _write_space(writer, stores, name, info, head)
        notes = tuple(filter(None, [seen_note(stores, head)]))
        return Applied(output or store_path, name, info, len(store), notes)


def _write_space(
    writer: StoreWriter, stores: FeatureStores, name: str, info: SpaceInfo, head: Head
) -> None:
    """All of the store but a space of this name, and the head's space."""
    store = stores.items
    writer.copy_items(store)
    for other in store.spaces:
        if other != name:
            writer.copy_space(store, other)
    writer.write_seen(name, seen_rows(stores, head))
    dataset = writer.create_array(name, info, (len(store), info.dim), np.float32)
    for start, vectors in _blocks(stores, head):
        dataset[start : start + len(vectors)] = vectors


def _blocks(stores: FeatureStores, head: Head) -> Iterator[tuple[int, Float[np.ndarray, "b e"]]]:
    features_of = FeatureReader(stores, head.info.spaces)
    num_items = len(stores.items)
    for start in range(0, num_items, ROWS_PER_BLOCK):
        rows = np.arange(start, min(start + ROWS_PER_BLOCK, num_items))
        yield start, project(head.network, torch.from_numpy(features_of(rows))).numpy()


def _refuse_name(name: str, head: Head) -> None:
    # HDF5 reads '/' and dots as a path; without its inputs a head can't be applied again.
    if "/" in name or not name.strip(". "):
        raise SettingsError(
            f"a space may be called what is not empty, not only dots and has no '/': "
            f"found '{name}'; give another --name"
        )
    if name in {space.name for space in head.info.spaces}:
        raise SettingsError(
            f"the head takes in space '{name}', so its own can't replace it: give another --name"
        )


def _refuse_existing_space(store: Store, name: str, *, force: bool) -> None:
    if name in store.spaces and not force:
        raise OutputExistsError(
            f"{store.path} has a space '{name}' already: give another --name, or --force to "
            f"replace it"
        )


def _space_info(stores: FeatureStores, head: Head) -> SpaceInfo:
    inputs = [stores.space(space.name) for space in head.info.spaces]
    splits = [split for info in inputs for split in load_splits(info.training)]
    modalities: set[Modality] = {info.modality for info in inputs}
    names = ", ".join(space.name for space in head.info.spaces)
    return SpaceInfo(
        kind="dense",
        modality=modalities.pop() if len(modalities) == 1 else "fused",
        spec=f"head:{head.info.kind}({names})",
        fingerprint=head.fingerprint,
        precision="fp32",
        normalized=True,
        dim=project(head.network, torch.zeros(1, head.info.num_features)).shape[1],
        training=dump_splits([*splits, *head.info.splits]),
    )
