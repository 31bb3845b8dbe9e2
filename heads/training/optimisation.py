"""Optimisers, learning rates over the steps of a run, and their state as named tensors."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from embed.errors import HeadError, SettingsError

OptimizerName = Literal["adamw", "sgd"]
ScheduleName = Literal["cosine", "step", "multi-step", "one-cycle", "constant"]
OPTIMIZERS: tuple[OptimizerName, ...] = ("adamw", "sgd")
SCHEDULES: tuple[ScheduleName, ...] = ("cosine", "step", "multi-step", "one-cycle", "constant")

# Which choices use an option; with the others it stays as it is by default.
_USED_BY: dict[str, tuple[str, ...]] = {
    "momentum": ("sgd",),
    "warmup_epochs": ("cosine",),
    "step_epochs": ("step",),
    "milestones": ("multi-step",),
    "gamma": ("step", "multi-step"),
}


@dataclass(frozen=True)
class OptimisationSettings:
    """The optimiser, and its learning rate over the epochs.

    `learning_rate` is the highest of the schedule; the centres of a loss have their own, or the
    same where it is None. Epochs may be fractions: `milestones` of (0.5, 2.0) lie in the middle
    of the first epoch and at the end of the second. `clip_norm` is the largest length of all
    gradients together; None leaves them as they are.

    - cosine: a linear rise over `warmup_epochs`, then half a cosine down to 0.
    - step: times `gamma` after every `step_epochs`.
    - multi-step: times `gamma` at each of `milestones`.
    - one-cycle: Smith & Topin, 2019 (arXiv:1708.07120), as torch has it: up for 30 % of the steps,
      then down to nearly 0, with the momentum moving the other way.
    - constant: as it is.
    """

    optimizer: OptimizerName = "adamw"
    learning_rate: float = 5e-4
    centre_learning_rate: float | None = None
    weight_decay: float = 1e-2
    momentum: float = 0.9
    schedule: ScheduleName = "cosine"
    warmup_epochs: float = 2.0
    step_epochs: float | None = None
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        _refuse_unknown("--optimizer", self.optimizer, OPTIMIZERS)
        _refuse_unknown("--schedule", self.schedule, SCHEDULES)
        self._refuse_out_of_range()
        self._refuse_unused()
        self._refuse_missing()

    def _refuse_out_of_range(self) -> None:
        _refuse_unless_positive("--learning-rate", self.learning_rate)
        _refuse_unless_positive("--centre-learning-rate", self.centre_learning_rate)
        _refuse_unless_positive("--step-epochs", self.step_epochs)
        _refuse_unless_positive("--clip-norm", self.clip_norm)
        if not 0 <= self.weight_decay < math.inf:
            raise SettingsError(f"--weight-decay is at least 0: found {self.weight_decay}")
        if not 0 <= self.momentum < 1:
            raise SettingsError(f"--momentum lies from 0 to below 1: found {self.momentum}")
        if not 0 <= self.warmup_epochs < math.inf:
            raise SettingsError(f"--warmup-epochs is at least 0: found {self.warmup_epochs}")
        if not 0 < self.gamma <= 1:
            raise SettingsError(f"--gamma lies above 0 and up to 1: found {self.gamma}")
        ascending = sorted(set(self.milestones))
        if list(self.milestones) != ascending or not all(0 < m < math.inf for m in ascending):
            raise SettingsError(
                f"--milestones are epochs above 0 in ascending order: found "
                f"{', '.join(map(str, self.milestones))}"
            )

    def _refuse_unused(self) -> None:
        chosen = (self.optimizer, self.schedule)
        for field in fields(self):
            users = _USED_BY.get(field.name, chosen)
            value = getattr(self, field.name)
            # A 0 asks for nothing, which is what there will be.
            if value and value != field.default and not set(users) & set(chosen):
                option = f"--{field.name.replace('_', '-')}"
                kind = "--optimizer" if users[0] in OPTIMIZERS else "--schedule"
                raise SettingsError(
                    f"{option} is for {kind} {' or '.join(users)}: found {value} with "
                    f"{kind} {self.optimizer if kind == '--optimizer' else self.schedule}"
                )

    def _refuse_missing(self) -> None:
        if self.schedule == "step" and self.step_epochs is None:
            raise SettingsError("--schedule step needs --step-epochs, such as --step-epochs 10")
        if self.schedule == "multi-step" and not self.milestones:
            raise SettingsError("--schedule multi-step needs --milestones, such as 4, 6 and 10")


def _refuse_unknown(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"{option} is {' or '.join(known)}: found '{value}'")


def _refuse_unless_positive(option: str, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise SettingsError(f"{option} is a finite number above 0: found {value}")


def make_optimizer(
    body_parameters: Iterable[nn.Parameter],
    centre_parameters: Iterable[nn.Parameter],
    settings: OptimisationSettings,
) -> torch.optim.Optimizer:
    """The optimiser, with groups named "weights", "biases and norms" and "centres".

    Only the weights decay. Biases and norms are few and their size is no sign of overfitting; and
    a loss on cosines sees the directions of centres alone, so that decay would shorten them, and
    each step turn them further, without a change in what they say. The library of the metric
    losses doesn't decay them either.
    """
    body, centres = list(body_parameters), list(centre_parameters)
    groups: list[dict[str, Any]] = [
        {"name": "weights", "params": [p for p in body if p.ndim > 1]},
        {
            "name": "biases and norms",
            "params": [p for p in body if p.ndim <= 1],
            "weight_decay": 0.0,
        },
        {
            "name": "centres",
            "params": centres,
            "weight_decay": 0.0,
            "lr": settings.centre_learning_rate or settings.learning_rate,
        },
    ]
    groups = [group for group in groups if group["params"]]
    shared: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        # torch's fused one fails where a weight gets its first gradient after others did.
        return torch.optim.SGD(groups, momentum=settings.momentum, foreach=True, **shared)
    # One fused kernel: on a CPU 1.0 ms for 1.5 M parameters, where torch's default takes 3.2.
    return torch.optim.AdamW(groups, fused=True, **shared)


def clip_gradients(optimizer: torch.optim.Optimizer, settings: OptimisationSettings) -> None:
    """Shorten all gradients together to `clip_norm`, if there is one and they are longer."""
    if settings.clip_norm is not None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, settings.clip_norm)


def make_schedule(
    optimizer: torch.optim.Optimizer,
    settings: OptimisationSettings,
    num_epochs: int,
    steps_per_epoch: int,
    steps_done: int = 0,
) -> LRScheduler:
    """The learning rates of a new optimiser, one `step()` for each of its steps.

    With `steps_done` it stands where it would stand after so many steps, and needs nothing else to
    be restored: every rate is a function of the number of steps. torch's own StepLR and
    MultiStepLR are not, since they multiply what the optimiser has.
    """
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])  # what the scheduler multiplies, once resumed
    if settings.schedule == "one-cycle":
        return _one_cycle(optimizer, num_epochs * steps_per_epoch, steps_done)
    share = _share(settings, num_epochs, steps_per_epoch)
    return LambdaLR(optimizer, share, last_epoch=steps_done - 1)


def _one_cycle(optimizer: torch.optim.Optimizer, num_steps: int, steps_done: int) -> OneCycleLR:
    # A first one writes the limits of rates and momenta to the groups, a resumed one reads them.
    highest = [group["lr"] for group in optimizer.param_groups]
    schedule = OneCycleLR(optimizer, highest, total_steps=num_steps)
    if steps_done:
        schedule = OneCycleLR(optimizer, highest, total_steps=num_steps, last_epoch=steps_done - 1)
    return schedule


def _share(
    settings: OptimisationSettings, num_epochs: int, steps_per_epoch: int
) -> Callable[[int], float]:
    """The learning rate at a step, as a share of the highest."""
    if settings.schedule == "cosine":
        num_warmup = settings.warmup_epochs * steps_per_epoch
        return _cosine_with_warmup(num_epochs * steps_per_epoch, num_warmup)
    if settings.schedule == "step":
        assert settings.step_epochs is not None  # the settings have refused it
        size = max(1, round(settings.step_epochs * steps_per_epoch))
        return lambda step: settings.gamma ** (step // size)
    milestones = [round(epoch * steps_per_epoch) for epoch in settings.milestones]
    return lambda step: settings.gamma ** bisect_right(milestones, step)  # constant: none


def _cosine_with_warmup(num_steps: int, num_warmup: float) -> Callable[[int], float]:
    def share(step: int) -> float:
        if step < num_warmup:
            return (step + 1) / (num_warmup + 1)
        done = (step - num_warmup) / max(1, num_steps - num_warmup)
        return 0.5 * (1 + math.cos(math.pi * done))

    return share


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimiser remembers, as copies named `NUMBER.QUANTITY`, such as `0.exp_avg`.

    Numbers are those of the parameters in the order of the groups.
    """
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value.clone()
        for number, quantities in state.items()
        for name, value in quantities.items()
        if value is not None  # SGD without momentum
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Have the optimiser remember what `optimizer_tensors` gave of another.

    Learning rates are not among them: `make_schedule` sets them.

    Raises:
        HeadError: tensors of other parameters.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        if not number.isdigit() or int(number) >= len(parameters):
            raise HeadError(
                f"the state of an optimiser of {len(parameters)} parameters has '{key}': it was "
                f"kept with other settings; train anew"
            )
        shape = parameters[int(number)].shape
        if tensor.ndim and tensor.shape != shape:
            raise HeadError(
                f"'{key}' of the optimiser's state has shape {tuple(tensor.shape)}, and its "
                f"parameter {tuple(shape)}: it was kept with other settings; train anew"
            )
        state.setdefault(int(number), {})[name] = tensor.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
