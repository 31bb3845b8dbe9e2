"""Units: runs of consecutive rows, in which a run's work is handed out and given account of."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, UInt8

from embed.sources import Catalogue, Location
from embed.store import HASH_BYTES, Failure

ROWS_PER_UNIT = 256


@dataclass(frozen=True)
class UnitResult:
    """What became of a unit whose vectors are safe: hashes by modality, failures, rows encoded."""

    start: int
    hashes: dict[str, UInt8[np.ndarray, "m 16"]]
    failures: dict[int, Failure]
    num_read: int
    num_encoded: int


@dataclass
class Unit:
    """Consecutive rows of a catalogue, and what is known of them so far.

    Batches never cross from one unit into the next: so which rows share a batch, and with it the
    last bit of their vectors, depends neither on how many workers there are nor on which of them
    takes the unit.
    """

    start: int
    ids: list[str]
    locations: list[Location | None] | None
    titles: list[str] | None
    hashes: dict[str, UInt8[np.ndarray, "m 16"]]
    failures: dict[int, Failure] = field(default_factory=dict)
    num_read: int = 0
    num_encoded: int = 0

    @property
    def result(self) -> UnitResult:
        """What there is to report once every vector of the unit is in a part."""
        return UnitResult(self.start, self.hashes, self.failures, self.num_read, self.num_encoded)


@dataclass
class Outcome:
    """What a run found out of its rows: hashes by modality, failures by row, rows encoded.

    Rows where `passed_over` is True were not read; their hashes are those of the store before.
    """

    hashes: dict[str, UInt8[np.ndarray, "n 16"]]
    failures: dict[int, Failure] = field(default_factory=dict)
    num_encoded: int = 0
    passed_over: Bool[np.ndarray, " n"] | None = None

    def add(self, result: UnitResult) -> None:
        """Take in what became of a unit."""
        for modality, digests in result.hashes.items():
            block = slice(result.start, result.start + len(digests))
            read = slice(None) if self.passed_over is None else ~self.passed_over[block]
            self.hashes[modality][block][read] = digests[read]
        self.failures |= result.failures
        self.num_encoded += result.num_encoded


def blank_hashes(modalities: list[str], num_rows: int) -> dict[str, UInt8[np.ndarray, "n 16"]]:
    """Zeros where the hash of each row is to be noted."""
    return {name: np.zeros((num_rows, HASH_BYTES), np.uint8) for name in modalities}


def rows_per_unit(batch_size: int) -> int:
    """A number of whole batches: few enough rows that workers end at about the same time."""
    return batch_size * max(1, ROWS_PER_UNIT // batch_size)


def unit_starts(num_rows: int, size: int, wanted: Bool[np.ndarray, " n"] | None) -> list[int]:
    """Where the units begin; those without any wanted row are left out."""
    starts = range(0, num_rows, size)
    return [start for start in starts if wanted is None or wanted[start : start + size].any()]


def read_unit(catalogue: Catalogue, start: int, size: int, modalities: list[str]) -> Unit:
    """The rows of a unit, as the source tells of them."""
    stop = min(start + size, len(catalogue))
    with_images = "image" in modalities and catalogue.has_images
    return Unit(
        start,
        catalogue.ids(start, stop),
        catalogue.locations(start, stop) if with_images else None,
        catalogue.titles(start, stop) if "text" in modalities else None,
        blank_hashes(modalities, stop - start),
    )
