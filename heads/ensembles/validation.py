"""The validation rows of a store by what heads say of themselves, as their training had them."""

import numpy as np
import torch

from embed.errors import SelectionError
from embed.rows import Where, codes, has_value
from heads.attributes.rows import labelled_rows, row_groups
from heads.attributes.validation import AttributeValidation
from heads.attributes.vocabulary import Vocabulary
from heads.features import FeatureReader, FeatureStores, check_references
from heads.info import HeadInfo
from heads.projection.validation import ProjectionValidation
from heads.tables import FeatureTable, open_table
from heads.tasks import Task, choose_sides

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
    if info.output == "attributes":
        return _of_attributes(stores, info)
    return _of_projection(stores, info)


def _of_projection(stores: FeatureStores, info: HeadInfo) -> ProjectionValidation:
    values = stores.items.column(info.targets[0])
    rows = choose_sides(stores.items, _task(info), has_value(values)).val
    labels = codes(values[rows])
    if len(np.unique(labels)) == len(labels):
        raise SelectionError(
            f"no two of the {len(labels)} validation rows of {stores.items.path} share a value of "
            f"'{info.targets[0]}', so heads can't be compared on them"
        )
    return ProjectionValidation(_table(stores, info, rows), labels)


def _of_attributes(stores: FeatureStores, info: HeadInfo) -> AttributeValidation:
    vocabulary = Vocabulary.from_json(info.vocabulary or {})
    task = _task(info, vocabulary.category)
    columns = {name: stores.items.column(name) for name in vocabulary.columns}
    labelled = labelled_rows(columns, vocabulary.attributes)
    rows = choose_sides(stores.items, task, labelled).val
    encoded = vocabulary.encode({name: values[rows] for name, values in columns.items()})
    groups = row_groups(stores.items, task, rows)
    return AttributeValidation(_table(stores, info, rows), vocabulary, encoded, groups)


def _task(info: HeadInfo, category: str | None = None) -> Task:
    where = tuple(Where.parse(text) for text in info.where)
    spaces = tuple(space.name for space in info.spaces)
    return Task(spaces, info.targets, info.splits[0], where, category)


def _table(stores: FeatureStores, info: HeadInfo, rows: np.ndarray) -> FeatureTable:
    return open_table(FeatureReader(stores, info.spaces), rows, CPU)
