"""Losses by their published formulas, in plain loops; what settings refuse; centres."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from embed.errors import SettingsError
from heads.projection.loss_settings import LOSS_NAMES, LossSettings
from heads.projection.losses import MetricLoss, class_margins

CLASSES, DIM = 4, 5
LABELS = [0, 1, 2, 3, 0, 2, 0, 1]
SIZES = torch.tensor([3, 2, 2, 1])


def unit_vectors(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(count, DIM, generator=generator))


def value_of(settings: LossSettings, centres: Tensor | None = None) -> float:
    loss = MetricLoss(SIZES, DIM, settings)
    if centres is not None:
        loss.set_centres(centres, torch.Generator().manual_seed(0))
    value: float = loss(unit_vectors(len(LABELS)), torch.tensor(LABELS)).item()
    return value


def cosines() -> list[list[float]]:
    vectors = unit_vectors(len(LABELS))
    found: list[list[float]] = (vectors @ vectors.T).tolist()
    return found


def mean_of_those_above_0(losses: list[float]) -> float:
    return sum(losses) / max(1, sum(loss > 0 for loss in losses))


def others(row: int, is_same: bool) -> list[int]:
    return [
        other
        for other, label in enumerate(LABELS)
        if other != row and (label == LABELS[row]) == is_same
    ]


@pytest.mark.parametrize("loss", ["arcface", "cosface", "softmax"])
def test_margin_losses(loss: Any) -> None:
    settings = LossSettings(loss, 7.0, margin_radians=0.3 if loss == "arcface" else 0.5)
    centres, vectors = unit_vectors(CLASSES, seed=1), unit_vectors(len(LABELS))
    total = 0.0
    for vector, label in zip(vectors, LABELS, strict=True):
        logits = []
        for number, centre in enumerate(centres):
            cosine = float(vector @ centre)
            if number == label and loss == "arcface":
                cosine = math.cos(math.acos(cosine) + 0.3)
            if number == label and loss == "cosface":
                cosine -= 0.35
            logits.append(7 * cosine)
        total += -logits[label] + math.log(sum(map(math.exp, logits)))
    assert value_of(settings, centres) == pytest.approx(total / len(LABELS), rel=1e-5)


def test_proxy_anchor() -> None:
    """Equation (4) of Kim et al., 2020; every class has rows here."""
    centres, vectors = unit_vectors(CLASSES, seed=1), unit_vectors(len(LABELS))
    total = 0.0
    for number, centre in enumerate(centres):
        near, far = 1.0, 1.0
        for vector, label in zip(vectors, LABELS, strict=True):
            cosine = float(vector @ centre)
            if label == number:
                near += math.exp(-6 * (cosine - 0.2))
            else:
                far += math.exp(6 * (cosine + 0.2))
        total += (math.log(near) + math.log(far)) / CLASSES
    settings = LossSettings("proxy-anchor", scale=6.0, margin_cosine=0.2)
    assert value_of(settings, centres) == pytest.approx(total, rel=1e-5)


def test_supcon() -> None:
    """Equation (2) of Khosla et al., 2020, over the rows that have another of their class."""
    losses = []
    for row, values in enumerate(cosines()):
        alike = others(row, is_same=True)
        whole = sum(math.exp(6 * values[a]) for a in alike + others(row, is_same=False))
        terms = [math.log(whole) - 6 * values[a] for a in alike]
        losses.append(sum(terms) / len(terms) if terms else 0.0)
    found = value_of(LossSettings("supcon", scale=6.0))
    assert found == pytest.approx(mean_of_those_above_0(losses), rel=1e-5)


def test_circle() -> None:
    """Equations (6) to (8) of Sun et al., 2020, with each row as anchor."""
    margin, losses = 0.4, []
    for row, values in enumerate(cosines()):
        near = [
            math.exp(-6 * max(0.0, 1 + margin - values[a]) * (values[a] - 1 + margin))
            for a in others(row, is_same=True)
        ]
        far = [
            math.exp(6 * max(0.0, values[a] + margin) * (values[a] - margin))
            for a in others(row, is_same=False)
        ]
        losses.append(math.log(1 + sum(near) * sum(far)))
    found = value_of(LossSettings("circle", scale=6.0))
    assert found == pytest.approx(mean_of_those_above_0(losses), rel=1e-5)


@pytest.mark.parametrize("mining", ["semihard", "hard"])
def test_triplet(mining: Any) -> None:
    losses = []
    for anchor, values in enumerate(cosines()):
        for positive in others(anchor, is_same=True):
            for negative in others(anchor, is_same=False):
                lead = values[positive] - values[negative]
                if lead <= 0.3 and (lead <= 0) == (mining == "hard"):
                    losses.append(0.3 - lead)
    assert losses
    found = value_of(LossSettings("triplet", margin_cosine=0.3, triplet_mining=mining))
    assert found == pytest.approx(mean_of_those_above_0(losses), rel=1e-5)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_every_loss_falls_when_its_gradient_is_followed(name: Any) -> None:
    loss = MetricLoss(SIZES, DIM, LossSettings(name))
    assert loss.has_centres == bool(list(loss.parameters()))
    vectors = unit_vectors(len(LABELS)).requires_grad_()
    labels = torch.tensor(LABELS)
    before = loss(vectors, labels)
    before.backward()
    assert vectors.grad is not None
    step = 1e-3 / float(vectors.grad.norm())
    with torch.no_grad():
        after = loss(normalize(vectors - step * vectors.grad), labels)
    assert after.item() < before.item()
    assert all(centres.grad is not None for centres in loss.parameters())


def test_dynamic_margins_by_hand() -> None:
    """Sizes 1, 16 and 81: n^(−1/4) is 1, 1/2 and 1/3, so the middle one lies a quarter up."""
    settings = LossSettings(margin_radians=0.5, least_margin_radians=0.1)
    margins = class_margins(torch.tensor([1, 16, 81]), settings)
    assert margins.tolist() == pytest.approx([0.5, 0.2, 0.1])
    assert class_margins(torch.tensor([3, 3]), settings).tolist() == [0.5, 0.5]


def test_dynamic_margins_reach_the_loss() -> None:
    centres = unit_vectors(CLASSES, seed=1)
    found, most = (
        value_of(LossSettings(least_margin_radians=least), centres) for least in (0.1, None)
    )
    assert found < most


def test_subcentres_start_around_their_class() -> None:
    loss = MetricLoss(SIZES, DIM, LossSettings(subcentres=3))
    centres = unit_vectors(CLASSES, seed=1)
    loss.set_centres(centres, torch.Generator().manual_seed(0))
    placed = loss.centres.detach().clone()
    assert placed.shape == (CLASSES * 3, DIM)
    distances = (placed - centres.repeat_interleave(3, dim=0)).norm(dim=1)
    assert float(distances.min()) > 0
    assert float(distances.max()) < 0.3
    loss.set_centres(centres, torch.Generator().manual_seed(0))
    assert torch.equal(loss.centres, placed)


def test_one_centre_is_put_exactly() -> None:
    loss = MetricLoss(SIZES, DIM, LossSettings())
    loss.set_centres(unit_vectors(CLASSES))
    assert torch.equal(loss.centres, unit_vectors(CLASSES))


def test_half_precision_vectors_are_taken() -> None:
    loss = MetricLoss(SIZES, DIM, LossSettings(), precision="bf16")
    vectors = unit_vectors(len(LABELS)).bfloat16().requires_grad_()
    loss(vectors, torch.tensor(LABELS)).backward()
    assert vectors.grad is not None
    assert vectors.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LossSettings(margin_radians=28.6), "28.6 .is it in degrees"),
        (lambda: LossSettings(least_margin_radians=-0.1), "--least-margin-radians lies from 0"),
        (lambda: LossSettings(least_margin_radians=0.6), "found 0.6 above 0.5"),
        (lambda: LossSettings("cosface", margin_cosine=2.0), "--margin-cosine, a difference"),
        (lambda: LossSettings(scale=0.0), "--scale above 0"),
        (lambda: LossSettings(scale=math.nan), "--scale above 0"),
        (lambda: LossSettings(subcentres=0), "--subcentres of at least 1"),
        (lambda: LossSettings(focal_gamma=-1.0), "--focal-gamma is finite and not below 0"),
        (lambda: LossSettings(label_smoothing=1.0), "--label-smoothing lies from 0 to below 1"),
        (lambda: LossSettings("triplet", subcentres=2), "--subcentres does nothing with --loss tr"),
        (lambda: LossSettings("supcon", focal_gamma=1.0), "--focal-gamma does nothing"),
        (lambda: LossSettings("softmax", margin_radians=0.3), "--margin-radians does nothing"),
        (lambda: LossSettings("arcface", margin_cosine=0.3), "--margin-cosine does nothing"),
        (lambda: LossSettings("triplet", scale=30.0), "--scale does nothing with --loss triplet"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    make: Callable[[], LossSettings], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        make()
