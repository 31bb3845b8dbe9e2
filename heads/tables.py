"""Tables of features: rows in, features on the device out, from memory or from the mapped store.

Both kinds give the same numbers for the same rows, so what is trained on them is the same.
"""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from heads.features import FeatureReader

ROWS_PER_READ = 8192
BATCHES_AHEAD = 2
SHARE_OF_MEMORY = 0.5


class FeatureTable(ABC):
    """The features of n rows, float32, wherever they are; rows are counted within the table."""

    num_rows: int
    num_features: int
    device: torch.device

    @abstractmethod
    def rows(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """The features of these rows, in this order, on the device."""

    def batches(
        self, indices: Iterable[Int[Tensor, " _"]]
    ) -> Iterator[tuple[Int[Tensor, " _"], Float[Tensor, "_ d"]]]:
        """Each batch of rows with its features, in the order given."""
        for index in indices:
            yield index, self.rows(index)

    def blocks(self) -> Iterator[tuple[Int[Tensor, " _"], Float[Tensor, "_ d"]]]:
        """All rows in their order, a block at a time."""
        return self.batches(torch.split(torch.arange(self.num_rows), ROWS_PER_READ))


class ResidentTable(FeatureTable):
    """All features on the device, as one tensor (n, d)."""

    def __init__(self, features: Float[Tensor, "n d"]) -> None:
        self.features = features
        self.num_rows, self.num_features = features.shape
        self.device = features.device

    def rows(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """The features of these rows, in this order."""
        return self.features[index.to(self.device)]


class StreamedTable(FeatureTable):
    """Features that are read from the mapped store when they are wanted, a few batches ahead."""

    def __init__(
        self, reader: FeatureReader, rows: Int[np.ndarray, " n"], device: torch.device
    ) -> None:
        self._reader, self._rows = reader, rows
        self.num_rows, self.num_features = len(rows), reader.num_features
        self.device = device

    def rows(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """The features of these rows, in this order."""
        return self._read(index).to(self.device)

    def batches(
        self, indices: Iterable[Int[Tensor, " _"]]
    ) -> Iterator[tuple[Int[Tensor, " _"], Float[Tensor, "_ d"]]]:
        """Each batch with its features; a thread reads those that come next."""
        waiting = iter(indices)
        with ThreadPoolExecutor(1) as thread:
            ahead: deque[tuple[Tensor, Future[Tensor]]] = deque()
            for index in islice(waiting, BATCHES_AHEAD):
                ahead.append((index, thread.submit(self._read, index)))
            while ahead:
                index, read = ahead.popleft()
                features = read.result().to(self.device, non_blocking=True)
                for following in islice(waiting, 1):
                    ahead.append((following, thread.submit(self._read, following)))
                yield index, features

    def _read(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        # In the order of the file, which a disk gives faster, and then back.
        wanted = self._rows[index.cpu().numpy()]
        order = np.argsort(wanted, kind="stable")
        features = torch.empty(
            (len(wanted), self.num_features), pin_memory=self.device.type == "cuda"
        )
        features.numpy()[order] = self._reader(wanted[order])
        return features


def open_table(
    reader: FeatureReader,
    rows: Int[np.ndarray, " n"],
    device: torch.device,
    max_bytes: int | None = None,
) -> FeatureTable:
    """The features of these items: resident where they fit into `max_bytes`, otherwise streamed.

    Without a bound, they may take half of the device's free memory.
    """
    num_bytes = len(rows) * reader.num_features * 4
    if num_bytes > (free_bytes(device) * SHARE_OF_MEMORY if max_bytes is None else max_bytes):
        return StreamedTable(reader, rows, device)
    features = torch.empty(len(rows), reader.num_features)
    for start in range(0, len(rows), ROWS_PER_READ):
        block = rows[start : start + ROWS_PER_READ]
        features.numpy()[start : start + len(block)] = reader(block)
    return ResidentTable(features.to(device))


def free_bytes(device: torch.device) -> int:
    """Memory of the device that nothing uses now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
