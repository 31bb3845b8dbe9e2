"""Which rows of a store a stage works on: `--where`, splits, and rows that a head has not seen."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped

from embed.errors import SelectionError, SettingsError
from embed.store import Store

Side = Literal["train", "val", "test"]
SIDES: tuple[Side, ...] = ("train", "val", "test")
MIN_FOLDS = 3


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

    def __str__(self) -> str:
        return f"{self.column}={self.value}"

    def mask(self, store: Store) -> Bool[np.ndarray, " n"]:
        """True at the rows that it keeps; numbers are compared as numbers.

        Raises:
            SelectionError: no row has that value; the message shows some that there are.
        """
        values = store.column(self.column)
        found = np.asarray(values == _as_dtype(self.value, values))
        if not found.any():
            distinct = np.unique(values)
            examples = ", ".join(map(str, distinct[:5])) + (", …" if len(distinct) > 5 else "")
            raise SelectionError(
                f"no row of {store.path} has {self.column}={self.value}: its values are {examples}"
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
        wanted = " and ".join(map(str, where))
        raise SelectionError(f"no row of {store.path} has {wanted or 'an id'}: nothing is left")
    return mask


@dataclass(frozen=True)
class Split:
    """How rows fall into train, val and test: by a hash of their group, or by a column.

    A group is a value of the column `group` (a product, say). All of its rows fall on one side,
    and on the same one in every run, store and subset, since only the value and the seed count.
    With `stratify` the shares hold within each value of that column, as near as whole groups allow,
    and over all of them together, however small they are: groups are ranked by their hash there, so
    the side also depends on which others there are.
    With `column` the catalogue's own split is taken: its values are train, val and test.
    With `folds` the groups fall into as many parts, by the same positions, and the shares say
    nothing: `fold` is test, `val_fold` is val and the others are train. Folds are counted from 1.
    """

    group: str
    train: float = 0.8
    val: float = 0.1
    test: float = 0.1
    seed: int = 0
    column: str | None = None
    stratify: str | None = None
    folds: int | None = None
    fold: int | None = None
    val_fold: int | None = None

    def __post_init__(self) -> None:
        if (self.folds, self.fold, self.val_fold) == (None, None, None):
            return
        if self.column is not None:
            raise SettingsError(
                f"folds are made by a hash of a group's values, and column '{self.column}' has "
                f"sides of its own: give --folds or --split-column, not both"
            )
        folds, chosen = self.folds or 0, (self.fold or 0, self.val_fold or 0)
        if folds < MIN_FOLDS:
            raise SettingsError(
                f"--folds is at least {MIN_FOLDS}, one to report on, one that picks the epoch and "
                f"one to train on: found {folds}"
            )
        if chosen[0] == chosen[1] or not all(1 <= fold <= folds for fold in chosen):
            raise SettingsError(
                f"two different folds from 1 to {folds} are test and val: found "
                f"{self.fold} and {self.val_fold}"
            )

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

    def of_fold(self, folds: int, fold: int, val_fold: int | None = None) -> "Split":
        """The same groups in `folds` parts; the part after `fold` is val where none is named.

        Raises:
            SettingsError: fewer than 3 folds, a fold that there is not, or a split column.
        """
        return replace(
            self,
            train=1 - 2 / max(folds, MIN_FOLDS),
            val=1 / max(folds, MIN_FOLDS),
            test=1 / max(folds, MIN_FOLDS),
            folds=folds,
            fold=fold,
            val_fold=fold % max(folds, 1) + 1 if val_fold is None else val_fold,
        )

    def fold_numbers(self, store: Store) -> Int[np.ndarray, " n"]:
        """The fold of each row, from 1 to `folds`; 0 where its group is missing."""
        assert self.folds is not None
        positions, has_group = self._positions(store)
        numbers = np.minimum((positions * self.folds).astype(np.int64), self.folds - 1) + 1
        return np.where(has_group, numbers, 0)

    def sides(self, store: Store) -> Shaped[np.ndarray, " n"]:
        """The side of each row: 'train', 'val' or 'test'; '' where its group or side is missing.

        Raises:
            SelectionError: the split column holds none of these values.
        """
        if self.column is not None:
            return self._sides_of_column(store)
        if self.folds is not None:
            return self._sides_of_folds(store)
        positions, has_group = self._positions(store)
        shares = np.array([self.train, self.train + self.val])
        sides = np.array(SIDES, dtype="<U5")[np.searchsorted(shares, positions, "right")]
        sides[~has_group] = ""
        return sides

    def _positions(self, store: Store) -> tuple[Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Where each row's group stands between 0 and 1, and whether it has one."""
        values = store.column(self.group)
        groups, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        positions = np.array([group_position(group, self.seed) for group in groups.tolist()], float)
        if self.stratify is not None:
            strata = store.column(self.stratify)[first]
            positions = _turned(_ranked_within(positions, strata), strata, self.seed)
        return positions[inverse], has_value(values)

    def _sides_of_folds(self, store: Store) -> Shaped[np.ndarray, " n"]:
        numbers = self.fold_numbers(store)
        sides = np.where(numbers == self.fold, "test", "train").astype("<U5")
        sides[numbers == self.val_fold] = "val"
        sides[numbers == 0] = ""
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


def _turned(
    positions: Float64[np.ndarray, " g"], strata: Shaped[np.ndarray, " g"], seed: int
) -> Float64[np.ndarray, " g"]:
    """Each stratum turned by a hash of its name: else small ones would lack the same sides."""
    names, members = np.unique(strata, return_inverse=True)
    turns = np.array([group_position(name, seed) for name in names.tolist()], float)
    return np.asarray((positions + turns[members]) % 1)


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
