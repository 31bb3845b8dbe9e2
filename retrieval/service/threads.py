"""Threads for work of numpy and torch: as many as there are cores, each of them by itself.

Requests run side by side in many threads. If each of them spread its products over all cores, as
these libraries do by themselves, they would wait for one another most of the time.
"""

from concurrent.futures import ThreadPoolExecutor

from embed.devices import num_cores


def core_threads(name: str) -> ThreadPoolExecutor:
    """A pool of one thread a core, which uses no further ones."""
    return ThreadPoolExecutor(num_cores(), name, keep_to_one_thread)


def keep_to_one_thread() -> None:
    """Do all work that this thread begins in this thread."""
    import faiss
    import torch  # takes seconds, which the start of the service need not wait for

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)


def use_all_cores() -> None:
    """Spread the work that this thread begins over all cores."""
    import torch

    torch.set_num_threads(num_cores())
