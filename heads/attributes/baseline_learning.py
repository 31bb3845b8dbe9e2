"""Baselines from the same rows as attribute heads, judged in the same way.

They are fitted at once and not in epochs: there is no loss, no history, and no epoch to choose.
"""

from dataclasses import asdict, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from embed.errors import SettingsError
from heads.attributes.baselines import (
    Majority,
    MajoritySettings,
    NearestNeighbours,
    NeighbourSettings,
)
from heads.attributes.logistic import LogisticSettings, fit_logistic
from heads.attributes.rows import AttributeRows, attribute_info, attribute_rows
from heads.attributes.validation import AttributeValidation
from heads.features import FeatureReader, FeatureStores, refer_to
from heads.kinds import LOGISTIC, MAJORITY, NEIGHBOURS
from heads.seen import ids_of_sides
from heads.tables import ResidentTable, open_table
from heads.tasks import Task, rows_digest
from heads.training.loop import TrainedHead
from heads.training.settings import TrainingSettings

CPU = torch.device("cpu")
BaselineSettings = MajoritySettings | NeighbourSettings | LogisticSettings
KIND_OF_SETTINGS: dict[type[BaselineSettings], str] = {
    MajoritySettings: MAJORITY,
    NeighbourSettings: NEIGHBOURS,
    LogisticSettings: LOGISTIC,
}


def train_baseline(
    stores: FeatureStores,
    task: Task,
    settings: BaselineSettings,
    training: TrainingSettings,
    device: torch.device,
) -> TrainedHead:
    """The baseline of a task, with its figures on the validation rows; its history is empty.

    Of `training` the bound on memory counts alone.

    Raises:
        StoreError: a space or column that the store does not have, or vectors that are not finite.
        SelectionError: a side without rows, or a target with fewer than two classes.
        SettingsError: more training rows than memory has room for.
    """
    references = refer_to(stores, task.spaces, task.weights)
    rows = attribute_rows(stores.items, task)
    reader = FeatureReader(stores, references)
    network, warned = _fit(settings, reader, rows, training.memory_bytes)
    left = _left(training.memory_bytes, network)
    val_table = open_table(reader, rows.sides.val, device, left)
    validation = AttributeValidation(val_table, rows.vocabulary, rows.val, rows.groups)
    reported = validation.report_of(validation.outputs(network.to(device)))
    info = attribute_info(
        KIND_OF_SETTINGS[type(settings)],
        task,
        references,
        rows,
        settings=asdict(settings),
        training={"device": training.device, "memory_bytes": training.memory_bytes},
    )
    digest = rows_digest(stores.items, task, rows.sides.val)
    info = replace(
        info,
        metrics=reported.metrics,
        intervals=reported.intervals,
        details={**reported.details, "validation_rows": digest},
    )
    seen_ids = ids_of_sides(stores.items, rows.sides)
    return TrainedHead(info, network.eval(), (), 0.0, (*rows.notes, *warned), seen_ids)


def _fit(
    settings: BaselineSettings, reader: FeatureReader, rows: AttributeRows, max_bytes: int | None
) -> tuple[nn.Module, tuple[str, ...]]:
    """The fitted network, and what to tell the user of the fit."""
    vocabulary, codes = rows.vocabulary, rows.train
    if isinstance(settings, MajoritySettings):
        majority = Majority(vocabulary.num_classes())
        majority.fit(vocabulary.class_counts())
        return majority, ()
    features = _all_features(reader, rows, max_bytes)
    if isinstance(settings, LogisticSettings):
        return fit_logistic(vocabulary, features.numpy(), codes, settings)
    neighbours = NearestNeighbours(
        len(features), reader.num_features, vocabulary.num_classes(), settings
    )
    neighbours.fit(features, torch.from_numpy(codes.categories), torch.from_numpy(codes.labels))
    return neighbours, ()


def _left(max_bytes: int | None, network: nn.Module) -> int | None:
    """What the network, which may hold the training rows, leaves of the bound on memory."""
    if max_bytes is None:
        return None
    held: int = sum(tensor.nbytes for tensor in network.state_dict().values())
    return max(max_bytes - held, 0)


def _all_features(
    reader: FeatureReader, rows: AttributeRows, max_bytes: int | None
) -> Float[Tensor, "n d"]:
    table = open_table(reader, rows.sides.train, CPU, max_bytes)
    if isinstance(table, ResidentTable):
        return table.features
    num_bytes = table.num_rows * table.num_features * 4
    raise SettingsError(
        f"this baseline needs the features of all {table.num_rows:,} training rows at once, "
        f"{num_bytes / 2**20:,.1f} MiB: give --memory more, or leave rows out by --max-per-class"
    )
