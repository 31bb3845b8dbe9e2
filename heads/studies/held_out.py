"""What a fold's head says of the fold that was held out from it, and how good that is."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int

from embed.errors import SelectionError
from embed.rows import Split, codes, has_value, select_rows
from heads.attributes.scores import score_attributes
from heads.attributes.vocabulary import Vocabulary
from heads.features import FeatureReader, FeatureStores
from heads.head import Head
from heads.predicting import predict
from heads.projection.bodies import project
from heads.projection.validation import VALIDATION_NEIGHBOURS, best_threshold
from heads.tasks import Task
from retrieval.metrics.judgements import judge_join
from retrieval.search.neighbours import neighbours_of_vectors
from retrieval.thresholds.curves import metrics_at

ROWS_PER_BLOCK = 8192
ATTRIBUTE_METRICS = ("attribute_score", "accuracy", "micro_f1", "macro_f1")


@dataclass(frozen=True)
class HeldOut:
    """Figures on the rows with a label, `num_rows` of them, and a table of all rows of the fold.

    The table has id and fold. For attributes it has each one's class and, in
    ATTRIBUTE_probability, how sure that is, both null where nothing can be predicted; for a
    projection `vector`, a list of float32 of unit length.
    """

    num_rows: int
    metrics: Mapping[str, float]
    table: pl.DataFrame


def judge_held_out(stores: FeatureStores, task: Task, head: Head) -> HeldOut:
    """The head of one fold on its own; `task.split` names the fold.

    Raises:
        SelectionError: the fold has no row, or none with a label.
    """
    sides = task.split.sides(stores.items)
    chosen = select_rows(stores.items, task.where) & (sides == "test")
    if not chosen.any():
        raise SelectionError(
            f"fold {task.split.fold} of {task.split.folds} has no row of {stores.items.path}: "
            f"take fewer --folds"
        )
    if head.info.output == "attributes":
        return _judge_attributes(stores, task, head, chosen)
    return _judge_projection(stores, task, head, sides == "val", chosen)


def _judge_attributes(
    stores: FeatureStores, task: Task, head: Head, chosen: Bool[np.ndarray, " n"]
) -> HeldOut:
    vocabulary = Vocabulary.from_json(head.info.vocabulary or {})
    rows = np.flatnonzero(chosen)
    labels = vocabulary.encode(
        {name: stores.items.column(name)[rows] for name in vocabulary.columns}
    )
    blocks = list(predict(stores, head, chosen))
    numbers, names, shares = (
        np.concatenate([getattr(block, part) for block in blocks])
        for part in ("numbers", "names", "probabilities")
    )
    scores = score_attributes(vocabulary, labels, numbers)
    table = _table(stores, task.split, rows)
    for number, name in enumerate(vocabulary.attributes):
        table[name] = [text or None for text in names[:, number].tolist()]
        sure = shares[:, number]
        table[f"{name}_probability"] = pl.Series(np.where(sure > 0, sure, np.nan))
    return HeldOut(
        int(labels.is_present.any(axis=1).sum()),
        {name: getattr(scores, name) for name in ATTRIBUTE_METRICS},
        pl.DataFrame(table).with_columns(pl.col(pl.Float32).fill_nan(None)),
    )


def _judge_projection(
    stores: FeatureStores,
    task: Task,
    head: Head,
    is_val: Bool[np.ndarray, " n"],
    chosen: Bool[np.ndarray, " n"],
) -> HeldOut:
    labels = stores.items.column(task.targets[0])
    val = np.flatnonzero(select_rows(stores.items, task.where) & is_val & has_value(labels))
    of_val = neighbours_of_vectors(_vectors(stores, head, val), VALIDATION_NEIGHBOURS)
    threshold = best_threshold(of_val, codes(labels[val]))
    rows = np.flatnonzero(chosen)
    vectors = _vectors(stores, head, rows)
    labelled = has_value(labels[rows])
    metrics = _metrics_at(vectors[labelled], codes(labels[rows][labelled]), threshold)
    table = _table(stores, task.split, rows)
    table["vector"] = pl.Series(vectors).cast(pl.List(pl.Float32))
    return HeldOut(int(labelled.sum()), metrics, pl.DataFrame(table))


def _metrics_at(
    vectors: Float[np.ndarray, "m e"], labels: Int[np.ndarray, " m"], threshold: float
) -> dict[str, float]:
    """Means over rows, at the threshold of the validation fold: none was chosen on these rows."""
    neighbours = neighbours_of_vectors(vectors, VALIDATION_NEIGHBOURS)
    by_row = metrics_at(neighbours, judge_join(neighbours.rows, labels), threshold)
    names = ("row_f1", "precision", "recall")
    return dict(zip(names, by_row.mean(axis=1).tolist(), strict=True))


def _vectors(
    stores: FeatureStores, head: Head, rows: Int[np.ndarray, " m"]
) -> Float[np.ndarray, "m e"]:
    reader = FeatureReader(stores, head.info.spaces)
    blocks = [
        project(head.network, torch.from_numpy(reader(rows[start : start + ROWS_PER_BLOCK])))
        for start in range(0, len(rows), ROWS_PER_BLOCK)
    ]
    return torch.cat(blocks).numpy()


def _table(stores: FeatureStores, split: Split, rows: Int[np.ndarray, " m"]) -> dict[str, object]:
    folds = pl.Series(np.full(len(rows), split.fold, np.int32))
    return {"id": stores.items.ids[rows].tolist(), "fold": folds}
