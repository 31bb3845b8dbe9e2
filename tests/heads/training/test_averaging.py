"""The moving average of weights, against a plain loop."""

import pytest
import torch
from torch import nn

from embed.errors import HeadError, SettingsError
from heads.training.averaging import WeightAverage


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def step(module: nn.Module) -> None:
    """Other weights and other running statistics."""
    module.train()
    module(torch.randn(8, 4))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_the_average_is_that_of_a_plain_loop() -> None:
    module = network(0)
    average = WeightAverage(module, decay=0.4)
    expected = [parameter.tolist() for parameter in module[0].parameters()]
    decays = []
    for updates in range(8):
        step(module)
        average.update(module)
        decays.append(min(0.4, (1 + updates) / (10 + updates)))
        expected = [
            (torch.tensor(old) * decays[-1] + new.detach() * (1 - decays[-1])).tolist()
            for old, new in zip(expected, module[0].parameters(), strict=True)
        ]
    assert decays[0] == 0.1
    assert decays[-1] == 0.4
    averaged: nn.Linear = average.module[0]  # type: ignore[index]
    torch.testing.assert_close(averaged.weight, torch.tensor(expected[0]))
    torch.testing.assert_close(averaged.bias, torch.tensor(expected[1]))


def test_buffers_are_those_in_training() -> None:
    module = network(0)
    average = WeightAverage(module, decay=0.9)
    step(module)
    average.update(module)
    kept, latest = dict(average.module.named_buffers()), dict(module.named_buffers())
    assert set(kept) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert all(torch.equal(kept[name], latest[name]) for name in kept)


def test_the_average_is_evaluated_and_learns_nothing() -> None:
    average = WeightAverage(network(0).train(), decay=0.9)
    assert not any(module.training for module in average.module.modules())
    assert not any(parameter.requires_grad for parameter in average.module.parameters())


def test_it_goes_on_from_tensors_to_the_last_bit() -> None:
    module = network(0)
    average = WeightAverage(module, decay=0.9)
    for _ in range(3):
        step(module)
        average.update(module)
    kept = average.tensors()
    other = WeightAverage(network(1), decay=0.9)
    other.load_tensors(kept)
    for _ in range(3):
        step(module)
        average.update(module)
        other.update(module)
    ours, theirs = other.tensors(), average.tensors()
    assert int(ours["num_updates"]) == 6
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert int(kept["num_updates"]) == 3  # copies


def test_tensors_of_another_head_are_refused() -> None:
    average = WeightAverage(network(0), decay=0.9)
    with pytest.raises(HeadError, match=r"of another head; train anew: .*Missing key"):
        average.load_tensors({"num_updates": torch.tensor(1)})
    weights = average.tensors()
    del weights["num_updates"]
    with pytest.raises(HeadError, match="lack 'num_updates'"):
        average.load_tensors(weights)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5])
def test_decays_out_of_range(decay: float) -> None:
    with pytest.raises(SettingsError, match=f"--ema-decay lies between 0 and 1: found {decay}"):
        WeightAverage(network(0), decay)
