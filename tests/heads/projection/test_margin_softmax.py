"""The margin softmax against a library, a plain loop, finite differences and itself in blocks."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from heads.projection.margin_softmax import margin_softmax
from heads.projection.margin_terms import SAFE_SCALE, MarginSoftmax

CLASSES, DIM, ROWS = 7, 6, 9


def batch(subcentres: int = 1, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    """Vectors, centres, labels and margins."""
    generator = torch.Generator().manual_seed(seed)
    vectors = normalize(torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64))
    centres = torch.randn(CLASSES * subcentres, DIM, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (ROWS,), generator=generator)
    margins = torch.rand(CLASSES, generator=generator, dtype=torch.float64)
    centres = normalize(centres)
    # One vector opposite its centre, where ArcFace's angle and margin pass a half turn.
    vectors[0] = normalize(vectors[0] / 5 - centres[labels[0] * subcentres], dim=0)
    leaves = [tensor.to(dtype).requires_grad_() for tensor in (vectors, centres)]
    return *leaves, labels, margins.to(dtype)


def plain_loss(vectors: Tensor, centres: Tensor, labels: Tensor, margins: Tensor, s: Any) -> float:
    """The definition, row by row and class by class."""
    total = 0.0
    for vector, label in zip(vectors.tolist(), labels.tolist(), strict=True):
        logits = []
        for number in range(CLASSES):
            own = centres[number * s.subcentres : (number + 1) * s.subcentres].tolist()
            cosine = max(sum(x * y for x, y in zip(vector, centre, strict=True)) for centre in own)
            if number == label:
                cosine = with_margin(cosine, float(margins[label]), s.margin)
            logits.append(s.scale * cosine)
        log_sum = max(logits) + math.log(sum(math.exp(x - max(logits)) for x in logits))
        wanted = [s.label_smoothing / CLASSES] * CLASSES
        wanted[label] += 1 - s.label_smoothing
        entropy = sum(q * (log_sum - x) for q, x in zip(wanted, logits, strict=True))
        total += (1 - math.exp(logits[label] - log_sum)) ** s.focal_gamma * entropy
    return total / len(labels)


def with_margin(cosine: float, margin: float, kind: str) -> float:
    if kind == "cosine":
        return cosine - margin
    if kind == "none":
        return cosine
    angle = math.acos(cosine)
    is_within = angle <= math.pi - margin
    return math.cos(angle + margin) if is_within else cosine - margin * math.sin(margin)


@pytest.mark.parametrize("margin", ["angle", "cosine", "none"])
@pytest.mark.parametrize("subcentres", [1, 3])
@pytest.mark.parametrize("focal_gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_losses_and_gradients_are_those_of_the_definition(
    margin: Any, subcentres: int, focal_gamma: float, label_smoothing: float
) -> None:
    """With each of the ways to sum up: as they are, and less each row's largest logit."""
    for scale in (5.0, SAFE_SCALE + 6):
        settings = MarginSoftmax(margin, scale, subcentres, focal_gamma, label_smoothing)
        vectors, centres, labels, margins = batch(subcentres)
        loss = margin_softmax(vectors, centres, labels, margins, settings)
        expected = plain_loss(vectors, centres, labels, margins, settings)
        assert loss.item() == pytest.approx(expected, rel=1e-10)
        assert torch.autograd.gradcheck(
            lambda v, w, y=labels, m=margins, s=settings: margin_softmax(v, w, y, m, s),
            (vectors, centres),
            atol=1e-6,
            fast_mode=True,
        )


@pytest.mark.parametrize("name", ["arcface", "subcentres", "cosface", "softmax"])
def test_values_and_gradients_are_the_librarys(name: str) -> None:
    from pytorch_metric_learning import losses

    subcentres = 3 if name == "subcentres" else 1
    degrees = math.degrees(0.4)
    library, settings = {
        "arcface": (losses.ArcFaceLoss(CLASSES, DIM, degrees, 16), MarginSoftmax("angle", 16.0)),
        "subcentres": (
            losses.SubCenterArcFaceLoss(
                num_classes=CLASSES, embedding_size=DIM, margin=degrees, scale=16, sub_centers=3
            ),
            MarginSoftmax("angle", 16.0, 3),
        ),
        "cosface": (
            losses.CosFaceLoss(CLASSES, DIM, margin=0.4, scale=16),
            MarginSoftmax("cosine", 16.0),
        ),
        "softmax": (
            losses.NormalizedSoftmaxLoss(CLASSES, DIM, 1 / 16),
            MarginSoftmax("none", 16.0),
        ),
    }[name]
    vectors, _, labels, margins = batch()
    library.double()
    library.W.data.normal_(generator=torch.Generator().manual_seed(1))
    expected = library(vectors, labels)
    wanted = torch.autograd.grad(expected, (vectors, library.W))
    centres = library.W.T  # of any length
    found = margin_softmax(
        normalize(vectors), centres, labels, torch.full_like(margins, 0.4), settings
    )
    gradients = torch.autograd.grad(found, (vectors, library.W))
    assert len(centres) == CLASSES * subcentres
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    for gradient, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_blocks_of_any_size_give_the_same(precision: Any) -> None:
    results = []
    for rows in (1, 2, 4, ROWS, 100):
        size = rows * CLASSES * 2
        settings = MarginSoftmax("angle", 8.0, 2, 1.0, 0.1, precision, block_size=size)
        vectors, centres, labels, margins = batch(2, torch.float32)
        loss = margin_softmax(vectors, centres, labels, margins, settings)
        results.append((loss, *torch.autograd.grad(loss, (vectors, centres))))
    # Gradients of bfloat16 blocks are rounded to 8 bits before they are added up.
    rtol, atol = (1e-4, 1e-6) if precision == "fp32" else (2e-2, 2e-2)
    for result in results[1:]:
        torch.testing.assert_close(result[0], results[0][0], rtol=1e-6, atol=0)
        torch.testing.assert_close(result, results[0], rtol=rtol, atol=atol)


@pytest.mark.parametrize("scale", [16.0, 80.0])
def test_bfloat16_is_near_float32(scale: float) -> None:
    """A cosine of 8 bits is off by up to 2⁻⁹ of itself: here the loss by 2%, gradients by 5%."""
    for subcentres, gamma, smoothing in product((1, 2), (0.0, 2.0), (0.0, 0.1)):
        exact, rough = (
            run(MarginSoftmax("angle", scale, subcentres, gamma, smoothing, precision))
            for precision in ("fp32", "bf16")
        )
        assert abs(exact[0] - rough[0]) < 0.02 * exact[0]
        for wanted, found in zip(exact[1:], rough[1:], strict=True):
            assert (wanted - found).norm() < 0.05 * wanted.norm()
            assert found.dtype == torch.float32


def run(settings: MarginSoftmax) -> tuple[Tensor, Tensor, Tensor]:
    vectors, centres, labels, margins = batch(settings.subcentres, torch.float32)
    loss = margin_softmax(vectors, centres, labels, margins, settings)
    d_vectors, d_centres = torch.autograd.grad(loss, (vectors, centres))
    return loss, d_vectors, d_centres


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_equal_subcentres_count_once(precision: Any) -> None:
    """As they stand at the start, when all of a class may be the same to 8 bits."""
    vectors, centres, labels, margins = batch(1, torch.float32)
    single = MarginSoftmax("angle", 16.0, precision=precision)
    triple = MarginSoftmax("angle", 16.0, 3, precision=precision)
    repeated = centres.detach().repeat_interleave(3, dim=0).requires_grad_()
    once = margin_softmax(vectors, centres, labels, margins, single)
    loss = margin_softmax(vectors, repeated, labels, margins, triple)
    assert loss.item() == pytest.approx(once.item(), rel=1e-5)
    (wanted,) = torch.autograd.grad(once, centres)
    (found,) = torch.autograd.grad(loss, repeated)
    torch.testing.assert_close(found[::3], wanted, rtol=1e-2, atol=1e-4)
    assert not found[1::3].any()
    assert not found[2::3].any()


@pytest.mark.parametrize("scale", [16.0, 64.0, 200.0])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("focal_gamma", [0.0, 0.5, 2.0])
def test_the_surest_and_the_worst_rows_stay_finite(
    scale: float, precision: Any, focal_gamma: float
) -> None:
    """Vectors on their own centre and on the opposite side, with two classes apart or together."""
    centre = normalize(torch.ones(1, DIM))
    for other in (-centre, centre):
        centres = torch.cat([centre, other]).requires_grad_()
        vectors = torch.cat([centre, -centre]).requires_grad_()
        labels, margins = torch.tensor([0, 0]), torch.tensor([1.5, 0.0])
        settings = MarginSoftmax("angle", scale, 1, focal_gamma, 0.0, precision)
        loss = margin_softmax(vectors, centres, labels, margins, settings)
        assert loss.isfinite()
        for gradient in torch.autograd.grad(loss, (vectors, centres)):
            assert gradient.isfinite().all()


def test_without_gradients_the_loss_is_the_same() -> None:
    settings = MarginSoftmax("angle", 16.0, 2, 1.0, 0.1)
    vectors, centres, labels, margins = batch(2)
    with torch.no_grad():
        quiet = margin_softmax(vectors, centres, labels, margins, settings)
    assert not quiet.requires_grad
    assert quiet == margin_softmax(vectors, centres, labels, margins, settings)


def test_a_factor_of_the_loss_is_a_factor_of_its_gradients_and_of_its_alone() -> None:
    vectors, centres, labels, margins = batch()
    loss = margin_softmax(vectors, centres, labels, margins, MarginSoftmax("angle", 16.0))
    once = torch.autograd.grad(loss, (vectors, centres), retain_graph=True)
    thrice = torch.autograd.grad(3 * loss, (vectors, centres), retain_graph=True)
    again = torch.autograd.grad(loss, (vectors, centres))
    for first, third, second in zip(once, thrice, again, strict=True):
        torch.testing.assert_close(third, 3 * first)
        assert torch.equal(first, second)


def test_frozen_centres_leave_the_vectors_gradient_as_it_is() -> None:
    vectors, centres, labels, margins = batch()
    settings = MarginSoftmax("cosine", 16.0)
    both = torch.autograd.grad(
        margin_softmax(vectors, centres, labels, margins, settings), (vectors, centres)
    )
    alone = margin_softmax(vectors, centres.detach(), labels, margins, settings)
    assert torch.equal(torch.autograd.grad(alone, vectors)[0], both[0])
