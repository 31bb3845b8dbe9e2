"""The validation rows of a store by what a head says of itself, as its training had them."""

import numpy as np
import torch
from jaxtyping import Bool, Int

from embed.errors import SelectionError
from embed.rows import Where, codes, has_value
from embed.store import Store
from heads.attributes.rows import labelled_rows, row_groups
from heads.attributes.validation import AttributeValidation
from heads.attributes.vocabulary import Vocabulary
from heads.features import FeatureReader, FeatureStores, check_references
from heads.info import HeadInfo
from heads.projection.validation import ProjectionValidation
from heads.tables import FeatureTable, open_table
from heads.tasks import Task, choose_sides, rows_digest

CPU = torch.device("cpu")
Validation = ProjectionValidation | AttributeValidation


def open_validation(stores: FeatureStores, info: HeadInfo) -> Validation:
    """The rows on the val side of the head's split, of those with a label and by its restrictions.

    `info` has one split. Features are those of its spaces; attributes are scored by its vocabulary.

    Raises:
        FingerprintError: the stores' spaces are not those that the head was trained on.
        StoreError: a space or column that the store does not have.
        SelectionError: a side without rows, or no two of them that match.
    """
    check_references(stores, info.spaces)
    rows = _rows(stores.items, info)
    if info.output == "attributes":
        return _of_attributes(stores, info, rows)
    return _of_projection(stores, info, rows)


def validation_digest(stores: FeatureStores, info: HeadInfo) -> str:
    """`rows_digest` of the rows of `open_validation`, by which heads of the same rows are known.

    Raises:
        StoreError: a column that the store does not have.
        SelectionError: a side without rows.
    """
    return rows_digest(stores.items, _task(info), _rows(stores.items, info))


def _rows(store: Store, info: HeadInfo) -> Int[np.ndarray, " m"]:
    return choose_sides(store, _task(info), _labelled(store, info)).val


def _labelled(store: Store, info: HeadInfo) -> Bool[np.ndarray, " n"]:
    if info.output == "vectors":
        return has_value(store.column(info.targets[0]))
    return labelled_rows({name: store.column(name) for name in info.targets}, info.targets)


def _of_projection(
    stores: FeatureStores, info: HeadInfo, rows: Int[np.ndarray, " m"]
) -> ProjectionValidation:
    labels = codes(stores.items.column(info.targets[0])[rows])
    if len(np.unique(labels)) == len(labels):
        raise SelectionError(
            f"no two of the {len(labels)} validation rows of {stores.items.path} share a value of "
            f"'{info.targets[0]}', so heads can't be compared on them"
        )
    return ProjectionValidation(_table(stores, info, rows), labels)


def _of_attributes(
    stores: FeatureStores, info: HeadInfo, rows: Int[np.ndarray, " m"]
) -> AttributeValidation:
    vocabulary = Vocabulary.from_json(info.vocabulary or {})
    columns = {name: stores.items.column(name)[rows] for name in vocabulary.columns}
    groups = row_groups(stores.items, _task(info), rows)
    table = _table(stores, info, rows)
    return AttributeValidation(table, vocabulary, vocabulary.encode(columns), groups)


def _task(info: HeadInfo) -> Task:
    where = tuple(Where.parse(text) for text in info.where)
    spaces = tuple(space.name for space in info.spaces)
    category = (info.vocabulary or {}).get("category")
    return Task(spaces, info.targets, info.splits[0], where, category)


def _table(stores: FeatureStores, info: HeadInfo, rows: Int[np.ndarray, " m"]) -> FeatureTable:
    return open_table(FeatureReader(stores, info.spaces), rows, CPU)
