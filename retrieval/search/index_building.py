"""From a store to the file of an index."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from embed.files import refuse_existing
from embed.rows import Where
from embed.store import Store
from retrieval.choosing import chosen_rows, refuse_large_k
from retrieval.search.approximate import IndexInfo, IndexSettings, approximate_index
from retrieval.search.index_files import index_path, refuse_index_suffix, save_index
from retrieval.search.plans import MEMORY_BYTES
from retrieval.search.sides import StoreRows


@dataclass(frozen=True)
class BuildSettings:
    """What to index, and where to keep it.

    Attributes:
        index: the space, the method and the recall.
        output: the file; None takes one beside the store.
        where: restrictions of the rows that the index holds.
        unseen_by: spaces whose heads must not have seen these rows.
        memory_bytes, device: what the searches that measure it may hold, the index itself aside,
            and where their products are made: see `find_neighbours`.
        force: replace the output if it exists.
    """

    index: IndexSettings
    output: Path | None = None
    where: tuple[Where, ...] = ()
    unseen_by: tuple[str, ...] = ()
    memory_bytes: int = MEMORY_BYTES
    device: str = "auto"
    force: bool = False


@dataclass(frozen=True)
class BuildSummary:
    """What was built: its file, the file's size, the time it took (measuring included)."""

    path: str
    num_bytes: int
    build_seconds: float
    info: IndexInfo
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Every field."""
        return {
            "path": self.path,
            "num_bytes": self.num_bytes,
            "build_seconds": self.build_seconds,
            **self.info.to_json(),
            "warnings": list(self.warnings),
        }


def build(store: Store, settings: BuildSettings) -> BuildSummary:
    """Build the index of a space and write it to a file, with the recall that was measured.

    Raises:
        OutputExistsError: the output exists and `force` was not given.
        StoreError: there is no such space or column, it is not dense, or a vector is not finite, or
            zero.
        SelectionError: fewer than 2 rows are selected.
        SettingsError: a setting out of its range, too few rows for the method, or an output that
            is no .faiss file.
    """
    wanted = settings.index
    path = settings.output or index_path(store.path, wanted.space, wanted.method)
    refuse_index_suffix(path)
    refuse_existing(path, force=settings.force)
    started = perf_counter()
    gallery = StoreRows(store, chosen_rows(store, settings.where, settings.unseen_by))
    refuse_large_k(wanted.k, len(gallery))
    index = approximate_index(
        gallery, wanted, memory_bytes=settings.memory_bytes, device=settings.device
    )
    save_index(index, path, force=settings.force)
    seconds, info = perf_counter() - started, index.info
    return BuildSummary(str(path), path.stat().st_size, seconds, info, _warnings(info))


def _warnings(info: IndexInfo) -> tuple[str, ...]:
    warnings = []
    if info.recall < info.target_recall:
        warnings.append(
            f"recall {info.recall:.4f} is what {info.method} reaches here, below "
            f"{info.target_recall:g}: take another --method, such as hnsw or ivf-flat"
        )
    if info.seconds_per_query >= info.exact_seconds_per_query:
        warnings.append(
            f"the index is no quicker than an exact search of these {info.num_rows:,} rows, as it "
            f"was measured: search without it, or take another --method or a lower --recall"
        )
    return tuple(warnings)
