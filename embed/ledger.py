"""What of a catalogue is encoded already, and where its vectors lie: in the store or in a part."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt8

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
        ids: Sequence[str],
        spaces: Mapping[str, SpaceInfo],
        expected: Mapping[str, UInt8[np.ndarray, "n 16"]] | None = None,
    ) -> None:
        self._row_of = {item_id: row for row, item_id in enumerate(ids)}
        self._spaces = spaces
        self._expected = expected or {}
        num_rows = len(ids)
        self.part_names: list[str] = []
        self.other_parts: dict[str, set[str]] = {}
        self._holder = {name: np.full(num_rows, NOWHERE, np.int32) for name in spaces}
        self._place = {name: np.zeros(num_rows, np.int64) for name in spaces}
        self._hash = {name: np.zeros((num_rows, HASH_BYTES), np.uint8) for name in spaces}

    def add_store(self, store: Store) -> None:
        """Count in the vectors of a sealed store."""
        for name, info in self._spaces.items():
            if name in store.spaces and store.spaces[name].fingerprint == info.fingerprint:
                places = np.arange(len(store))
                hashes = store.modality_hash(info.modality)
                self._add(name, IN_STORE, store.ids.tolist(), places, hashes)

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
            for name, info in self._spaces.items():
                encoded = part.spaces.get(name)
                if encoded is not None and encoded.fingerprint == info.fingerprint:
                    ids = [part.ids[row] for row in encoded.rows]
                    hashes = part.hashes[info.modality][encoded.rows]
                    places = np.arange(len(ids))
                    self._add(name, len(self.part_names), ids, places, hashes)

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
        ids: Sequence[str],
        places: Int[np.ndarray, " m"],
        hashes: UInt8[np.ndarray, "m 16"],
    ) -> None:
        rows = np.array([self._row_of.get(item_id, -1) for item_id in ids], np.int64)
        known = rows >= 0
        expected = self._expected.get(self._spaces[space].modality)
        if expected is not None:
            known &= (expected[rows] == hashes).all(axis=1)
        self._holder[space][rows[known]] = holder
        self._place[space][rows[known]] = places[known]
        self._hash[space][rows[known]] = hashes[known]
