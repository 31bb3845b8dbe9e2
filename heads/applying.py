"""Applying a head: its vectors for every item of a store become a space of that store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from embed.errors import OutputExistsError, SettingsError
from embed.files import refuse_existing
from embed.locks import locked
from embed.rows import dump_splits, load_splits
from embed.store import Modality, SpaceInfo, Store, StoreWriter
from heads.features import FeatureReader, check_references
from heads.head import Head, load_head
from heads.projection.network import project

ROWS_PER_BLOCK = 8192


@dataclass(frozen=True)
class Applied:
    """The space that a head made, and the store that it is in."""

    store: Path
    space: str
    info: SpaceInfo
    num_items: int


def apply_head(
    store_path: Path,
    head_path: Path,
    *,
    name: str | None = None,
    output: Path | None = None,
    force: bool = False,
    command: str = "heads.applying.apply_head",
) -> Applied:
    """Add the head's space to the store, or to a copy of it at `output`.

    The space is named after the head's file unless `name` is given. Its vectors are float32 and of
    unit length, and it carries the splits of the heads that it went through.

    Raises:
        HeadError: the head can't be read.
        SettingsError: a name that no space may have, or one of the spaces that the head takes in.
        FingerprintError: the store's spaces are not those that the head was trained on.
        OutputExistsError: there is such a space, or `output`, already, and not `force`.
        StoreError: a run is writing the store.
    """
    head = load_head(head_path)
    name = head_path.stem if name is None else name
    _refuse_name(name, head)
    if output is not None:
        refuse_existing(output, force=force)
    with locked(output or store_path), Store(store_path) as store:
        _refuse_existing_space(store, name, force=force)
        check_references(store, head.info.spaces)
        info = _space_info(store, head)
        with StoreWriter(output or store_path, command, store.versions) as writer:
            _write_space(writer, store, name, info, head)
        return Applied(output or store_path, name, info, len(store))


def _write_space(writer: StoreWriter, store: Store, name: str, info: SpaceInfo, head: Head) -> None:
    """All of the store but a space of this name, and the head's space."""
    writer.copy_items(store)
    for other in store.spaces:
        if other != name:
            writer.copy_space(store, other)
    writer.write_seen(name, _seen(store, head))
    dataset = writer.create_array(name, info, (len(store), info.dim), np.float32)
    for start, vectors in _blocks(store, head):
        dataset[start : start + len(vectors)] = vectors


def _blocks(store: Store, head: Head) -> Iterator[tuple[int, Float[np.ndarray, "b e"]]]:
    features_of = FeatureReader(store, head.info.spaces)
    for start in range(0, len(store), ROWS_PER_BLOCK):
        rows = np.arange(start, min(start + ROWS_PER_BLOCK, len(store)))
        yield start, project(head.network, torch.from_numpy(features_of(rows))).numpy()


def _seen(store: Store, head: Head) -> Bool[np.ndarray, " n"]:
    """The rows that this head, or one whose space it takes in, was trained or chosen on.

    In a store without the column that the split goes by there is nothing to tell them by.
    """
    seen = np.zeros(len(store), bool)
    for space in head.info.spaces:
        seen |= store.seen(space.name)
    split = head.info.split
    if (split.column or split.group) in store.columns:
        seen |= np.isin(split.sides(store), ("train", "val"))
    return seen


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


def _space_info(store: Store, head: Head) -> SpaceInfo:
    inputs = [store.space(space.name) for space in head.info.spaces]
    splits = [split for info in inputs for split in load_splits(info.training)]
    modalities: set[Modality] = {info.modality for info in inputs}
    return SpaceInfo(
        kind="dense",
        modality=modalities.pop() if len(modalities) == 1 else "fused",
        spec=f"head:{head.info.kind}({', '.join(space.name for space in head.info.spaces)})",
        fingerprint=head.fingerprint,
        precision="fp32",
        normalized=True,
        dim=head.network.linear.out_features,
        training=dump_splits([*splits, head.info.split]),
    )
