"""Who encodes the units of a run: this process, or (`worker_processes`) one for each device."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from embed.devices import choose_device
from embed.encoders.batches import find_batch_size
from embed.encoders.registry import load_encoders
from embed.encoders.specs import EncoderSpec
from embed.ids import IdIndex
from embed.ledger import Ledger
from embed.parts import PartsFolder
from embed.pipeline import Flow, Job, Report, encode_units
from embed.progress import Advance
from embed.sources import Catalogue, Fetcher, FetchSettings
from embed.store import SpaceInfo, Store
from embed.units import rows_per_unit

READERS_OF_REMOTE_IMAGES = 32


@dataclass(frozen=True)
class Order:
    """What every worker of a run is told. It crosses to other processes."""

    spool: Path
    store: Path
    specs: tuple[EncoderSpec, ...]
    modalities: list[str]
    precision: str
    batch_size: int | None
    num_readers: int | None
    max_pixels: int
    fetch: FetchSettings
    wanted: Bool[np.ndarray, " n"] | None = None


class Workers(ABC):
    """Those who encode: what they make is known from the start, what they did is reported.

    `batch_size` is what they would choose; `warnings` tells of those that had to be started again.
    """

    infos: dict[str, SpaceInfo]
    batch_size: int
    warnings: list[str]

    @abstractmethod
    def encode(
        self, starts: Sequence[int], batch_size: int, report: Report, advance: Advance
    ) -> None:
        """Encode the units that begin at `starts`; `report` may be called from another thread."""

    @abstractmethod
    def stop(self) -> None:
        """End what is still at work."""


class OwnProcess(Workers):
    """Encodes here."""

    def __init__(self, order: Order, device: str, cores: int) -> None:
        self._order, self._cores = order, cores
        self.warnings = []
        self.encoders = load_encoders(order.specs, device, order.precision)
        uses_device = any(encoder.uses_device for encoder in self.encoders.per_item)
        self.device = str(choose_device(device)) if uses_device else "cpu"
        self._is_cuda = self.device.startswith("cuda")
        self.infos = {encoder.name: encoder.info for encoder in self.encoders.per_item}
        self.batch_size = order.batch_size or find_batch_size(self.encoders, self.device)

    def encode(
        self,
        starts: Iterator[int] | Sequence[int],
        batch_size: int,
        report: Report,
        advance: Advance,
    ) -> None:
        """Encode the units, as `Workers.encode` does."""
        encode_units(self._job(batch_size), starts, report, advance)

    def stop(self) -> None:
        """Nothing is left at work."""

    def _job(self, batch_size: int) -> Job:
        order = self._order
        catalogue = Catalogue.open(order.spool)
        parts = PartsFolder(order.store)
        ledger = Ledger(IdIndex(catalogue.id_blocks()), self.infos)
        if order.store.exists():
            with Store(order.store) as old:
                ledger.add_store(old)
        ledger.add_parts(parts)
        return Job(
            catalogue,
            Fetcher(catalogue.roots, order.fetch),
            self.encoders,
            order.modalities,
            ledger,
            parts,
            self.flow(catalogue, batch_size),
            order.wanted,
        )

    def flow(self, catalogue: Catalogue, batch_size: int) -> Flow:
        """How wide the stream is: by the device, the cores, and where the images are."""
        readers = READERS_OF_REMOTE_IMAGES if catalogue.is_remote else self._cores
        shares_cores = not self._is_cuda and any(e.is_parallel for e in self.encoders.image)
        return Flow(
            batch_size,
            rows_per_unit(batch_size),
            self._order.num_readers or readers,
            takes_turns=shares_cores and not catalogue.is_remote,
            in_flight=2 if self._is_cuda else 0,
            max_pixels=self._order.max_pixels,
        )
