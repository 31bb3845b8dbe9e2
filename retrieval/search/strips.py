"""Queries in strips against a rounded gallery, by threads that need not wait for one another.

Each thread takes a strip through all steps on one core. Libraries that share out single products
among cores make all of them wait at the end of each, which costs most where other programs use the
cores too.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import faiss
import numpy as np
import torch
from jaxtyping import BFloat16, Float32
from torch import Tensor

from retrieval.search.exact import best_in_gallery, scores_of_pairs
from retrieval.search.plans import Plan
from retrieval.search.ranking import Neighbours, joined, ranked_pairs, replace_rows
from retrieval.search.shortlist import RoundedGallery


def best_by_shortlist(
    queries: Float32[np.ndarray, "q d"],
    gallery: Float32[np.ndarray, "g d"],
    rounded: RoundedGallery,
    k: int,
    floors: Float32[np.ndarray, " q"],
    plan: Plan,
) -> Neighbours:
    """The rows among the k best of a gallery that reach the floor of their query, exactly.

    By score descending, ties by row ascending, `NO_ROW` where fewer reach it. `floors` are scores
    that are known to be reached k times elsewhere, or −inf; vectors are L2-normalised or zero.
    """
    assert plan.shortlists is not None
    strip_rows = plan.shortlists.strip_rows

    def best_of_strip(start: int) -> Neighbours:
        at = slice(start, start + strip_rows)
        with _taken(scratches) as scratch:
            listed = rounded.shortlist(queries[at], k, floors[at], scratch)
        scores = scores_of_pairs(queries[at], gallery, listed.queries, listed.rows)
        found = ranked_pairs(listed.queries, listed.rows, scores, len(queries[at]), k)
        unproved = np.flatnonzero(listed.is_unproved)
        if len(unproved):
            vectors = queries[at][unproved]
            exact = best_in_gallery(vectors, gallery, k, num_cells=plan.num_cells)
            replace_rows(found, unproved, exact)
        return found

    strips = range(0, len(queries), strip_rows)
    num_workers = min(plan.shortlists.num_workers, len(strips))
    scratches: SimpleQueue[BFloat16[Tensor, " cells"]] = SimpleQueue()
    for _ in range(num_workers):
        scratches.put(rounded.scratch(min(strip_rows, len(queries))))
    with _one_core_each(num_workers) as pool:
        return joined(list(pool.map(best_of_strip, strips)))


@contextmanager
def _taken(
    scratches: "SimpleQueue[BFloat16[Tensor, ' cells']]",
) -> Iterator[BFloat16[Tensor, " cells"]]:
    scratch = scratches.get()
    try:
        yield scratch
    finally:
        scratches.put(scratch)


@contextmanager
def _one_core_each(num_workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads in which torch and FAISS use one core each; elsewhere they use those they had."""
    num_threads = torch.get_num_threads()
    matmul = torch.backends.cuda.matmul
    reduced = matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_bf16_reduced_precision_reduction = False  # sums in bf16 would void the proof
    try:
        with ThreadPoolExecutor(num_workers, initializer=_use_one_core) as pool:
            yield pool
    finally:
        matmul.allow_bf16_reduced_precision_reduction = reduced
        torch.set_num_threads(num_threads)  # for threads that start later


def _use_one_core() -> None:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
