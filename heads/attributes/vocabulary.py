"""Which classes each attribute has in each category, and columns as numbers of these classes.

A pair is one attribute of one category. Where no category is named, there is one category, called
'', that every row belongs to. A class has a number within its pair only: class 0 of one pair has
nothing to do with class 0 of another.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int64, Shaped

from embed.errors import SelectionError, SettingsError
from embed.labels import label_texts
from embed.wording import counted

Columns = Mapping[str, Shaped[np.ndarray, " n"]]


@dataclass(frozen=True)
class Pair:
    """One attribute of one category: its classes in order of their text, and their rows' number."""

    category: str
    attribute: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Codes:
    """Columns as numbers.

    `categories` is −1 where the category is missing or not known; `labels` is −1 where the label is
    missing or not known. `strangers` tells the two apart: it numbers the labels that are present
    and not known, and is −1 elsewhere; equal labels of one pair have equal numbers.
    `strange_categories` counts the rows of each category that is not known, '' being none at all.
    """

    categories: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, "n a"]
    strangers: Int64[np.ndarray, "n a"]
    strange_categories: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.categories)

    @property
    def is_present(self) -> Bool[np.ndarray, "n a"]:
        """True where there is a label, known or not."""
        return np.asarray((self.labels >= 0) | (self.strangers >= 0))

    @property
    def num_unknown(self) -> int:
        """How many labels are present, and of classes that training did not see."""
        return int((self.strangers >= 0).sum())

    @property
    def num_missing(self) -> int:
        """How many labels there are not."""
        return int((~self.is_present).sum())


@dataclass(frozen=True)
class Vocabulary:
    """The classes of every pair, as the training rows have them.

    `category` is the column of categories, None where there is none; `attributes` are the target
    columns; `pairs` go by category, then by attribute, and lack those of which no training row has
    a label. `dataclasses.asdict` makes JSON of it and `from_json` reads that.
    """

    category: str | None
    attributes: tuple[str, ...]
    categories: tuple[str, ...]
    pairs: tuple[Pair, ...]

    @classmethod
    def of(
        cls, columns: Columns, attributes: Sequence[str], category: str | None = None
    ) -> "Vocabulary":
        """From the columns of the training rows; those that are not named are ignored.

        Raises:
            SettingsError: no attribute, one named twice, or one that is the category as well.
            SelectionError: an attribute with fewer than two classes, or no row with a category.
        """
        _refuse_names(attributes, category)
        texts = _category_texts(columns, attributes, category)
        categories = tuple(sorted({text for text in texts if text is not None}))
        if not categories:
            raise SelectionError(
                f"column '{category}' is empty in all of the {len(texts)} training rows: "
                f"look at --category, --where and --split"
            )
        counts = {name: _class_counts(texts, columns[name]) for name in attributes}
        _refuse_constants(counts, len(texts))
        pairs = tuple(
            Pair(text, name, *zip(*sorted(counts[name][text].items()), strict=True))
            for text in categories
            for name in attributes
            if text in counts[name]
        )
        return cls(category, tuple(attributes), categories, pairs)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Vocabulary":
        """From what JSON has made of `asdict(vocabulary)`: lists and mappings."""
        pairs = tuple(
            Pair(pair["category"], pair["attribute"], tuple(pair["classes"]), tuple(pair["counts"]))
            for pair in fields["pairs"]
        )
        categories, attributes = tuple(fields["categories"]), tuple(fields["attributes"])
        return cls(fields["category"], attributes, categories, pairs)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that `encode` needs."""
        return (*([] if self.category is None else [self.category]), *self.attributes)

    @property
    def constant_pairs(self) -> tuple[Pair, ...]:
        """Pairs of one class, which is always predicted."""
        return tuple(pair for pair in self.pairs if len(pair.classes) == 1)

    @property
    def classes_seen_once(self) -> tuple[tuple[Pair, str], ...]:
        """Classes that one training row has, which is little to learn from."""
        return tuple(
            (pair, name)
            for pair in self.pairs
            for name, count in zip(pair.classes, pair.counts, strict=True)
            if count == 1
        )

    def position(self, pair: Pair) -> tuple[int, int]:
        """The numbers of a pair's category and attribute."""
        return self.categories.index(pair.category), self.attributes.index(pair.attribute)

    def num_classes(self) -> Int64[np.ndarray, "c a"]:
        """How many classes each pair has, 0 where it is absent."""
        numbers = np.zeros((len(self.categories), len(self.attributes)), np.int64)
        for pair in self.pairs:
            numbers[self.position(pair)] = len(pair.classes)
        return numbers

    def class_counts(self) -> Int64[np.ndarray, "c a k"]:
        """How many training rows each class has, 0 where a pair has no such class."""
        numbers = self.num_classes()
        counts = np.zeros((*numbers.shape, int(numbers.max())), np.int64)
        for pair in self.pairs:
            counts[self.position(pair)][: len(pair.counts)] = pair.counts
        return counts

    def encode(self, columns: Columns) -> Codes:
        """Numbers for the columns of any rows."""
        texts = _category_texts(columns, self.attributes, self.category)
        numbers: dict[str | None, int] = {text: c for c, text in enumerate(self.categories)}
        codes = np.array([numbers.get(text, -1) for text in texts], np.int64)
        strange = Counter(text or "" for text in texts if text not in numbers)
        encoded = [self._encode(name, texts, columns[name]) for name in self.attributes]
        labels, strangers = (np.stack(arrays, axis=1) for arrays in zip(*encoded, strict=True))
        return Codes(codes, labels, strangers, dict(strange.most_common()))

    def _encode(
        self, attribute: str, categories: list[str | None], values: Shaped[np.ndarray, " n"]
    ) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        known: dict[tuple[str | None, str], int] = {
            (pair.category, name): number
            for pair in self.pairs
            if pair.attribute == attribute
            for number, name in enumerate(pair.classes)
        }
        labels = np.full(len(values), -1, np.int64)
        strangers = np.full(len(values), -1, np.int64)
        numbers: dict[tuple[str | None, str], int] = {}
        for row, (category, text) in enumerate(zip(categories, label_texts(values), strict=True)):
            if text is None:
                continue
            key = category, text
            if key in known:
                labels[row] = known[key]
            else:
                strangers[row] = numbers.setdefault(key, len(numbers))
        return labels, strangers

    def decode(
        self, categories: Int[np.ndarray, " n"], labels: Int[np.ndarray, "n a"], missing: str = ""
    ) -> Shaped[np.ndarray, "n a"]:
        """The classes' texts (objects), `missing` where a label or category is −1."""
        shape = self.class_counts().shape
        names = np.full((shape[0] + 1, shape[1], shape[2] + 1), missing, object)
        for pair in self.pairs:
            names[self.position(pair)][: len(pair.classes)] = pair.classes
        # −1 is the last place along an axis, which no category and no class takes.
        return np.asarray(names[categories[:, None], np.arange(shape[1]), labels])


def _category_texts(
    columns: Columns, attributes: Sequence[str], category: str | None
) -> list[str | None]:
    if category is not None:
        return label_texts(columns[category])
    return [""] * len(columns[attributes[0]])


def _class_counts(
    categories: list[str | None], values: Shaped[np.ndarray, " n"]
) -> dict[str, Counter[str]]:
    """How many rows each class has, for each category that has a label at all."""
    counts: dict[str, Counter[str]] = {}
    counted = Counter(zip(categories, label_texts(values), strict=True))
    for (category, label), count in counted.items():
        if category is not None and label is not None:
            counts.setdefault(category, Counter())[label] = count
    return counts


def _refuse_names(attributes: Sequence[str], category: str | None) -> None:
    names = [*attributes, *([] if category is None else [category])]
    if not attributes or len(set(names)) < len(names):
        found = ", ".join(attributes) or "none"
        raise SettingsError(
            f"--target names one or more different columns, none of them that of --category: "
            f"found {found}{'' if category is None else f' with --category {category}'}"
        )


def _refuse_constants(counts: Mapping[str, dict[str, Counter[str]]], num_rows: int) -> None:
    for attribute, by_category in counts.items():
        classes = {name for counter in by_category.values() for name in counter}
        if len(classes) < 2:
            found = f"only '{classes.pop()}'" if classes else "no label"
            raise SelectionError(
                f"column '{attribute}' has {found} in {counted(num_rows, 'training row')}: an "
                f"attribute needs at least 2 classes; look at --target, --where and --split"
            )
