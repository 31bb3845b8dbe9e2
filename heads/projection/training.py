"""Training a projection head: features stay on the device as one tensor, and so do the labels."""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from embed.devices import choose_device
from embed.errors import SelectionError, SettingsError
from embed.rows import Split, Where, codes, has_value, select_rows
from embed.store import Store
from heads.features import FeatureReader, SpaceReference, refer_to
from heads.head import HeadInfo
from heads.projection.loss_settings import LossSettings
from heads.projection.losses import MetricLoss
from heads.projection.network import Projection, ProjectionSettings, project
from heads.projection.start import start_at_discriminants
from retrieval.curves import score_curve
from retrieval.neighbours import neighbours_of_vectors

VALIDATION_NEIGHBOURS = 50


@dataclass(frozen=True)
class TrainingSettings:
    """How a head is trained: AdamW, with a cosine schedule after a linear warm-up."""

    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    warmup_epochs: float = 2.0
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or not 0 < self.learning_rate < math.inf:
            raise SettingsError(
                f"training needs --epochs of at least 1, --batch-size of at least 2 and "
                f"a finite --learning-rate above 0: found {self.epochs}, {self.batch_size} and "
                f"{self.learning_rate}"
            )


@dataclass(frozen=True)
class Task:
    """What a head learns, and from which rows: the target's values are the classes."""

    spaces: tuple[str, ...]
    target: str
    split: Split
    where: tuple[Where, ...] = ()


@dataclass(frozen=True)
class Epoch:
    """One epoch: mean training loss, and row F1 on the validation rows at their best threshold."""

    epoch: int
    loss: float
    row_f1: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class TrainedHead:
    """A network at its best epoch, the earliest of equals, what it is, and how it came to be."""

    info: HeadInfo
    network: Projection
    history: tuple[Epoch, ...]
    seconds: float


@dataclass(frozen=True)
class _Data:
    """Features and labels on the device; the validation rows' labels are numbers of their own.

    By a split of groups, validation has no class of training; a split column may share classes.
    """

    features: Tensor  # (n, d) training rows
    labels: Tensor  # (n,) from 0 to c − 1
    classes: Shaped[np.ndarray, " c"]
    val_features: Tensor  # (m, d)
    val_labels: Int[np.ndarray, " m"]


@dataclass(frozen=True)
class _Learner:
    """What changes during training."""

    network: Projection
    loss: MetricLoss
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler


def train_projection(
    store: Store,
    task: Task,
    head: ProjectionSettings | None = None,
    training: TrainingSettings | None = None,
) -> TrainedHead:
    """Train a projection head, and keep it as it was at the epoch with the best validation row F1.

    The earliest of equally good epochs is kept. Rows without a target are left out. The same seed
    gives the same weights on one machine's CPU; a GPU adds up in an order that varies.

    Raises:
        StoreError: a space or column that the store does not have, or vectors that are not finite.
        SelectionError: fewer than two classes to train on, or no two validation rows that match.
        SettingsError: a start or features that don't fit, or a learning rate that diverges.
    """
    head, training = head or ProjectionSettings(), training or TrainingSettings()
    started = time.monotonic()
    references = refer_to(store, task.spaces)
    device = choose_device(training.device)
    data = _load(store, task, references, device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(training.seed)
        network, history, best = _fit(data, head, training, device)
    info = HeadInfo(
        kind="projection",
        spaces=references,
        target=task.target,
        classes=tuple(map(str, data.classes)),
        split=task.split,
        where=tuple(f"{where.column}={where.value}" for where in task.where),
        settings=asdict(head),
        training=asdict(training),
        num_train=len(data.labels),
        num_validation=len(data.val_labels),
        metrics={"row_f1": best.row_f1, "loss": best.loss, "epoch": best.epoch},
    )
    return TrainedHead(info, network, tuple(history), time.monotonic() - started)


def _load(
    store: Store, task: Task, references: tuple[SpaceReference, ...], device: torch.device
) -> _Data:
    values = store.column(task.target)
    chosen = select_rows(store, task.where) & has_value(values)
    sides = task.split.sides(store)
    train, val = (np.flatnonzero(chosen & (sides == side)) for side in ("train", "val"))
    classes, labels = np.unique(values[train], return_inverse=True)
    if len(classes) < 2:
        raise SelectionError(
            f"column '{task.target}' has {len(classes)} classes in {len(train)} training rows: "
            f"a head needs at least 2; look at --target, --where and --split"
        )
    val_labels = codes(values[val])
    if len(val) == 0 or len(np.unique(val_labels)) == len(val):
        raise SelectionError(
            f"no two of the {len(val)} validation rows share a value of '{task.target}', so the "
            f"best epoch can't be told: give validation a larger share with --split"
        )
    features_of = FeatureReader(store, references)
    return _Data(
        torch.from_numpy(features_of(train)).to(device),
        torch.from_numpy(labels.astype(np.int64)).to(device),
        classes,
        torch.from_numpy(features_of(val)).to(device),
        val_labels,
    )


def _fit(
    data: _Data, settings: ProjectionSettings, training: TrainingSettings, device: torch.device
) -> tuple[Projection, list[Epoch], Epoch]:
    """The network as it was at the best epoch, all epochs, and the best one."""
    learner = _learner(data, settings, training, device)
    history: list[Epoch] = []
    best: Epoch | None = None
    best_weights: dict[str, Tensor] = {}
    for number in range(1, training.epochs + 1):
        epoch = _run_epoch(number, data, learner, training)
        history.append(epoch)
        if best is None or epoch.row_f1 > best.row_f1:
            best = epoch
            weights = learner.network.state_dict()
            best_weights = {name: tensor.clone() for name, tensor in weights.items()}
    assert best is not None  # TrainingSettings has at least one epoch
    learner.network.load_state_dict(best_weights)
    return learner.network.eval(), history, best


def _learner(
    data: _Data, settings: ProjectionSettings, training: TrainingSettings, device: torch.device
) -> _Learner:
    network = Projection(data.features.shape[1], settings).to(device)
    loss_settings = LossSettings(settings.loss, settings.scale)
    if settings.loss == "arcface":
        loss_settings = replace(loss_settings, margin_radians=settings.margin_radians)
    loss = MetricLoss(torch.bincount(data.labels), settings.dim, loss_settings).to(device)
    if settings.start == "discriminants":
        start_at_discriminants(network, loss, data.features, data.labels)
    optimizer = torch.optim.AdamW(
        [*network.parameters(), *loss.parameters()],
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
    )
    steps_per_epoch = math.ceil(len(data.labels) / training.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, _cosine_with_warmup(training, steps_per_epoch)
    )
    return _Learner(network, loss, optimizer, schedule)


def _run_epoch(number: int, data: _Data, learner: _Learner, training: TrainingSettings) -> Epoch:
    started = time.monotonic()
    mean_loss = _train_epoch(data, learner, training.batch_size)
    _refuse_divergence(number, mean_loss, learner.network, training)
    row_f1 = validation_row_f1(learner.network, data.val_features, data.val_labels)
    rate = float(learner.schedule.get_last_lr()[0])
    return Epoch(number, mean_loss, row_f1, rate, time.monotonic() - started)


def _refuse_divergence(
    number: int, mean_loss: float, network: Projection, training: TrainingSettings
) -> None:
    # The epoch's last step comes after its last loss, so the weights are looked at as well.
    is_finite = all(bool(weights.isfinite().all()) for weights in network.parameters())
    if not (math.isfinite(mean_loss) and is_finite):
        raise SettingsError(
            f"training diverged at epoch {number}: the loss is {mean_loss:g} and the weights are "
            f"{'' if is_finite else 'not '}finite; lower --learning-rate, which was "
            f"{training.learning_rate:g}"
        )


def _train_epoch(data: _Data, learner: _Learner, batch_size: int) -> float:
    """One pass over the training rows in a new order; returns the mean loss of a row."""
    learner.network.train()
    total = torch.zeros((), device=data.labels.device)
    for batch in _shuffled_batches(len(data.labels), batch_size, data.labels.device):
        learner.optimizer.zero_grad(set_to_none=True)
        value = learner.loss(learner.network(data.features[batch]), data.labels[batch])
        value.backward()
        learner.optimizer.step()
        learner.schedule.step()
        total += value.detach() * len(batch)  # stays on the device: no wait at each step
    return float(total) / len(data.labels)


def _shuffled_batches(num_rows: int, size: int, device: torch.device) -> Iterator[Tensor]:
    order = torch.randperm(num_rows, device=device)
    yield from torch.split(order, size)


def validation_row_f1(
    network: Projection, features: Tensor, labels: Int[np.ndarray, " m"]
) -> float:
    """Row F1 of the rows among themselves, at the threshold that is best for them."""
    vectors = project(network, features).cpu().numpy()
    neighbours = neighbours_of_vectors(vectors, VALIDATION_NEIGHBOURS)
    curve = score_curve(neighbours, labels)
    return float(curve.f1[curve.best_cut()])


def _cosine_with_warmup(training: TrainingSettings, steps_per_epoch: int) -> Any:
    num_steps = training.epochs * steps_per_epoch
    num_warmup = training.warmup_epochs * steps_per_epoch

    def share(step: int) -> float:
        if step < num_warmup:
            return (step + 1) / (num_warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / max(1, num_steps - num_warmup)))

    return share
