"""Two heads on the same validation rows: the difference between them, row by row.

The intervals of two heads may overlap while one is better on nearly every draw: their rows are the
same, and what is hard for one is hard for the other. So the difference is drawn, and not each.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int

from embed.errors import SelectionError
from embed.rows import Where, codes, has_value
from heads.attributes.predicting import predicted_classes, predicted_logits
from heads.attributes.vocabulary import Vocabulary, label_texts
from heads.features import FeatureReader, FeatureStores, check_references
from heads.head import Head
from heads.projection.bodies import project
from heads.projection.validation import validation_row_f1
from heads.tables import StreamedTable
from heads.tasks import Task, choose_sides, rows_digest
from retrieval.intervals import bootstrap_interval

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Difference:
    """How much higher the second head's metric is, and its 95 % interval over draws of groups.

    `metric` is row_f1, of each head at its own best threshold, or the accuracy over all labels.
    """

    metric: str
    value: float
    interval: tuple[float, float]

    @property
    def is_clear(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.interval[0] > 0 or self.interval[1] < 0


def paired_difference(stores: FeatureStores, first: Head, second: Head) -> Difference:
    """The second head's figure less the first one's.

    Raises:
        SelectionError: they were validated on different rows, or the store's are others now.
        FingerprintError: the store's spaces are not those that a head was trained on.
    """
    rows, task = _validation_rows(stores, first)
    _, other = _validation_rows(stores, second)
    digests = {head.info.details.get("validation_rows") for head in (first, second)}
    if digests != {rows_digest(stores.items, task, rows)} or task.targets != other.targets:
        raise SelectionError(
            f"the two heads are not of the same validation rows of {stores.items.path}: train them "
            f"with the same --target, --where and --split on this store"
        )
    for head in (first, second):
        check_references(stores, head.info.spaces)
    judge = _right_labels if first.info.output == "attributes" else _row_f1
    (before, groups), (after, _) = (judge(stores, head, task, rows) for head in (first, second))
    interval = bootstrap_interval(after - before, groups, np.random.default_rng(0))
    metric = "accuracy" if first.info.output == "attributes" else "row_f1"
    return Difference(metric, float((after - before).mean()), interval)


def _validation_rows(stores: FeatureStores, head: Head) -> tuple[Int[np.ndarray, " m"], Task]:
    info = head.info
    task = Task(
        spaces=tuple(space.name for space in info.spaces),
        targets=info.targets,
        split=info.splits[-1],
        where=tuple(map(Where.parse, info.where)),
        category=(info.vocabulary or {}).get("category"),
    )
    return choose_sides(stores.items, task, _labelled(stores, info.output, task)).val, task


def _labelled(stores: FeatureStores, output: str, task: Task) -> Bool[np.ndarray, " n"]:
    if output == "vectors":
        return has_value(stores.items.column(task.targets[0]))
    columns = (label_texts(stores.items.column(name)) for name in task.targets)
    is_present = np.array([[text is not None for text in texts] for texts in columns], bool)
    return np.asarray(is_present.any(axis=0))


def _row_f1(
    stores: FeatureStores, head: Head, task: Task, rows: Int[np.ndarray, " m"]
) -> tuple[Float64[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Row F1 of each row, and its label."""
    table = StreamedTable(FeatureReader(stores, head.info.spaces), rows, CPU)
    vectors = torch.cat([project(head.network, features) for _, features in table.blocks()])
    labels = codes(stores.items.column(task.targets[0])[rows])
    return validation_row_f1(vectors.numpy(), labels)[1].astype(np.float64), labels


def _right_labels(
    stores: FeatureStores, head: Head, task: Task, rows: Int[np.ndarray, " m"]
) -> tuple[Float64[np.ndarray, " l"], Int[np.ndarray, " l"]]:
    """1 for each label that is predicted and 0 for others, and the group of its row."""
    vocabulary = Vocabulary.from_json(head.info.vocabulary or {})
    columns = {name: stores.items.column(name)[rows] for name in vocabulary.columns}
    labels = vocabulary.encode(columns)
    table = StreamedTable(FeatureReader(stores, head.info.spaces), rows, CPU)
    predicted = predicted_classes(predicted_logits(head.network, table, labels.categories))
    groups = np.arange(len(rows))
    if task.split.column is None:
        groups = np.unique(stores.items.column(task.split.group)[rows], return_inverse=True)[1]
    places = np.nonzero(labels.is_present)
    right = (predicted == labels.labels) & (labels.labels >= 0)
    return right[places].astype(np.float64), groups.astype(np.int64)[places[0]]
