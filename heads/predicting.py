"""What an attribute head says of every item of a store, as a table."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int

from embed.errors import SettingsError
from embed.files import refuse_existing, replacing
from embed.rows import Where, select_rows
from embed.store import Store
from heads.attributes.predicting import predicted_classes, predicted_logits, probabilities
from heads.attributes.rows import category_note
from heads.attributes.vocabulary import PLACEHOLDER, Codes, Vocabulary
from heads.features import FeatureReader, FeatureStores, check_references
from heads.head import Head, load_head
from heads.tables import StreamedTable

Layout = Literal["table", "meesho"]
LAYOUTS: tuple[Layout, ...] = ("table", "meesho")
ROWS_PER_BLOCK = 8192
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Predicted:
    """The file that was written, how many rows it has, and what the user should know of them."""

    output: Path
    num_rows: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Predictions:
    """Of m items: their rows in the store, and for each attribute a class and its probability.

    `classes` are texts, '' where nothing can be predicted, with probability 0.
    """

    rows: Int[np.ndarray, " m"]
    codes: Codes
    classes: Any  # (m, a) objects
    shares: Float[np.ndarray, "m a"]


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
    """Write one row for each item, in the store's order: a CSV, or a Parquet file by its suffix.

    table: id, the category where there is one, and for each attribute its class and, in
    `ATTRIBUTE_probability`, how sure it is; both are empty where the category has no such
    attribute. meesho: id, Category, len (how many attributes the category has) and the attributes,
    `dummy` where it has none.

    Raises:
        HeadError: the head can't be read, or makes vectors.
        FingerprintError: the store's spaces are not those that the head was trained on.
        OutputExistsError: `output` is there and not `force`.
        SettingsError: a layout that there is not.
    """
    if layout not in LAYOUTS:
        raise SettingsError(f"--layout is {' or '.join(LAYOUTS)}: found '{layout}'")
    refuse_existing(output, force=force)
    head = load_head(head_path, "attributes")
    vocabulary = Vocabulary.from_json(head.info.vocabulary or {})
    with ExitStack() as stack:
        stores = FeatureStores(
            *(stack.enter_context(Store(path)) for path in (store_path, *joined))
        )
        check_references(stores, head.info.spaces)
        found = predict(stores, head, select_rows(stores.items, where))
        ids = stores.items.ids[found.rows]
    columns = _meesho(vocabulary, found) if layout == "meesho" else _table(vocabulary, found)
    _write({"id": ids, **columns}, output)
    notes = tuple(filter(None, [category_note(found.codes.strange_categories)]))
    return Predicted(output, len(ids), notes)


def predict(stores: FeatureStores, head: Head, chosen: Bool[np.ndarray, " n"]) -> Predictions:
    """The predictions of an attribute head for the items that are chosen."""
    vocabulary = Vocabulary.from_json(head.info.vocabulary or {})
    rows = np.flatnonzero(chosen)
    codes = _categories(stores.items, vocabulary, rows)
    reader = FeatureReader(stores, head.info.spaces)
    blocks = [
        _predict_block(head, StreamedTable(reader, rows[at], CPU), codes.categories[at])
        for at in _slices(len(rows))
    ]
    numbers, shares = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return Predictions(rows, codes, vocabulary.decode(codes.categories, numbers), shares)


def _predict_block(
    head: Head, table: StreamedTable, categories: Int[np.ndarray, " b"]
) -> tuple[Int[np.ndarray, "b a"], Float[np.ndarray, "b a"]]:
    logits = predicted_logits(head.network, table, categories)
    return predicted_classes(logits), probabilities(logits).max(axis=2)


def _slices(num_rows: int) -> Iterator[slice]:
    return (slice(at, at + ROWS_PER_BLOCK) for at in range(0, num_rows, ROWS_PER_BLOCK))


def _categories(store: Store, vocabulary: Vocabulary, rows: Int[np.ndarray, " m"]) -> Codes:
    """The categories alone: a store to be predicted need not have the attributes' columns."""
    blank = np.full(len(rows), "", object)
    columns = dict.fromkeys(vocabulary.attributes, blank)
    if vocabulary.category is not None:
        columns[vocabulary.category] = store.column(vocabulary.category)[rows]
    return vocabulary.encode(columns)


def _table(vocabulary: Vocabulary, found: Predictions) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if vocabulary.category is not None:
        columns[vocabulary.category] = _category_names(vocabulary, found.codes)
    for number, name in enumerate(vocabulary.attributes):
        columns[name] = found.classes[:, number]
        shares = found.shares[:, number].astype(np.float64)
        columns[f"{name}_probability"] = np.where(shares > 0, shares.round(6), np.nan)
    return columns


def _meesho(vocabulary: Vocabulary, found: Predictions) -> dict[str, Any]:
    counts = np.append((vocabulary.num_classes() > 0).sum(axis=1), 0)
    columns = {
        "Category": _category_names(vocabulary, found.codes),
        "len": counts[found.codes.categories],
    }
    for number, name in enumerate(vocabulary.attributes):
        columns[name] = np.where(
            found.classes[:, number] == "", PLACEHOLDER, found.classes[:, number]
        )
    return columns


def _category_names(vocabulary: Vocabulary, codes: Codes) -> Any:
    return np.array([*vocabulary.categories, ""], object)[codes.categories]


def _write(columns: dict[str, Any], output: Path) -> None:
    frame = pl.DataFrame({name: values.tolist() for name, values in columns.items()}).fill_nan(None)
    with replacing(output) as temporary:
        if output.suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            frame.write_csv(temporary)
