"""Copies that stand on different sides of a column, such as a train photo that val has as well."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int64, Shaped

from embed.errors import SelectionError, SettingsError
from embed.labels import label_texts
from embed.store import Store

NO_SIDE = -1


@dataclass(frozen=True)
class Leak:
    """What two sides have in common.

    `num_pairs` are copies with one item on each of them, `num_items` the items of either that have
    a copy on the other.
    """

    sides: tuple[str, str]
    num_pairs: int
    num_items: tuple[int, int]


@dataclass(frozen=True)
class ItemSides:
    """The side that each of n items stands on: `names[numbers]`, `NO_SIDE` where it is on none."""

    column: str
    names: tuple[str, ...]
    numbers: Int64[np.ndarray, " n"]

    @staticmethod
    def of(store: Store, rows: Int[np.ndarray, " n"], text: str) -> "ItemSides":
        """From COLUMN, each of whose values is a side, or COLUMN=VALUE,VALUE… for those alone.

        Raises:
            StoreError: there is no such column.
            SettingsError: fewer than two values, or one twice.
            SelectionError: the rows do not have them.
        """
        column, equals, listed = text.partition("=")
        values = label_texts(store.column(column)[rows])
        there = {value for value in values if value is not None}
        names = tuple(listed.split(",")) if equals else tuple(sorted(there))
        _refuse_wrong(column, names, there, is_listed=bool(equals))
        number_of = {name: number for number, name in enumerate(names)}
        numbers = [number_of.get(value or "", NO_SIDE) for value in values]
        return ItemSides(column, names, np.array(numbers, np.int64))

    def differ(
        self, one: Int[np.ndarray, " p"], other: Int[np.ndarray, " p"]
    ) -> Bool[np.ndarray, " p"]:
        """True at the pairs that stand on two different sides."""
        ones, others = self.numbers[one], self.numbers[other]
        return np.asarray((ones != others) & (ones != NO_SIDE) & (others != NO_SIDE))

    def names_of(self, items: Int[np.ndarray, " p"]) -> Shaped[np.ndarray, " p"]:
        """The names of the items' sides, None where they stand on none."""
        return np.asarray(np.array([*self.names, None], object)[self.numbers[items]])


class LeakTally:
    """Counts the leaks in blocks of pairs."""

    def __init__(self, sides: ItemSides) -> None:
        self._sides = sides
        self._num_pairs: dict[tuple[int, int], int] = {}
        self._leaking = np.zeros(0, np.int64)  # item · number of sides + the side of its copy

    def add(self, one: Int[np.ndarray, " p"], other: Int[np.ndarray, " p"]) -> None:
        """Count pairs, each once, all on different sides."""
        num_sides, numbers = len(self._sides.names), self._sides.numbers
        sides = np.sort(np.stack([numbers[one], numbers[other]]), axis=0)
        for pair, count in zip(
            *np.unique(sides[0] * num_sides + sides[1], return_counts=True), strict=True
        ):
            key = divmod(int(pair), num_sides)
            self._num_pairs[key] = self._num_pairs.get(key, 0) + int(count)
        keys = [one * num_sides + numbers[other], other * num_sides + numbers[one]]
        self._leaking = np.union1d(self._leaking, np.concatenate(keys))

    def leaks(self) -> tuple[Leak, ...]:
        """Every two sides that have something in common, in the order of their names."""
        items, copy_sides = np.divmod(self._leaking, len(self._sides.names))
        sides = self._sides.numbers[items]
        names = self._sides.names
        return tuple(
            Leak(
                (names[one], names[other]),
                num_pairs,
                (
                    int(((sides == one) & (copy_sides == other)).sum()),
                    int(((sides == other) & (copy_sides == one)).sum()),
                ),
            )
            for (one, other), num_pairs in sorted(self._num_pairs.items())
        )


def _refuse_wrong(column: str, names: tuple[str, ...], there: set[str], *, is_listed: bool) -> None:
    if is_listed and (len(names) < 2 or len(set(names)) < len(names) or "" in names):
        raise SettingsError(
            f"--leaks takes COLUMN or COLUMN=VALUE,VALUE with two different values or more, such "
            f"as split=train,val: found {column}={','.join(names)}"
        )
    missing = [name for name in names if name not in there]
    if missing or len(names) < 2:
        shown = ", ".join(sorted(there)[:5]) + (", …" if len(there) > 5 else "")
        wanted = f"no row has '{missing[0]}'" if missing else "leaks are between two values"
        raise SelectionError(
            f"--leaks {column}: {wanted}; the column's values are {shown or 'all empty'}"
        )
