"""Tables of features: rows in, features on the device out, from memory or from the mapped store."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor


class FeatureTable(ABC):
    """The features of n rows, float32, wherever they are; rows are counted within the table."""

    num_rows: int
    num_features: int
    device: torch.device

    @abstractmethod
    def rows(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """The features of these rows, in this order, on the device."""

    def batches(
        self, indices: Iterable[Int[Tensor, " b"]]
    ) -> Iterator[tuple[Int[Tensor, " b"], Float[Tensor, "b d"]]]:
        """Each batch of rows with its features, in the order given."""
        for index in indices:
            yield index, self.rows(index)


class ResidentTable(FeatureTable):
    """All features on the device, as one tensor (n, d)."""

    def __init__(self, features: Float[Tensor, "n d"]) -> None:
        self.features = features
        self.num_rows, self.num_features = features.shape
        self.device = features.device

    def rows(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """The features of these rows, in this order."""
        return self.features[index.to(self.device)]
