"""Which rows of a store a stage works on: `--where`, splits, and rows that a head has not seen."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped

from embed.errors import SelectionError, SettingsError
from embed.store import Store

Side = Literal["train", "val", "test"]
SIDES: tuple[Side, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Where:
    """A restriction: rows whose column equals a value."""

    column: str
    value: str

    @classmethod
    def parse(cls, text: str) -> "Where":
        """From COLUMN=VALUE.

        Raises:
            SettingsError: there is no `=`, or nothing before it.
        """
        column, equals, value = text.partition("=")
        if not column or not equals:
            raise SettingsError(
                f"--where takes COLUMN=VALUE, found '{text}': try --where kind=photo"
            )
        return cls(column, value)

    def mask(self, store: Store) -> Bool[np.ndarray, " n"]:
        """True at the rows that it keeps; numbers are compared as numbers.

        Raises:
            SelectionError: no row has that value; the message shows some that there are.
        """
        values = store.column(self.column)
        found = np.asarray(values == _as_dtype(self.value, values))
        if not found.any():
            examples = ", ".join(map(str, np.unique(values)[:5]))
            raise SelectionError(
                f"no row of {store.path} has {self.column}={self.value}: "
                f"its values are {examples}, …"
            )
        return np.asarray(found, bool)


def select_rows(store: Store, where: Sequence[Where]) -> Bool[np.ndarray, " n"]:
    """True at the rows that every restriction keeps: all of them where there is none.

    Raises:
        SelectionError: nothing is left.
    """
    mask = np.ones(len(store), bool)
    for restriction in where:
        mask &= restriction.mask(store)
    if not mask.any():
        wanted = " and ".join(f"{w.column}={w.value}" for w in where)
        raise SelectionError(f"no row of {store.path} has {wanted or 'an id'}: nothing is left")
    return mask


@dataclass(frozen=True)
class Split:
    """How rows fall into train, val and test: by a hash of their group, or by a column.

    A group is a value of the column `group` (a product, say). All of its rows fall on one side,
    and on the same one in every run, store and subset, since only the value and the seed count.
    With `stratify` the shares hold within each value of that column, as near as whole groups allow:
    groups are ranked by their hash there, so the side also depends on which others there are.
    With `column` the catalogue's own split is taken: its values are train, val and test.
    """

    group: str
    train: float = 0.8
    val: float = 0.1
    test: float = 0.1
    seed: int = 0
    column: str | None = None
    stratify: str | None = None

    @classmethod
    def parse(
        cls,
        group: str,
        shares: str,
        seed: int = 0,
        column: str | None = None,
        stratify: str | None = None,
    ) -> "Split":
        """From shares such as 80/10/10, in per cent.

        Raises:
            SettingsError: they are not three numbers from 0 that add up to 100.
        """
        try:
            numbers = [float(share) for share in shares.split("/")]
        except ValueError:
            numbers = []
        if len(numbers) != 3 or min(numbers) < 0 or abs(sum(numbers) - 100) > 1e-6:
            raise SettingsError(
                f"--split takes train/val/test in per cent that add up to 100, such as 80/10/10: "
                f"found '{shares}'"
            )
        train, val, test = (number / 100 for number in numbers)
        return cls(group, train, val, test, seed, column, stratify)

    def sides(self, store: Store) -> Shaped[np.ndarray, " n"]:
        """The side of each row: 'train', 'val' or 'test'; '' where its group or side is missing.

        Raises:
            SelectionError: the split column holds none of these values.
        """
        if self.column is not None:
            return self._sides_of_column(store)
        values = store.column(self.group)
        groups, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        positions = np.array([group_position(group, self.seed) for group in groups.tolist()])
        if self.stratify is not None:
            positions = _ranked_within(positions, store.column(self.stratify)[first])
        shares = np.array([self.train, self.train + self.val])
        sides = np.array(SIDES, dtype="<U5")[np.searchsorted(shares, positions, "right")][inverse]
        sides[~has_value(values)] = ""
        return sides

    def _sides_of_column(self, store: Store) -> Shaped[np.ndarray, " n"]:
        values = store.column(self.column or "").astype(str)
        sides = np.where(np.isin(values, SIDES), values, "").astype("<U5")
        if not (sides != "").any():
            examples = ", ".join(np.unique(values)[:5].tolist())
            raise SelectionError(
                f"column '{self.column}' of {store.path} should hold train, val and test: "
                f"found {examples}"
            )
        return sides


def group_position(group: object, seed: int) -> float:
    """Where a group stands between 0 and 1: uniform over groups, the same on every machine.

    7.0 stands where 7 does: a column of integers becomes one of floats when a value is missing.
    """
    if isinstance(group, float) and group.is_integer():
        group = int(group)
    digest = blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()
    return float(int.from_bytes(digest, "big") / 2**64)


def _ranked_within(
    positions: Float64[np.ndarray, " g"], strata: Shaped[np.ndarray, " g"]
) -> Float64[np.ndarray, " g"]:
    """Each group's rank among those of its stratum, as a share from 0 to 1: (rank + ½) / size."""
    members = np.unique(strata, return_inverse=True)[1]
    order = np.lexsort((positions, members))
    sizes = np.bincount(members)
    starts = np.cumsum(sizes) - sizes
    ranks = np.empty(len(positions))
    ranks[order] = np.arange(len(positions)) - starts[members[order]]
    return np.asarray((ranks + 0.5) / sizes[members])


def has_value(values: Shaped[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """False at the rows of a column that are empty strings or NaN."""
    if values.dtype.kind == "f":
        return np.asarray(~np.isnan(values))
    if values.dtype.kind in "OU":
        return np.asarray(values != "", bool)
    return np.ones(len(values), bool)


def codes(values: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """A number for each value, equal for equal values; −1 where the value is missing."""
    numbers = np.unique(values, return_inverse=True)[1].astype(np.int64)
    numbers[~has_value(values)] = -1
    return numbers


def dump_splits(splits: Sequence[Split]) -> str:
    """The splits as the JSON that a space keeps in `SpaceInfo.training`."""
    return json.dumps([asdict(split) for split in splits])


def load_splits(text: str) -> tuple[Split, ...]:
    """The splits of the heads that a space went through, first to last."""
    return tuple(Split(**fields) for fields in json.loads(text))


def unseen_rows(store: Store, space: str) -> Bool[np.ndarray, " n"]:
    """True at the rows that no head of this space was trained or chosen on: all for an encoder's.

    Rows on the val side count as seen, since training picked its best epoch on them.

    Raises:
        StoreError: there is no such space.
        SelectionError: the heads have left no rows.
    """
    store.space(space)
    mask = ~store.seen(space)
    if not mask.any():
        raise SelectionError(
            f"space '{space}' of {store.path} has no test rows that its head has not seen: "
            f"train with a --split that keeps some, such as 60/20/20"
        )
    return mask


def _as_dtype(value: str, values: Shaped[np.ndarray, " n"]) -> object:
    if values.dtype.kind in "OU":
        return value
    try:
        return float(value)
    except ValueError:
        return np.nan  # equal to nothing, so that the message about the values follows
