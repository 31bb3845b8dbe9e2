"""What the margin softmax makes of a block's rows: margins, exponentials and their sums."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from heads.projection.loss_settings import Margin, Precision

# exp(±64) and sums of a billion of them are ordinary float32 and bfloat16 numbers, so up to this
# scale the usual subtraction of each row's largest logit, two passes, can be left out.
SAFE_SCALE = 64.0
SUMMED_AT_ONCE = 1024


@dataclass(frozen=True)
class MarginSoftmax:
    """What is computed: the margin's kind, the logits' scale, and how rows are weighted.

    `margin` "angle" is ArcFace (Deng et al., CVPR 2019, arXiv:1801.07698), cos(θ + m); where θ is
    above π − m, cos θ − m·sin m, so that the target's logit falls with θ everywhere. "cosine" is
    CosFace (Wang et al., CVPR 2018, arXiv:1801.09414), cos θ − m; "none" the normalised softmax
    (Zhai & Wu, BMVC 2019, arXiv:1811.12649). With `subcentres` above 1 a class has as many centres
    and its cosine is the largest of theirs (Deng et al., ECCV 2020). A row's loss is
    (1 − p)^focal_gamma · cross-entropy (Lin et al., ICCV 2017, arXiv:1708.02002), p being the
    target's probability, and the cross-entropy is taken to a target of 1 − ε + ε/c and ε/c
    elsewhere, ε being `label_smoothing`. In "bf16" the products and logits of all classes but the
    target are bfloat16. `block_size` is in logits; None chooses one for the device.
    """

    margin: Margin
    scale: float
    subcentres: int = 1
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0
    precision: Precision = "fp32"
    block_size: int | None = None


@dataclass(frozen=True)
class Targets:
    """What is known of the rows' own classes, in the vectors' own precision."""

    logits: Float[Tensor, " b"]  # with margin and scale
    slopes: Float[Tensor, " b"]  # of the logit by the cosine
    centres: Float[Tensor, "b e"]  # the nearest of the class's
    rows: Int[Tensor, " b"]  # where in all centres it stands


@dataclass(frozen=True)
class RowTerms:
    """What a row's loss and gradient are made of, besides its exponentials.

    The gradient by the logit of class j is `weights` · (exponential of j − `uniform`), and
    `of_target` for the target.
    """

    losses: Float[Tensor, " r"]
    weights: Float[Tensor, " r"]
    uniform: Float[Tensor, " r"]
    of_target: Float[Tensor, " r"]


def targets_of(
    vectors: Float[Tensor, "b e"],
    centres: Float[Tensor, "ck e"],
    labels: Int[Tensor, " b"],
    margins: Float[Tensor, " c"],
    settings: MarginSoftmax,
) -> Targets:
    """The rows' own classes: of each the sub-centre nearest to the row, and its logit."""
    ranks = settings.subcentres
    own = centres.view(-1, ranks, centres.shape[1])[labels]  # (b, k, e)
    cosines, best = (own * vectors[:, None]).sum(dim=2).max(dim=1)
    values, slopes = _with_margin(cosines, margins.to(cosines.dtype)[labels], settings.margin)
    rows = labels * ranks + best
    return Targets(settings.scale * values, settings.scale * slopes, centres[rows], rows)


def _with_margin(
    cosines: Float[Tensor, " b"], margins: Float[Tensor, " b"], margin: Margin
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """The targets' cosines with their margins, and how steeply they rise with the cosines."""
    if margin != "angle":
        values = cosines - margins if margin == "cosine" else cosines
        return values, torch.ones_like(cosines)
    sines = (1 - cosines.square()).clamp(min=torch.finfo(cosines.dtype).eps).sqrt()
    cos_margins, sin_margins = margins.cos(), margins.sin()
    is_within = cosines >= -cos_margins  # θ ≤ π − m
    turned = cosines * cos_margins - sines * sin_margins
    values = torch.where(is_within, turned, cosines - margins * sin_margins)
    slopes = torch.where(is_within, cos_margins + cosines / sines * sin_margins, 1.0)
    return values, slopes


def fold(ranks: Float[Tensor, "r k c"]) -> None:
    """Leave each class's best logit in rank 0, and 1 in a later rank that beats all before it.

    Equal ones go to the earlier rank: in bfloat16 they are common, and none may count twice.
    """
    best = ranks[:, 0]
    for rank in ranks.unbind(dim=1)[1:]:
        higher = torch.maximum(best, rank)
        rank.gt_(best)
        best.copy_(higher)


def unfold(ranks: Float[Tensor, "r k c"]) -> None:
    """Move what rank 0 holds to the rank that was best, and leave 0 in the others."""
    left = ranks[:, 0]
    for rank in reversed(ranks.unbind(dim=1)[1:]):
        rank.mul_(left)
        left.sub_(rank)


def exponentials(
    logits: Float[Tensor, "r c"],
    labels: Int[Tensor, " r"],
    targets: Float[Tensor, " r"],
    settings: MarginSoftmax,
) -> RowTerms:
    """Turn logits into exponentials, 0 for the target; returns what follows from their sums."""
    logit_sums, shifts = targets, torch.zeros_like(targets)
    if settings.label_smoothing:
        put(logits, labels, 0.0)
        logit_sums = targets + _row_sums(logits, targets.dtype)
    put(logits, labels, -torch.inf)
    if settings.scale > SAFE_SCALE:
        largest = torch.maximum(logits.amax(dim=1), targets.to(logits.dtype))
        logits.sub_(largest[:, None])
        shifts = largest.to(targets.dtype)
    sums = _row_sums(logits.exp_(), targets.dtype)
    return _row_terms(sums, logit_sums, targets, shifts, logits.shape[1], settings)


def put(matrix: Float[Tensor, "r c"], columns: Int[Tensor, " r"], value: float) -> None:
    """Set one entry of each row; `scatter_` would turn all of a bfloat16 matrix over."""
    matrix[torch.arange(len(columns), device=columns.device), columns] = value


def _row_sums(matrix: Float[Tensor, "r c"], dtype: torch.dtype) -> Float[Tensor, " r"]:
    """The sums of rows, of bfloat16 as well nearly as exact as its entries.

    A sum of bfloat16 is added up in float32 but handed back rounded, and one that asks for float32
    copies the matrix first; parts that round independently are both good and quick.
    """
    parts = [part.sum(dim=1) for part in torch.split(matrix, SUMMED_AT_ONCE, dim=1)]
    return torch.stack(parts).to(dtype).sum(dim=0)


def _row_terms(
    sums: Float[Tensor, " r"],
    logit_sums: Float[Tensor, " r"],
    targets: Float[Tensor, " r"],
    shifts: Float[Tensor, " r"],
    num_classes: int,
    settings: MarginSoftmax,
) -> RowTerms:
    """`sums` are of exp(logit − shift) over all classes but the target; `logit_sums` over all."""
    own = (targets - shifts).exp()
    totals = sums + own
    share = settings.label_smoothing / num_classes
    entropies = shifts + totals.log() - (1 - settings.label_smoothing) * targets
    entropies -= share * logit_sums
    # 1 − p, not by subtraction, which would leave few digits of it where p is near 1.
    misses = (sums / totals).clamp(min=torch.finfo(sums.dtype).tiny)
    focus = misses**settings.focal_gamma
    pull = settings.focal_gamma * entropies * own / totals  # how the focal weight's change counts
    slopes = focus * (1 + pull / misses)
    return RowTerms(
        losses=focus * entropies,
        weights=slopes / totals,
        uniform=share * totals * misses / (misses + pull),
        of_target=settings.label_smoothing * focus * (1 - 1 / num_classes) - slopes * misses,
    )
