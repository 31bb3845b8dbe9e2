"""What an attribute head says of every item of a store, as a table in a file."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int, Shaped

from embed.errors import SettingsError
from embed.files import refuse_existing
from embed.labels import PLACEHOLDER
from embed.rows import Where, select_rows
from embed.store import Store
from embed.tables import writing_table
from heads.attributes.predicting import predicted_classes, predicted_logits, probabilities
from heads.attributes.rows import category_note
from heads.attributes.vocabulary import Codes, Vocabulary
from heads.features import FeatureReader, FeatureStores, check_references
from heads.head import Head, load_head
from heads.seen import seen_note, seen_rows, tells_seen
from heads.tables import ResidentTable, StreamedTable

Layout = Literal["table", "meesho"]
LAYOUTS: tuple[Layout, ...] = ("table", "meesho")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class AttributeSummary:
    """Of one attribute: how many items have each class, the most frequent first; and how sure.

    `mean_probability` is that of the predicted classes, None where there are none. `accuracy` is
    over the `num_judged` items that have a label in the store and that the head has not seen; it is
    None where there are none.
    """

    attribute: str
    classes: dict[str, int]
    mean_probability: float | None
    num_judged: int
    accuracy: float | None


@dataclass(frozen=True)
class Predicted:
    """The file that was written, and what the user should know of its rows."""

    output: Path
    num_rows: int
    attributes: tuple[AttributeSummary, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Predictions:
    """Of m items: their ids, their categories as the store has them, and what is predicted.

    `codes` has the labels that the store has, −1 for attributes of which it has no column.
    `numbers` are classes, −1 where nothing can be predicted, and `names` their texts, '' there.
    `is_seen` is False at items that the head was surely neither trained nor chosen on.
    """

    ids: Shaped[np.ndarray, " m"]
    categories: Shaped[np.ndarray, " m"] | None
    codes: Codes
    numbers: Int[np.ndarray, "m a"]
    names: Shaped[np.ndarray, "m a"]
    probabilities: Float[np.ndarray, "m a"]
    is_seen: Bool[np.ndarray, " m"]

    def __len__(self) -> int:
        return len(self.ids)


def predict_to_file(
    store_path: Path,
    head_path: Path,
    output: Path,
    *,
    layout: Layout = "table",
    joined: Sequence[Path] = (),
    where: Sequence[Where] = (),
    force: bool = False,
) -> Predicted:
    """Write one row for each item, in the store's order: a CSV or a Parquet file, by its suffix.

    table: id, the category where the head goes by one, and for each attribute its class and, in
    `ATTRIBUTE_probability`, how sure it is; both are empty where the category has no such
    attribute. meesho: id, Category, len (how many attributes the category has) and the attributes,
    `dummy` where it has none. Items pass through in blocks, so that a store may be of any size.

    Raises:
        HeadError: the head can't be read, or makes vectors.
        FingerprintError: the store's spaces are not those that the head was trained on.
        StoreError: a space or the category's column is missing, or vectors are not finite.
        SelectionError: no item is left by `where`.
        OutputExistsError: `output` is there and not `force`.
        SettingsError: a layout that there is not or that does not fit; another suffix.
    """
    refuse_existing(output, force=force)
    head = load_head(head_path, "attributes")
    vocabulary = Vocabulary.from_json(head.info.vocabulary or {})
    columns = _layout(layout, vocabulary)
    summary = _Summary(vocabulary)
    with ExitStack() as stack:
        stores = FeatureStores(
            *(stack.enter_context(Store(path)) for path in (store_path, *joined))
        )
        check_references(stores, head.info.spaces)
        chosen = select_rows(stores.items, where)
        write = stack.enter_context(writing_table(output))
        for block in predict(stores, head, chosen):
            write(pl.DataFrame(columns(vocabulary, block)))
            summary.add(block)
        note = seen_note(stores, head)
    return summary.of(output, note)


def predict(
    stores: FeatureStores, head: Head, chosen: Bool[np.ndarray, " n"]
) -> Iterator[Predictions]:
    """The predictions of an attribute head for the items that are chosen, a block at a time."""
    vocabulary = Vocabulary.from_json(head.info.vocabulary or {})
    rows = np.flatnonzero(chosen)
    # Where it can't be told which items the head has seen, it is judged on none.
    is_told = tells_seen(stores, head)
    seen = seen_rows(stores, head) if is_told else np.ones(len(chosen), bool)
    reader = FeatureReader(stores, head.info.spaces)
    for index, features in StreamedTable(reader, rows, CPU).blocks():
        block = rows[index.numpy()]
        columns = _columns(stores.items, vocabulary, block)
        codes = vocabulary.encode(columns)
        logits = predicted_logits(head.network, ResidentTable(features), codes.categories)
        numbers = predicted_classes(logits)
        yield Predictions(
            ids=_values(stores.items, "id", block),
            categories=columns.get(vocabulary.category or ""),
            codes=codes,
            numbers=numbers,
            names=vocabulary.decode(codes.categories, numbers),
            probabilities=probabilities(logits).max(axis=2),
            is_seen=seen[block],
        )


def _columns(
    store: Store, vocabulary: Vocabulary, rows: Int[np.ndarray, " m"]
) -> dict[str, Shaped[np.ndarray, " m"]]:
    """The category, which is needed, and the attributes' labels, blank where the store has none."""
    blank = np.full(len(rows), "", object)
    columns = {
        name: _values(store, name, rows) if name in store.columns else blank
        for name in vocabulary.attributes
    }
    if vocabulary.category is not None:
        columns[vocabulary.category] = _values(store, vocabulary.category, rows)
    return columns


def _values(store: Store, name: str, rows: Int[np.ndarray, " m"]) -> Shaped[np.ndarray, " m"]:
    """A column at rows that ascend, without reading far more than those."""
    start = int(rows[0])
    return np.asarray(store.values(name, start, int(rows[-1]) + 1)[rows - start])


Columnar = Callable[[Vocabulary, Predictions], dict[str, Any]]


def _layout(layout: Layout, vocabulary: Vocabulary) -> Columnar:
    if layout not in LAYOUTS:
        raise SettingsError(f"--layout is {' or '.join(LAYOUTS)}: found '{layout}'")
    if layout == "table":
        return _table
    if vocabulary.category is None:
        raise SettingsError(
            "--layout meesho is by category, and this head was trained without --category: leave "
            "--layout out"
        )
    return _meesho


def _table(vocabulary: Vocabulary, found: Predictions) -> dict[str, Any]:
    columns = {"id": found.ids.tolist()}
    if vocabulary.category is not None and found.categories is not None:
        columns[vocabulary.category] = found.categories.tolist()
    for number, name in enumerate(vocabulary.attributes):
        is_known = found.numbers[:, number] >= 0
        names = [text or None for text in found.names[:, number].tolist()]
        columns[name] = pl.Series(names, dtype=pl.String)
        sure = found.probabilities[:, number].astype(np.float64).round(6)
        columns[f"{name}_probability"] = pl.Series(np.where(is_known, sure, np.nan)).fill_nan(None)
    return columns


def _meesho(vocabulary: Vocabulary, found: Predictions) -> dict[str, Any]:
    counts = np.append((vocabulary.num_classes() > 0).sum(axis=1), 0)
    assert found.categories is not None
    columns = {
        "id": found.ids.tolist(),
        "Category": found.categories.tolist(),
        "len": counts[found.codes.categories],
    }
    for number, name in enumerate(vocabulary.attributes):
        names = found.names[:, number]
        columns[name] = np.where(found.numbers[:, number] >= 0, names, PLACEHOLDER).tolist()
    return columns


@dataclass
class _Tally:
    """What is counted of one attribute."""

    classes: Counter[str] = field(default_factory=Counter)
    probability: float = 0.0
    num_judged: int = 0
    num_right: int = 0

    def summary(self, attribute: str) -> AttributeSummary:
        """The means of what was counted."""
        num_predicted = self.classes.total()
        return AttributeSummary(
            attribute,
            dict(self.classes.most_common()),
            self.probability / num_predicted if num_predicted else None,
            self.num_judged,
            self.num_right / self.num_judged if self.num_judged else None,
        )


class _Summary:
    """What there is to say of all predictions, added up block by block."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tallies = {name: _Tally() for name in vocabulary.attributes}
        self._strange: Counter[str] = Counter()
        self._num_rows = 0
        self._has_labels = False

    def add(self, found: Predictions) -> None:
        """Count a block in."""
        self._num_rows += len(found)
        self._strange.update(found.codes.strange_categories)
        self._has_labels |= bool(found.codes.is_present.any())
        is_judged = found.codes.is_present & ~found.is_seen[:, None]
        is_right = is_judged & (found.codes.labels == found.numbers) & (found.numbers >= 0)
        for number, tally in enumerate(self._tallies.values()):
            is_known = found.numbers[:, number] >= 0
            tally.classes.update(found.names[is_known, number].tolist())
            tally.probability += float(found.probabilities[is_known, number].sum())
            tally.num_judged += int(is_judged[:, number].sum())
            tally.num_right += int(is_right[:, number].sum())

    def of(self, output: Path, seen_note: str) -> Predicted:
        """The sum of all blocks; what tells seen items matters where there is accuracy to tell."""
        summaries = tuple(tally.summary(name) for name, tally in self._tallies.items())
        notes = tuple(filter(None, [category_note(self._strange), seen_note * self._has_labels]))
        return Predicted(output, self._num_rows, summaries, notes)
