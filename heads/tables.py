"""Tables of features: rows in, features on the device out, from memory or from the mapped store.

Both kinds give the same numbers for the same rows, so what is trained on them is the same.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from heads.features import FeatureReader
from heads.memory import free_bytes

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
    (table,) = open_tables(reader, (rows,), device, max_bytes)
    return table


def open_tables(
    reader: FeatureReader,
    sides: Sequence[Int[np.ndarray, " _"]],
    device: torch.device,
    max_bytes: int | None = None,
) -> list[FeatureTable]:
    """A table for each of these lists of items, under one bound: the first ones come first.

    A list that does not fit into what those before it leave is streamed.
    """
    left = free_bytes(device) * SHARE_OF_MEMORY if max_bytes is None else max_bytes
    tables: list[FeatureTable] = []
    for rows in sides:
        num_bytes = len(rows) * reader.num_features * 4
        if num_bytes > left:
            tables.append(StreamedTable(reader, rows, device))
        else:
            tables.append(_resident(reader, rows, device))
            left -= num_bytes
    return tables


def _resident(
    reader: FeatureReader, rows: Int[np.ndarray, " n"], device: torch.device
) -> ResidentTable:
    features = torch.empty(len(rows), reader.num_features, device=device)
    for start in range(0, len(rows), ROWS_PER_READ):
        block = torch.from_numpy(reader(rows[start : start + ROWS_PER_READ]))
        features[start : start + len(block)] = block  # never whole on the host, if that is another
    return ResidentTable(features)
