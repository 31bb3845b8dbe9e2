"""The network of all classifiers against single ones, and its loss against a loop."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from embed.errors import SettingsError
from heads.attributes.inputs import InputStatistics
from heads.attributes.loss import attribute_loss, balanced_weights, weights_of_labels
from heads.attributes.network import AttributeNetwork, AttributeSettings

# Three categories, three attributes: absent pairs, a pair of one class, one without any to learn.
NUM_CLASSES = np.array([[3, 0, 2], [1, 4, 2], [1, 0, 0]])
CATEGORIES = torch.tensor([1, 0, -1, 1, 2, 0, 1, 0, 0, -1])
NUM_FEATURES = 6


def network(**settings: float) -> AttributeNetwork:
    torch.manual_seed(0)
    chosen = AttributeSettings(**({"input_dropout": 0.0} | settings))  # type: ignore[arg-type]
    made = AttributeNetwork(NUM_FEATURES, NUM_CLASSES, chosen)
    with torch.no_grad():
        for weights in made.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    rows, categories = torch.randn(40, NUM_FEATURES) * 3 + 1, torch.arange(40) % 2
    blocks = [(torch.arange(40), rows)]
    made.fit_inputs(InputStatistics(blocks, categories, (rows[:, :3] > 1).long()))
    return made


def features() -> Tensor:
    return torch.randn(len(CATEGORIES), NUM_FEATURES, generator=torch.Generator().manual_seed(1))


def labels() -> Tensor:
    """A label at random for each pair, some missing."""
    generator = torch.Generator().manual_seed(2)
    numbers = torch.from_numpy(NUM_CLASSES)[CATEGORIES]
    drawn = (torch.rand(numbers.shape, generator=generator) * numbers).long()
    missing = (numbers == 0) | (CATEGORIES < 0)[:, None]
    missing[3] = True
    return drawn.masked_fill(missing, -1)


def single_heads(whole: AttributeNetwork, hidden: int) -> dict[tuple[int, int], nn.Module]:
    """The same weights in layers of torch's own, a stack for each pair."""
    state = whole.state_dict()
    heads: dict[tuple[int, int], nn.Module] = {}
    for c, numbers in enumerate(NUM_CLASSES.tolist()):
        learned = [a for a, number in enumerate(numbers) if number > 1]
        for p, a in enumerate(learned):
            own = {key: state[f"categories.{c}.pairs.{key}"] for key in _keys(hidden)}
            if hidden:
                rows = slice(p * hidden, (p + 1) * hidden)
                stack = nn.Sequential(
                    nn.Linear(NUM_FEATURES, hidden),
                    nn.LayerNorm(hidden),
                    nn.ReLU(),
                    nn.Linear(hidden, numbers[a]),
                )
                tensors = [
                    own["first.weight"][rows],
                    own["first.bias"][rows],
                    own["norm_weight"][p],
                    own["norm_bias"][p],
                    own["second_weight"][p, :, : numbers[a]].T,
                    own["second_bias"][p, 0, : numbers[a]],
                ]
            else:
                start = sum(numbers[other] for other in learned[:p])
                stack = nn.Sequential(nn.Linear(NUM_FEATURES, numbers[a]))
                rows = slice(start, start + numbers[a])
                tensors = [own["weight"][rows], own["bias"][rows]]
            stack.load_state_dict(dict(zip(stack.state_dict(), tensors, strict=True)))
            heads[c, a] = stack
    return heads


def _keys(hidden: int) -> list[str]:
    if not hidden:
        return ["weight", "bias"]
    norm = ["norm_weight", "norm_bias", "second_weight", "second_bias"]
    return ["first.weight", "first.bias", *norm]


def logits_by_loop(
    whole: AttributeNetwork, heads: dict[tuple[int, int], nn.Module], rows: Tensor
) -> Tensor:
    standard = (rows - whole.input_mean) * whole.input_scale
    logits = torch.full((len(rows), *NUM_CLASSES.shape[1:], NUM_CLASSES.max()), -math.inf)
    for row, c in enumerate(CATEGORIES.tolist()):
        for a in range(NUM_CLASSES.shape[1] if c >= 0 else 0):
            if NUM_CLASSES[c, a] == 1:
                logits[row, a, 0] = 0
            elif NUM_CLASSES[c, a]:
                logits[row, a, : NUM_CLASSES[c, a]] = heads[c, a](standard[row][None])[0]
    return logits


@pytest.mark.parametrize("hidden", [0, 5])
def test_logits_and_gradients_equal_those_of_single_heads(hidden: int) -> None:
    whole = network(hidden=hidden, dropout=0.0)
    heads = single_heads(whole, hidden)
    inputs, expected_inputs = features().requires_grad_(), features().requires_grad_()
    logits = whole(inputs, CATEGORIES)
    expected = logits_by_loop(whole, heads, expected_inputs)
    torch.testing.assert_close(logits, expected)
    torch.autograd.backward(attribute_loss(logits, labels()))
    torch.autograd.backward(attribute_loss(expected, labels()))
    torch.testing.assert_close(inputs.grad, expected_inputs.grad)
    found = dict(whole.named_parameters())
    for (c, a), head in heads.items():
        assert all(p.grad is not None for p in head.parameters()), (c, a)
        first = next(iter(head.parameters())).grad
        assert first is not None
        key = f"categories.{c}.pairs." + ("first.weight" if hidden else "weight")
        gradient = found[key].grad
        assert gradient is not None
        start = _first_row(c, a, hidden)
        torch.testing.assert_close(gradient[start : start + len(first)], first)
        if hidden:
            position = _first_row(c, a, 1)
            *_, weight, bias = [p.grad for p in head.parameters()]
            assert weight is not None and bias is not None
            second = found[f"categories.{c}.pairs.second_weight"].grad
            assert second is not None
            torch.testing.assert_close(second[position, :, : len(weight)], weight.T)
            assert not second[position, :, len(weight) :].any()


def _first_row(category: int, attribute: int, hidden: int) -> int:
    before = [int(number) for number in NUM_CLASSES[category, :attribute] if number > 1]
    return len(before) * hidden if hidden else sum(before)


def test_a_batch_of_one_category_gives_the_same() -> None:
    whole = network(dropout=0.0, hidden=5)
    mixed = whole(features(), CATEGORIES)
    alone = whole(features()[CATEGORIES == 1], CATEGORIES[CATEGORIES == 1])
    torch.testing.assert_close(alone, mixed[CATEGORIES == 1])


@pytest.mark.parametrize("category", [-1, 2])
def test_rows_with_nothing_to_learn_have_no_gradient(category: int) -> None:
    whole = network(hidden=5)
    logits = whole(features(), torch.full((len(CATEGORIES),), category))
    assert logits.isfinite().sum() == (len(CATEGORIES) if category == 2 else 0)
    assert not logits.requires_grad


def test_an_empty_batch_has_no_logits() -> None:
    logits = network()(features()[:0], CATEGORIES[:0])
    assert logits.shape == (0, 3, 4)


@pytest.mark.parametrize("hidden", [0, 5])
def test_a_network_comes_back_from_its_file(hidden: int, tmp_path: Path) -> None:
    made = network(hidden=hidden).eval()
    save_file(made.state_dict(), tmp_path / "n.safetensors")
    again = AttributeNetwork(NUM_FEATURES, NUM_CLASSES, AttributeSettings(hidden=hidden)).eval()
    again.load_state_dict(load_file(tmp_path / "n.safetensors"))
    assert torch.equal(again(features(), CATEGORIES), made(features(), CATEGORIES))


def test_names_and_shapes_are_those_of_the_file_format() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in network(hidden=5).state_dict().items()}
    assert shapes == {
        "input_mean": (6,),
        "input_scale": (6,),
        "temperature": (),
        "categories.0.pairs.first.weight": (10, 6),
        "categories.0.pairs.first.bias": (10,),
        "categories.0.pairs.norm_weight": (2, 5),
        "categories.0.pairs.norm_bias": (2, 5),
        "categories.0.pairs.second_weight": (2, 5, 3),
        "categories.0.pairs.second_bias": (2, 1, 3),
        "categories.1.pairs.first.weight": (10, 6),
        "categories.1.pairs.first.bias": (10,),
        "categories.1.pairs.norm_weight": (2, 5),
        "categories.1.pairs.norm_bias": (2, 5),
        "categories.1.pairs.second_weight": (2, 5, 4),
        "categories.1.pairs.second_bias": (2, 1, 4),
    }


@pytest.mark.parametrize("hidden", [0, 32])
def test_bfloat16_products_stay_near_those_of_float32(hidden: int) -> None:
    made = network(hidden=hidden, dropout=0.0)
    exact = made(features(), CATEGORIES)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made(features(), CATEGORIES)
        loss = attribute_loss(rounded, labels())
    assert rounded.dtype == loss.dtype == torch.float32
    assert torch.equal(rounded.isfinite(), exact.isfinite())
    difference = (rounded - exact)[exact.isfinite()]
    assert 0 < difference.abs().max() < 0.05
    torch.autograd.backward(loss)
    assert all(
        p.grad is not None and p.grad.isfinite().all() and p.grad.dtype == torch.float32
        for p in made.parameters()
    )


def test_dropout_is_off_when_evaluating() -> None:
    made = network(dropout=0.5, input_dropout=0.5, hidden=5)
    assert not torch.equal(made(features(), CATEGORIES), made(features(), CATEGORIES))
    made.eval()
    assert torch.equal(made(features(), CATEGORIES), made(features(), CATEGORIES))


def test_a_linear_classifier_beside_has_its_share_and_does_not_learn() -> None:
    made = network(hidden=5, linear_share=0.25).eval()
    assert made.beside is not None
    logits, exists = made(features(), CATEGORIES), made(features(), CATEGORIES).isfinite()
    learned = made.learned(features(), CATEGORIES)
    linear = made.beside(features(), CATEGORIES)
    torch.testing.assert_close(logits[exists], (0.75 * learned + 0.25 * linear)[exists])
    assert torch.equal(learned.isfinite(), exists)
    torch.autograd.backward(attribute_loss(logits, labels()))
    assert all(weights.grad is None for weights in made.beside.parameters())
    assert any(weights.grad is not None for weights in made.parameters())


def test_the_linear_share_goes_by_what_a_regression_takes() -> None:
    few, many = 2**20, 2**30
    assert AttributeSettings().for_data(few, many).linear_share == 0.5
    assert AttributeSettings().for_data(few, many + 1).linear_share == 0
    assert AttributeSettings().for_data(many, many).linear_share == 0
    assert AttributeSettings(hidden=0).for_data(few, few).linear_share == 0
    assert AttributeSettings(linear_share=0.1).for_data(many, 2 * many).linear_share == 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"linear_share": 1.0}, "--linear-share lies from 0 to below 1: found 1.0"),
        ({"linear_share": 0.5, "hidden": 0}, "--hidden 0 leaves none"),
        ({"hidden": -1}, "--hidden is a number of units"),
        ({"dropout": 1.0}, "--dropout lies from 0 to below 1: found 1.0"),
        ({"input_dropout": -0.1}, "--input-dropout lies from 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        AttributeSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_loss_equals_a_loop(smoothing: float, gamma: float, is_weighted: bool) -> None:
    logits = network(hidden=5)(features(), CATEGORIES).detach().requires_grad_()
    weights = torch.rand(labels().shape, generator=torch.Generator().manual_seed(3))
    total, mass = 0.0, 0.0
    for row, attribute in torch.nonzero(labels() >= 0).tolist():
        known = logits[row, attribute].detach().double()
        probabilities = torch.softmax(known[known.isfinite()], dim=0)
        target = torch.full_like(probabilities, smoothing / len(probabilities))
        true = int(labels()[row, attribute])
        target[true] += 1 - smoothing
        term = -(target * probabilities.log()).sum() * (1 - probabilities[true]) ** gamma
        weight = float(weights[row, attribute]) if is_weighted else 1.0
        total, mass = total + weight * float(term), mass + weight
    loss = attribute_loss(logits, labels(), weights if is_weighted else None, smoothing, gamma)
    assert loss.item() == pytest.approx(total / mass, rel=1e-5)
    torch.autograd.backward(loss)
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert not logits.grad[labels() < 0].any()
    assert not logits.grad[~logits.isfinite()].any()


def test_a_batch_without_labels_has_no_loss() -> None:
    whole = network(hidden=5)
    loss = attribute_loss(whole(features(), CATEGORIES), torch.full_like(labels(), -1))
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in whole.parameters())


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_gradients_are_finite_where_a_class_is_sure(gamma: float) -> None:
    logits = torch.tensor([[[100.0, -100.0]], [[0.0, -math.inf]]], requires_grad=True)
    torch.autograd.backward(attribute_loss(logits, torch.tensor([[0], [0]]), focal_gamma=gamma))
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_balanced_weights_by_hand() -> None:
    counts = torch.tensor([[[1, 4, 0], [0, 0, 0]]])
    halfway = balanced_weights(counts)  # 1 and 1/2, whose mean over five rows is 3/5
    torch.testing.assert_close(halfway, torch.tensor([[[5 / 3, 5 / 6, 0.0], [0.0, 0.0, 0.0]]]))
    even = balanced_weights(counts, power=1.0)
    torch.testing.assert_close(even[0, 0] * counts[0, 0], torch.tensor([2.5, 2.5, 0.0]))
    found = weights_of_labels(
        halfway, torch.tensor([0, 0, -1]), torch.tensor([[1, -1], [0, -1], [0, -1]])
    )
    torch.testing.assert_close(found, torch.tensor([[5 / 6, 0.0], [5 / 3, 0.0], [0.0, 0.0]]))
