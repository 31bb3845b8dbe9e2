"""What of a catalogue is encoded already, and where its vectors lie: in the store or in a part."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Int, UInt8

from embed.ids import ABSENT, IdIndex
from embed.parts import PartsFolder
from embed.store import HASH_BYTES, SpaceInfo, Store

NOWHERE, IN_STORE = -1, 0


class Ledger:
    """For each space and each row: which file holds its vector, and of which bytes it was made.

    Rows are joined by id. Vectors of another fingerprint do not count nor, where it is known what
    the rows should be made of (`expected`, by modality), those of other bytes. Holder 0 is the
    store, the others are parts; of several files with a row, the one written last holds it.
    """

    def __init__(
        self,
        index: IdIndex,
        spaces: Mapping[str, SpaceInfo],
        expected: Mapping[str, UInt8[np.ndarray, "n 16"]] | None = None,
    ) -> None:
        self._index = index
        self._spaces = spaces
        self._expected = expected or {}
        num_rows = len(index)
        self.part_names: list[str] = []
        self.other_parts: dict[str, set[str]] = {}
        self._holder = {name: np.full(num_rows, NOWHERE, np.int32) for name in spaces}
        self._place = {name: np.zeros(num_rows, np.int64) for name in spaces}
        self._hash = {name: np.zeros((num_rows, HASH_BYTES), np.uint8) for name in spaces}

    def add_store(self, store: Store) -> None:
        """Count in the vectors of a sealed store."""
        known = [
            name
            for name, info in self._spaces.items()
            if name in store.spaces and store.spaces[name].fingerprint == info.fingerprint
        ]
        if not known:
            return
        start = 0
        for ids in store.id_blocks():
            rows, block = self._index.find(ids), slice(start, start + len(ids))
            for name in known:
                hashes = store.modality_hash(self._spaces[name].modality, block)
                self._add(name, IN_STORE, rows, np.arange(block.start, block.stop), hashes)
            start += len(ids)

    def add_parts(self, folder: PartsFolder) -> None:
        """Count in every whole part of the folder.

        `other_parts` notes those that hold spaces which this ledger does not know.
        """
        for part_name in folder.names():
            part = folder.read(part_name)
            if part is None:
                continue
            self.part_names.append(part_name)
            if others := set(part.spaces) - set(self._spaces):
                self.other_parts[part_name] = others
            found = self._index.find(part.ids)
            for name, info in self._spaces.items():
                encoded = part.spaces.get(name)
                if encoded is not None and encoded.fingerprint == info.fingerprint:
                    hashes = part.hashes[info.modality][encoded.rows]
                    rows, places = found[encoded.rows], np.arange(len(encoded.rows))
                    self._add(name, len(self.part_names), rows, places, hashes)

    def holds(self, space: str, row: int, digest: bytes) -> bool:
        """Whether a vector made of these bytes is there."""
        known = self._holder[space][row] != NOWHERE
        return bool(known and self._hash[space][row].tobytes() == digest)

    def holds_in_store(self, space: str, row: int, digest: bytes) -> bool:
        """Whether the sealed store has it, so that no run since had to encode it."""
        return bool(self._holder[space][row] == IN_STORE) and self.holds(space, row, digest)

    def missing(self, space: str) -> Bool[np.ndarray, " n"]:
        """True at the rows that no file holds, whatever bytes they were made of."""
        return np.asarray(self._holder[space] == NOWHERE)

    def by_holder(
        self, space: str
    ) -> Iterator[tuple[int, Int[np.ndarray, " m"], Int[np.ndarray, " m"]]]:
        """For each file: its number, the rows that it holds (ascending), and their places in it."""
        holders = self._holder[space]
        order = np.argsort(holders, kind="stable")
        numbers, starts = np.unique(holders[order], return_index=True)
        for number, rows in zip(numbers, np.split(order, starts[1:]), strict=True):
            if number != NOWHERE:
                yield int(number), rows, self._place[space][rows]

    def _add(
        self,
        space: str,
        holder: int,
        rows: Int[np.ndarray, " m"],
        places: Int[np.ndarray, " m"],
        hashes: UInt8[np.ndarray, "m 16"],
    ) -> None:
        known = rows != ABSENT
        expected = self._expected.get(self._spaces[space].modality)
        if expected is not None:
            known &= (expected[rows] == hashes).all(axis=1)
        self._holder[space][rows[known]] = holder
        self._place[space][rows[known]] = places[known]
        self._hash[space][rows[known]] = hashes[known]
