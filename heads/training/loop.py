"""The loop that trains any head: batches, steps, validation, which epoch is kept, going on."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from embed.errors import SettingsError
from heads.info import HeadInfo
from heads.tables import FeatureTable
from heads.tasks import Sides
from heads.training.averaging import WeightAverage
from heads.training.checkpoints import Checkpoint, State, random_state, restore_random_state
from heads.training.optimisation import (
    clip_gradients,
    load_optimizer_tensors,
    make_optimizer,
    make_schedule,
    optimizer_tensors,
)
from heads.training.sampling import Sampler
from heads.training.settings import TrainingSettings


@dataclass(frozen=True)
class Epoch:
    """One epoch: mean training loss, metrics on the validation rows, and seconds in all."""

    epoch: int
    loss: float
    metrics: Mapping[str, float]
    learning_rate: float
    seconds: float

    def flat(self) -> dict[str, Any]:
        """One level of names, as a line of the history holds them."""
        fields = asdict(self)
        return {"epoch": fields.pop("epoch"), **fields.pop("metrics"), **fields}


@dataclass(frozen=True)
class Reported:
    """What the kept network reaches on the validation rows, with 95 % intervals over groups."""

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    details: Mapping[str, Any] = field(default_factory=dict)


class Learner(ABC):
    """What is trained: a network, perhaps class centres beside it, and how good they are.

    `info` says what it is, its metrics still empty. `labels` (n,) are what rows are drawn by;
    `rows` are those of the store on both sides, `notes` what the user should know of them.
    `chosen_by` is the metric that the best epoch has most of.
    """

    info: HeadInfo
    network: nn.Module
    table: FeatureTable
    labels: Int[Tensor, " n"]
    rows: Sides
    notes: tuple[str, ...]
    chosen_by: str

    @abstractmethod
    def start(self) -> None:
        """Put the weights where training starts; not called where a run goes on."""

    @property
    def centres(self) -> nn.Module | None:
        """What has weights that are needed in training alone."""
        return None

    @abstractmethod
    def loss(self, index: Int[Tensor, " b"], features: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
        """The mean loss of a batch of rows of the table."""

    @abstractmethod
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Metrics of a network on the validation rows."""

    @abstractmethod
    def report(self, network: nn.Module) -> Reported:
        """All that there is to say of the kept network; may set what is fitted after training."""


@dataclass(frozen=True)
class Fitted:
    """The weights that are kept, all epochs, and the one that was kept."""

    network: nn.Module
    history: tuple[Epoch, ...]
    kept: Epoch


@dataclass(frozen=True)
class TrainedHead:
    """A head that has just been trained, the history of its epochs, and how long it took.

    `notes` are what the user should know of the rows that it was trained on, `seen_ids` those of
    `heads.seen.ids_of_sides`.
    """

    info: HeadInfo
    network: nn.Module
    history: tuple[Epoch, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    seen_ids: Int64[np.ndarray, " s"] | None = None


@dataclass(frozen=True)
class Reporting:
    """Who is told of each epoch, and where epochs are kept so that a killed run can go on.

    With `resume` it goes on from there, and `on_resume` is told how many epochs there are.
    """

    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    checkpoint: Checkpoint | None = None
    resume: bool = False
    on_resume: Callable[[int], None] = lambda num_epochs: None


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's generators start from a seed within the block, and go on as before after it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def fit(
    learner: Learner,
    sampler: Sampler,
    settings: TrainingSettings,
    reporting: Reporting | None = None,
) -> Fitted:
    """Train; the network of the kept epoch, the earliest of equally good ones, in evaluation mode.

    Raises:
        SettingsError: training diverges, or a checkpoint is of other settings.
        HeadError: a checkpoint is damaged.
    """
    reporting = reporting or Reporting()
    loop = _Loop(learner, sampler, settings)
    state = reporting.checkpoint.load() if reporting.checkpoint and reporting.resume else None
    if state is None:
        learner.start()
        loop.begin()
    else:
        loop.restore(state)
        reporting.on_resume(len(state.progress["history"]))
    while not loop.is_over:
        epoch = loop.run_epoch()
        if reporting.checkpoint is not None and reporting.checkpoint.is_due:
            reporting.checkpoint.save(loop.state())
        reporting.on_epoch(epoch)
    return loop.fitted()


class _Loop:
    """All that changes in training."""

    def __init__(self, learner: Learner, sampler: Sampler, settings: TrainingSettings) -> None:
        self._learner, self._sampler, self._settings = learner, sampler, settings
        self._device = learner.table.device
        centres = learner.centres
        of_centres = () if centres is None else centres.parameters()
        self._optimizer = make_optimizer(
            learner.network.parameters(), of_centres, settings.optimisation
        )
        self._weights = nn.ModuleDict({"network": learner.network})
        if centres is not None:
            self._weights["centres"] = centres
        self._average: WeightAverage | None = None
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._history: list[Epoch] = []
        self._kept: dict[str, Tensor] = {}

    def begin(self, num_steps: int = 0) -> None:
        """After so many steps, with the weights where they are."""
        self._schedule = make_schedule(
            self._optimizer,
            self._settings.optimisation,
            self._settings.epochs,
            self._sampler.num_steps,
            num_steps,
        )
        if self._settings.ema_decay:
            self._average = WeightAverage(self._learner.network, self._settings.ema_decay)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or too many in a row were no better."""
        num_done, patience = len(self._history), self._settings.patience
        if num_done >= self._settings.epochs:
            return True
        return patience is not None and num_done > 0 and num_done - self._best.epoch >= patience

    @property
    def _best(self) -> Epoch:
        name = self._learner.chosen_by
        return max(self._history, key=lambda epoch: (epoch.metrics[name], -epoch.epoch))

    @property
    def _kept_epoch(self) -> Epoch:
        return self._best if self._settings.keep == "best" else self._history[-1]

    def run_epoch(self) -> Epoch:
        """One pass, its validation, and the weights put aside if they are to be kept."""
        started = time.monotonic()
        number = len(self._history) + 1
        mean_loss = self._train()
        self._refuse_divergence(number, mean_loss)
        network = self._learner.network if self._average is None else self._average.module
        metrics = self._learner.validate(network)
        rate = float(self._optimizer.param_groups[0]["lr"])
        epoch = Epoch(number, mean_loss, metrics, rate, time.monotonic() - started)
        self._history.append(epoch)
        if self._kept_epoch is epoch:
            self._kept = {name: value.clone() for name, value in network.state_dict().items()}
        return epoch

    def _train(self) -> float:
        """The mean loss of a row over one pass."""
        learner = self._learner
        self._weights.train()
        total, num_rows = torch.zeros((), device=self._device), 0
        for index, features in learner.table.batches(self._sampler.batches(self._generator)):
            self._optimizer.zero_grad(set_to_none=True)
            loss = learner.loss(index, features)
            if loss.requires_grad:  # rows without anything to learn leave no gradient
                torch.autograd.backward(loss)
            self._step()
            total += loss.detach() * len(index)  # stays on the device: no wait at each step
            num_rows += len(index)
        return float(total) / num_rows

    def _step(self) -> None:
        clip_gradients(self._optimizer, self._settings.optimisation)
        self._optimizer.step()
        self._schedule.step()
        if self._average is not None:
            self._average.update(self._learner.network)

    def _refuse_divergence(self, number: int, mean_loss: float) -> None:
        # The epoch's last step comes after its last loss, so the weights are looked at as well.
        is_finite = all(bool(w.isfinite().all()) for w in self._learner.network.parameters())
        if not (math.isfinite(mean_loss) and is_finite):
            raise SettingsError(
                f"training diverged at epoch {number}: the loss is {mean_loss:g} and the weights "
                f"are {'' if is_finite else 'not '}finite; lower --learning-rate, which was "
                f"{self._settings.optimisation.learning_rate:g}"
            )

    def state(self) -> State:
        """All of it, for a checkpoint."""
        tensors = {
            **_prefixed("weights", self._weights.state_dict()),
            **_prefixed("optimizer", optimizer_tensors(self._optimizer)),
            **_prefixed("kept", self._kept),
            **random_state(self._device, self._generator),
        }
        if self._average is not None:
            tensors |= _prefixed("average", self._average.tensors())
        return State(tensors, {"history": [asdict(epoch) for epoch in self._history]})

    def restore(self, state: State) -> None:
        """Be where a checkpoint was made."""
        self._history = [Epoch(**fields) for fields in state.progress["history"]]
        self._weights.load_state_dict(_under("weights", state.tensors))
        load_optimizer_tensors(self._optimizer, _under("optimizer", state.tensors))
        self._kept = {n: t.to(self._device) for n, t in _under("kept", state.tensors).items()}
        self.begin(len(self._history) * self._sampler.num_steps)
        if self._average is not None:
            self._average.load_tensors(_under("average", state.tensors))
        restore_random_state(state.tensors, self._device, self._generator)

    def fitted(self) -> Fitted:
        """The network with the weights that are kept."""
        network = self._learner.network
        network.load_state_dict(self._kept)
        return Fitted(network.eval(), tuple(self._history), self._kept_epoch)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
