"""Applying a head: its vectors for every item of a store become a space of that store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from embed.errors import OutputExistsError
from embed.rows import dump_splits, load_splits
from embed.store import Modality, SpaceInfo, Store, StoreWriter
from heads.features import check_references, load_features
from heads.head import Head, load_head
from heads.projection import project

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
        FingerprintError: the store's spaces are not those that the head was trained on.
        OutputExistsError: there is such a space, or `output`, already, and not `force`.
    """
    head = load_head(head_path)
    name, target = name or head_path.stem, output or store_path
    with Store(store_path) as store:
        _refuse_existing(store, name, target, force=force)
        check_references(store, head.info.spaces)
        info = _space_info(store, head)
        with StoreWriter(target, command, store.versions) as writer:
            writer.copy_items(store)
            for other in store.spaces:
                if other != name:
                    writer.copy_space(store, other)
            dataset = writer.create_array(name, info, (len(store), info.dim), np.float32)
            for start, vectors in _blocks(store, head):
                dataset[start : start + len(vectors)] = vectors
        return Applied(target, name, info, len(store))


def _blocks(store: Store, head: Head) -> Iterator[tuple[int, Float[np.ndarray, "b e"]]]:
    for start in range(0, len(store), ROWS_PER_BLOCK):
        rows = np.arange(start, min(start + ROWS_PER_BLOCK, len(store)))
        features = load_features(store, head.info.spaces, rows)
        yield start, project(head.network, torch.from_numpy(features)).numpy()


def _refuse_existing(store: Store, name: str, target: Path, *, force: bool) -> None:
    if force:
        return
    if target != store.path and target.exists():
        raise OutputExistsError(f"{target} exists already: give another name, or --force")
    if name in store.spaces:
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
