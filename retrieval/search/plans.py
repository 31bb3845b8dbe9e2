"""How a dense or a binary search shares out its memory, and where products are made."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embed.devices import choose_device, has_bf16_units, num_cores
from embed.errors import SettingsError
from retrieval.search.ranking import SLACK

if TYPE_CHECKING:
    import torch

MEMORY_BYTES = 2**31
"""What a search holds by default: 2 GiB."""

QUERY_ROWS = 2**14
"""Queries at a time where the whole gallery is held."""

STRIP_ROWS = {"cpu": 512, "cuda": 2048}
LEAST_STRIP_ROWS = 256
"""Queries whose products with a block of the gallery are held at once, by each worker: fewer would
multiply more slowly, so rather the block is smaller."""

MOST_WORKERS = {"cpu": 16, "cuda": 8}
"""Threads that take strips; beside a GPU they score what it proposes."""

DOUBTFUL_CELLS = 2**20
LEAST_GALLERY_ROWS, LEAST_QUERY_ROWS = 64, 16

# Bytes, counted high: of a candidate from its row and score until it is ranked; of a float32
# product that becomes one; of one in bf16, which mostly does not; of one that lies on a GPU.
CANDIDATE_BYTES, CELL_BYTES, BF16_CELL_BYTES, LISTED_CELL_BYTES = 112, 56, 8, 1

FAISS_GALLERY_ROWS = 1024
"""FAISS multiplies queries with so many rows of the gallery at a time."""

COUNTER_BYTES, COUNTED_QUERIES = 2**22, 32
"""Candidates that FAISS counts at once by their distance: few enough for the cache, but of so many
queries that all cores have work."""

WORTH_A_SHORTLIST = 2 * 10**9
WORTH_AN_IMPORT = 2 * 10**12
"""Multiplications from which bf16 pays: where torch is there already, and where it is not.

On two cores with AVX512_BF16 it saves 1.2 s of every 10¹² multiplications (384 dimensions), and
to import torch takes 2 s.
"""


@dataclass(frozen=True)
class Join:
    """The size of a dense search: its queries, the gallery, their dimensions, and k."""

    num_queries: int
    num_gallery: int
    dim: int
    k: int


@dataclass(frozen=True)
class Shortlists:
    """Where shortlists are made, of how many queries at a time, and by how many threads."""

    device: "torch.device"
    strip_rows: int
    num_workers: int


@dataclass(frozen=True)
class Plan:
    """How much of a search is held at once.

    Attributes:
        gallery_rows: unit vectors of the gallery, with their bf16 copies where there are some.
        query_rows: queries of a block, with their vectors and results.
        num_cells: float32 scores, where an exact search has to look twice.
        shortlists: how products in bf16 propose candidates; None: FAISS does, in float32.
    """

    gallery_rows: int
    query_rows: int
    num_cells: int
    shortlists: Shortlists | None = None


def plan_search(join: Join, memory_bytes: int, device: str) -> Plan:
    """Half of the memory for the gallery, a quarter for queries, a quarter for scores.

    Raises:
        SettingsError: it is too little for the smallest blocks (the message says the least), or
            there is no such device.
    """
    plan = plan_in_float32(join, memory_bytes)
    where = _device_of_products(device, join)
    return plan if where is None else _plan_in_bf16(join, memory_bytes, where) or plan


def refuse_too_little(least_bytes: int, memory_bytes: int) -> None:
    """Raise SettingsError where the memory is less than the least that a search needs."""
    if memory_bytes < least_bytes:
        raise SettingsError(
            f"this search needs a memory of at least {least_bytes:,} bytes: found "
            f"{memory_bytes:,}; give a larger --memory"
        )


@dataclass(frozen=True)
class BinaryPlan:
    """How much of a search among codes is held at once.

    Attributes:
        gallery_rows: codes of the gallery.
        query_rows: queries of a block, with their results.
        query_strip: queries whose candidates are counted at once.
    """

    gallery_rows: int
    query_rows: int
    query_strip: int


def plan_binary(
    num_queries: int, num_gallery: int, code_bytes: int, k: int, memory_bytes: int
) -> BinaryPlan:
    """Half of the memory for the gallery, a quarter for results, a quarter for candidates.

    Raises:
        SettingsError: it is too little for the smallest blocks; the message says the least.
    """
    counter_bytes = (8 * code_bytes + 1) * (8 * k + 4)  # FAISS lists k rows for each distance
    strip_bytes = counter_bytes + CANDIDATE_BYTES * k + code_bytes
    result_bytes = CANDIDATE_BYTES * k
    least_gallery = min(LEAST_GALLERY_ROWS, num_gallery)
    least_queries = min(LEAST_QUERY_ROWS, num_queries)
    least = max(2 * least_gallery * code_bytes, 4 * strip_bytes, 4 * least_queries * result_bytes)
    refuse_too_little(least, memory_bytes)
    gallery_rows = min(num_gallery, memory_bytes // (2 * code_bytes))
    query_rows = min(num_queries, memory_bytes // (4 * result_bytes))
    return BinaryPlan(
        gallery_rows,
        min(query_rows, QUERY_ROWS) if gallery_rows == num_gallery else query_rows,
        min(
            memory_bytes // (4 * strip_bytes), max(COUNTED_QUERIES, COUNTER_BYTES // counter_bytes)
        ),
    )


def plan_in_float32(join: Join, memory_bytes: int = MEMORY_BYTES) -> Plan:
    """The plan of any machine: FAISS proposes.

    Raises:
        SettingsError: the memory is too little for the smallest blocks; the message says the least.
    """
    query_bytes = _query_bytes(join)
    row_bytes = max(2 * 4 * join.dim, 4 * CELL_BYTES)
    gallery_rows, query_rows = memory_bytes // row_bytes, memory_bytes // (4 * query_bytes)
    least_gallery = min(LEAST_GALLERY_ROWS, join.num_gallery)
    least_queries = min(LEAST_QUERY_ROWS, join.num_queries)
    if gallery_rows < least_gallery or query_rows < least_queries:
        least = max(least_gallery * row_bytes, 4 * least_queries * query_bytes)
        raise SettingsError(
            f"a search in {join.dim:,} dimensions with k = {join.k:,} needs a memory of at least "
            f"{least:,} bytes: found {memory_bytes:,}; give a larger --memory"
        )
    gallery_rows = _even_rows(join, gallery_rows)
    num_cells = min(DOUBTFUL_CELLS, memory_bytes // (4 * CELL_BYTES))
    return Plan(gallery_rows, _query_rows(join, gallery_rows, query_rows), num_cells)


def _plan_in_bf16(join: Join, memory_bytes: int, device: "torch.device") -> Plan | None:
    """None where blocks would be too small for shortlists."""
    from retrieval.search.shortlist import ROWS_FOR_EACH_NEIGHBOUR, TILE_ROWS

    num_workers = min(num_cores(), MOST_WORKERS[device.type])
    num_bytes = memory_bytes // (4 * num_workers)  # of scores, by each worker
    cell_bytes = BF16_CELL_BYTES if device.type == "cpu" else LISTED_CELL_BYTES
    gallery_rows = _even_rows(
        join,
        min(
            memory_bytes // (2 * (4 + 2) * join.dim) - TILE_ROWS,
            num_bytes // (LEAST_STRIP_ROWS * cell_bytes),
        ),
    )
    if gallery_rows < max(ROWS_FOR_EACH_NEIGHBOUR * join.k, TILE_ROWS):
        return None
    strip_rows = min(STRIP_ROWS[device.type], num_bytes // (cell_bytes * gallery_rows))
    query_rows = _query_rows(join, gallery_rows, memory_bytes // (4 * _query_bytes(join)))
    num_cells = min(DOUBTFUL_CELLS, num_bytes // CELL_BYTES)
    return Plan(gallery_rows, query_rows, num_cells, Shortlists(device, strip_rows, num_workers))


def _device_of_products(name: str, join: Join) -> "torch.device | None":
    """Where products in bf16 are worth making; None where FAISS is the better way.

    `auto` and `cpu` ask whether the search is large enough and the hardware multiplies bf16; a GPU
    that is named is used.
    """
    worth = WORTH_A_SHORTLIST if "torch" in sys.modules else WORTH_AN_IMPORT
    if name in ("auto", "cpu") and join.num_queries * join.num_gallery * join.dim < worth:
        return None
    device = choose_device(name)
    if device.type == "cpu":
        return device if has_bf16_units() else None
    import torch

    return device if torch.cuda.is_bf16_supported(including_emulation=False) else None


def _query_bytes(join: Join) -> int:
    of_faiss = 4 * min(FAISS_GALLERY_ROWS, join.num_gallery)
    return 6 * join.dim + CANDIDATE_BYTES * (join.k + SLACK) + of_faiss


def _even_rows(join: Join, rows: int) -> int:
    """No more than `rows` of the gallery at a time, so that blocks are as even as they come."""
    num_blocks = -(-join.num_gallery // max(1, rows))
    return -(-join.num_gallery // num_blocks)


def _query_rows(join: Join, gallery_rows: int, rows: int) -> int:
    """Few at a time where the whole gallery is held: their results come sooner."""
    is_whole = gallery_rows >= join.num_gallery
    return min(rows, join.num_queries, QUERY_ROWS if is_whole else rows)
