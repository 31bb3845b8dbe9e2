"""Neighbours into a file: found exactly, by an index, or with refinements."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polars.exceptions import PolarsError

from embed.errors import SettingsError
from embed.files import refuse_existing, replacing
from embed.store import Store
from retrieval.choosing import Chosen, refuse_large_k
from retrieval.finding import NO_REFINEMENTS, Finding, iterate_found
from retrieval.refining.refinements import Refinements
from retrieval.search.approximate import DEFAULT_K, ids_digest
from retrieval.search.index_files import load_index
from retrieval.search.neighbour_files import (
    NeighboursInfo,
    fingerprints,
    refuse_neighbours_suffix,
    write_pairs,
)
from retrieval.search.plans import MEMORY_BYTES
from retrieval.search.sides import Sides


@dataclass(frozen=True, kw_only=True)
class ListingSettings(Chosen):
    """Whose neighbours are written, and how they are found.

    Attributes:
        output: a .parquet or .csv file.
        spaces: one space, or several, whose mean score counts; dense ones for refinements.
        k: neighbours of each item, itself included, where items look among one another; where
            queries look among a gallery, neighbours of each query. None takes 50, or all where
            there are fewer.
        refinements: what is done beyond the plain search.
        index: a file of an index of the gallery, which makes the search approximate.
        memory_bytes, device: what a search may hold, and where products are made: see
            `find_neighbours`.
        shows_progress: as in `Finding`.
        force: replace the output if it exists.
    """

    output: Path
    spaces: tuple[str, ...]
    k: int | None = None
    refinements: Refinements = NO_REFINEMENTS
    index: Path | None = None
    memory_bytes: int = MEMORY_BYTES
    device: str = "auto"
    shows_progress: bool = False
    force: bool = False


@dataclass(frozen=True)
class ListingSummary:
    """What was written: `num_pairs` lines, and what the file says of itself."""

    path: str
    num_pairs: int
    info: NeighboursInfo

    def to_json(self) -> dict[str, Any]:
        """Every field."""
        return {"path": self.path, "num_pairs": self.num_pairs, **self.info.to_json()}


def list_neighbours(
    store: Store, settings: ListingSettings, gallery_store: Store | None = None
) -> ListingSummary:
    """Write the neighbours of each item to a table: id, neighbour_id, rank from 1, score.

    An item is not listed as its own neighbour. Where neither index nor refinements are asked for,
    only a block of items is in memory at a time, beside the vectors.

    Args:
        store: whose items look for neighbours.
        settings: how they do.
        gallery_store: whose items they look among, where it is another store.

    Raises:
        OutputExistsError: the output exists and `force` was not given.
        StoreError: there is no such space or column, or a vector is not finite or, in a dense
            space, zero.
        FingerprintError: the two stores hold vectors of different encoders.
        NeighboursError: the index can't be read, or does not hold the gallery.
        SelectionError: no rows are left on one side.
        SettingsError: an output that is neither .parquet nor .csv, k that is too low, or an index
            together with refinements or several spaces.
    """
    refuse_neighbours_suffix(settings.output)
    refuse_existing(settings.output, force=settings.force)
    sides = settings.sides(store, gallery_store)
    k = _columns(sides, settings.k)
    finding = Finding(
        settings.memory_bytes,
        settings.refinements,
        settings.index,
        device=settings.device,
        shows_progress=settings.shows_progress,
    )
    info = _info(sides, settings, k)
    blocks = iterate_found(sides, dict.fromkeys(settings.spaces, 1.0), k, finding)
    with replacing(settings.output, PolarsError) as path:
        num_pairs = write_pairs(path, sides, blocks, info)
    return ListingSummary(str(settings.output), num_pairs, info)


def _columns(sides: Sides, asked: int | None) -> int:
    """The k of the search: the item itself counts, though a query outside has no column of it."""
    refuse_large_k(asked, len(sides.gallery))
    k = DEFAULT_K if asked is None else asked
    least = 2 if sides.is_self_join else 1
    if k < least:
        raise SettingsError(
            f"--k should be at least {least} "
            f"({'the item itself counts' if sides.is_self_join else 'neighbours in the gallery'}): "
            f"found {k}"
        )
    k = k if sides.is_self_join else k + 1
    return min(k, 1 + len(sides.gallery) - int((sides.own >= 0).all()))


def _info(sides: Sides, settings: ListingSettings, k: int) -> NeighboursInfo:
    info = NeighboursInfo(
        spaces=fingerprints(sides.gallery, settings.spaces),
        k=k,
        num_queries=len(sides.queries),
        num_gallery=len(sides.gallery),
        query_ids=ids_digest(sides.queries),
        gallery_ids=ids_digest(sides.gallery),
        where=tuple(map(str, settings.where)),
        query_where=tuple(map(str, settings.query_where)),
        gallery_where=tuple(map(str, settings.gallery_where)),
        unseen_by=settings.unseen_by,
        refinements=settings.refinements.to_json(),
    )
    if settings.index is None:
        return info
    index = load_index(settings.index)
    measured = index.info
    return replace(info, method=measured.method, recall=measured.recall, recall_k=measured.k)
