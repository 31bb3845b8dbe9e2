"""Optimisers and schedules: against torch's own, and taken up again in the middle."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from embed.errors import HeadError, SettingsError
from heads.training.optimisation import (
    OPTIMIZERS,
    OptimisationSettings,
    OptimizerName,
    clip_gradients,
    load_optimizer_tensors,
    make_optimizer,
    make_schedule,
    optimizer_tensors,
)

NUM_EPOCHS, STEPS_PER_EPOCH = 6, 5
NUM_STEPS = NUM_EPOCHS * STEPS_PER_EPOCH
SCHEDULED = {
    "cosine": OptimisationSettings(learning_rate=0.1),
    "step": OptimisationSettings(learning_rate=0.1, schedule="step", step_epochs=2.0, gamma=0.5),
    "multi-step": OptimisationSettings(
        learning_rate=0.1, schedule="multi-step", milestones=(1.0, 2.4, 5.0)
    ),
    "one-cycle": OptimisationSettings(learning_rate=0.1, schedule="one-cycle"),
    "constant": OptimisationSettings(learning_rate=0.1, schedule="constant"),
}


class Learner:
    """A small network with centres, and what trains them."""

    def __init__(self, settings: OptimisationSettings, steps_done: int = 0) -> None:
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3))
        self.centres = nn.Linear(3, 5, bias=False)
        self.settings = settings
        self.optimizer = make_optimizer(self.body.parameters(), self.centres.parameters(), settings)
        self.schedule = make_schedule(
            self.optimizer, settings, NUM_EPOCHS, STEPS_PER_EPOCH, steps_done
        )

    def train(self, first: int, last: int) -> list[list[float]]:
        """Take these steps; returns the learning rates at each."""
        rates = []
        for step in range(first, last):
            features = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
            self.optimizer.zero_grad()
            self.centres(self.body(features)).square().mean().backward()
            clip_gradients(self.optimizer, self.settings)
            rates.append([group["lr"] for group in self.optimizer.param_groups])
            self.optimizer.step()
            self.schedule.step()
        return rates

    def weights(self) -> list[Tensor]:
        return [p.detach().clone() for m in (self.body, self.centres) for p in m.parameters()]


def of_torch(name: str, optimizer: torch.optim.Optimizer) -> LRScheduler:
    if name == "step":
        return StepLR(optimizer, 2 * STEPS_PER_EPOCH, 0.5)
    if name == "multi-step":
        return MultiStepLR(optimizer, [5, 12, 25], 0.1)
    if name == "one-cycle":
        return OneCycleLR(optimizer, 0.1, total_steps=NUM_STEPS)
    if name == "constant":
        return StepLR(optimizer, 10**6)
    num_warmup = 2 * STEPS_PER_EPOCH
    rise = LinearLR(optimizer, 1 / (num_warmup + 1), 1.0, num_warmup)
    return SequentialLR(
        optimizer, [rise, CosineAnnealingLR(optimizer, NUM_STEPS - num_warmup)], [num_warmup]
    )


@pytest.mark.parametrize("name", SCHEDULED)
def test_schedules_are_those_of_torch(name: str) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(2))], lr=0.1)
    schedule = of_torch(name, optimizer)
    expected = []
    for _ in range(NUM_STEPS):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    rates = Learner(SCHEDULED[name]).train(0, NUM_STEPS)
    # The centres have the rate of the weights where they have none of their own.
    assert rates == [pytest.approx([rate] * 3) for rate in expected]


def test_the_highest_rate_comes_after_the_warm_up() -> None:
    rates = [rate for rate, *_ in Learner(SCHEDULED["cosine"]).train(0, NUM_STEPS)]
    assert rates[0] == pytest.approx(0.1 / 11)  # ten steps of warm-up, the first above 0
    assert rates.index(max(rates)) == 10
    assert max(rates) == pytest.approx(0.1)
    assert rates[20] == pytest.approx(0.05)  # the middle of the cosine
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize("name", SCHEDULED)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_from_tensors_to_the_last_bit(name: str, optimizer: OptimizerName) -> None:
    settings = replace(SCHEDULED[name], optimizer=optimizer, clip_norm=0.05)
    whole = Learner(settings)
    rates = whole.train(0, NUM_STEPS)

    first = Learner(settings)
    first.train(0, 13)
    kept = optimizer_tensors(first.optimizer)
    weights = first.weights()
    first.train(13, 20)  # changes neither what was kept nor what goes on from it

    second = Learner(settings, steps_done=13)
    parameters = [*second.body.parameters(), *second.centres.parameters()]
    with torch.no_grad():
        for parameter, value in zip(parameters, weights, strict=True):
            parameter.copy_(value)
    load_optimizer_tensors(second.optimizer, kept)
    before = {name: tensor.clone() for name, tensor in kept.items()}
    assert second.train(13, NUM_STEPS) == rates[13:]
    for ours, theirs in zip(second.weights(), whole.weights(), strict=True):
        assert torch.equal(ours, theirs)
    assert all(torch.equal(before[name], kept[name]) for name in kept)


def test_names_of_the_tensors() -> None:
    adamw, sgd = (
        Learner(SCHEDULED["constant"]),
        Learner(replace(SCHEDULED["constant"], optimizer="sgd", momentum=0.0)),
    )
    adamw.train(0, 1)
    sgd.train(0, 1)
    quantities = ("step", "exp_avg", "exp_avg_sq")
    names = {f"{number}.{quantity}" for number in range(7) for quantity in quantities}
    assert set(optimizer_tensors(adamw.optimizer)) == names
    assert optimizer_tensors(sgd.optimizer) == {}
    assert optimizer_tensors(Learner(SCHEDULED["constant"]).optimizer) == {}


@pytest.mark.parametrize(
    ("key", "tensor", "message"),
    [
        ("7.exp_avg", torch.zeros(3), "an optimiser of 7 parameters has '7.exp_avg'"),
        ("body.weight", torch.zeros(3), "has 'body.weight'"),
        ("0.exp_avg", torch.zeros(6, 5), r"has shape \(6, 5\), and its parameter \(6, 4\)"),
    ],
)
def test_tensors_of_other_parameters_are_refused(key: str, tensor: Tensor, message: str) -> None:
    with pytest.raises(HeadError, match=message):
        load_optimizer_tensors(Learner(SCHEDULED["constant"]).optimizer, {key: tensor})


def test_only_weights_decay_and_centres_have_their_own_rate() -> None:
    settings = OptimisationSettings(
        learning_rate=0.1, centre_learning_rate=0.5, weight_decay=0.2, schedule="constant"
    )
    learner = Learner(settings)
    before = learner.weights()
    for group in learner.optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    learner.optimizer.step()
    for old, new in zip(before[:-1], learner.weights()[:-1], strict=True):
        assert torch.allclose(new, old * (1 - 0.1 * 0.2) if old.ndim > 1 else old)
    assert torch.equal(learner.weights()[-1], before[-1])
    assert learner.train(0, 1) == [[0.1, 0.1, 0.5]]
    names = [group["name"] for group in learner.optimizer.param_groups]
    assert names == ["weights", "biases and norms", "centres"]


def test_a_head_without_centres() -> None:
    body = nn.Linear(3, 2, bias=False)
    optimizer = make_optimizer(body.parameters(), (), OptimisationSettings())
    assert [group["name"] for group in optimizer.param_groups] == ["weights"]


def test_clipping_shortens_all_gradients_together() -> None:
    learner = Learner(OptimisationSettings(clip_norm=0.5))
    parameters = [p for group in learner.optimizer.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)

    def length() -> float:
        gradients = [p.grad.flatten() for p in parameters if p.grad is not None]
        return float(torch.cat(gradients).norm())

    before = length()
    clip_gradients(learner.optimizer, OptimisationSettings())
    assert length() == before
    clip_gradients(learner.optimizer, learner.settings)
    assert length() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learning_rate": 0.0}, "--learning-rate is a finite number above 0: found 0.0"),
        ({"learning_rate": math.inf}, "--learning-rate"),
        ({"centre_learning_rate": -1.0}, "--centre-learning-rate .*: found -1.0"),
        ({"clip_norm": 0.0}, "--clip-norm"),
        ({"weight_decay": -0.1}, "--weight-decay is at least 0: found -0.1"),
        ({"optimizer": "sgd", "momentum": 1.0}, "--momentum lies from 0 to below 1: found 1.0"),
        ({"warmup_epochs": -1.0}, "--warmup-epochs is at least 0: found -1.0"),
        ({"schedule": "step", "step_epochs": 2.0, "gamma": 1.5}, "--gamma .*: found 1.5"),
        ({"schedule": "step", "step_epochs": 0.0}, "--step-epochs is a finite number above 0"),
        ({"schedule": "step"}, "--schedule step needs --step-epochs"),
        ({"schedule": "multi-step"}, "--schedule multi-step needs --milestones"),
        ({"schedule": "multi-step", "milestones": (6.0, 4.0)}, "ascending order: found 6.0, 4.0"),
        ({"schedule": "multi-step", "milestones": (0.0, 4.0)}, "epochs above 0"),
        ({"momentum": 0.5}, "--momentum is for --optimizer sgd: found 0.5 with --optimizer adamw"),
        ({"gamma": 0.5}, "--gamma is for --schedule step or multi-step: found 0.5 with --schedule"),
        ({"milestones": (4.0,)}, "--milestones is for --schedule multi-step"),
        ({"step_epochs": 4.0}, "--step-epochs is for --schedule step: found 4.0"),
        ({"schedule": "constant", "warmup_epochs": 1.0}, "--warmup-epochs is for --schedule cos"),
    ],
)
def test_settings_that_do_not_fit(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        OptimisationSettings(**fields)


def test_settings_that_ask_for_nothing_are_taken() -> None:
    settings = OptimisationSettings(schedule="constant", warmup_epochs=0.0, momentum=0.0)
    optimizer = make_optimizer([nn.Parameter(torch.ones(2, 2))], [], settings)
    schedule = make_schedule(optimizer, settings, num_epochs=2, steps_per_epoch=3)
    rates = []
    for _ in range(6):
        rates += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    assert rates == [settings.learning_rate] * 6
