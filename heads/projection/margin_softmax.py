"""Softmax over class centres with a margin on the target: loss and gradients in one pass.

The (b, c) logits of a batch are far larger than all that goes in and comes out, so they are made
block of rows by block, each small enough for the processor's cache, and turned in place from
logits to exponentials to what the gradient products take. Normalising by the softmax's sum is left
to the products' small side, and the target's entry, with its margin, is handled apart.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

Margin = Literal["angle", "cosine", "none"]
Precision = Literal["fp32", "bf16"]

# Logits in a block. Larger ones leave the cache, smaller ones add to the centres' gradient more
# often than the products are worth; a GPU wants few large products.
CPU_BLOCK = 1 << 22
GPU_BLOCK = 1 << 26
LEAST_ROWS = 16
SUMMED_AT_ONCE = 1024
LEAST_LENGTH = 1e-12  # a centre of 0 stays one

# exp(±64) and sums of a billion of them are ordinary float32 and bfloat16 numbers, so up to this
# scale the usual subtraction of each row's largest logit, two passes, can be left out.
SAFE_SCALE = 64.0


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


def margin_softmax(
    vectors: Float[Tensor, "b e"],
    centres: Float[Tensor, "ck e"],
    labels: Int[Tensor, " b"],
    margins: Float[Tensor, " c"],
    settings: MarginSoftmax,
) -> Float[Tensor, ""]:
    """The mean loss of the rows, which can be differentiated once by vectors and centres.

    Vectors are of unit length; of centres only the direction counts, and a class's are rows one
    after another. `margins` holds each class's margin, in radians or as a difference of cosines.
    Gradients are computed with the loss, unless nothing asks for them.
    """
    loss: Tensor = _Function.apply(vectors, centres, labels, margins, settings)
    return loss


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        vectors: Tensor,
        centres: Tensor,
        labels: Tensor,
        margins: Tensor,
        settings: MarginSoftmax,
    ) -> Tensor:
        wants_gradients = any(ctx.needs_input_grad[:2])
        blocks = _Pass(vectors, centres, labels, margins, settings)
        loss = blocks.run(wants_gradients)
        if wants_gradients:
            ctx.save_for_backward(*blocks.gradients())
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        d_vectors, d_centres = ctx.saved_tensors
        return d_vectors * factor, d_centres * factor, None, None, None


@dataclass(frozen=True)
class _Targets:
    """What is known of the rows' own classes, in the vectors' own precision."""

    logits: Float[Tensor, " b"]  # with margin and scale
    slopes: Float[Tensor, " b"]  # of the logit by the cosine
    centres: Float[Tensor, "b e"]  # the nearest of the class's
    rows: Int[Tensor, " b"]  # where in all centres it stands


@dataclass(frozen=True)
class _RowTerms:
    """What a row's loss and gradient are made of, besides its exponentials.

    The gradient by the logit of class j is `weights` · (exponential of j − `uniform`), and
    `of_target` for the target.
    """

    losses: Float[Tensor, " r"]
    weights: Float[Tensor, " r"]
    uniform: Float[Tensor, " r"]
    of_target: Float[Tensor, " r"]


class _Pass:
    """One batch's way through the blocks, and the buffers that all blocks share."""

    def __init__(
        self,
        vectors: Float[Tensor, "b e"],
        centres: Float[Tensor, "ck e"],
        labels: Int[Tensor, " b"],
        margins: Float[Tensor, " c"],
        settings: MarginSoftmax,
    ) -> None:
        self.settings, self.vectors, self.labels = settings, vectors, labels
        self.num_classes = len(centres) // settings.subcentres
        self.lengths = centres.norm(dim=1, keepdim=True).clamp(min=LEAST_LENGTH)
        self.directions = centres / self.lengths
        self.targets = _targets(vectors, self.directions, labels, margins, settings)
        self.dtype = torch.bfloat16 if settings.precision == "bf16" else vectors.dtype
        # First sub-centres of all classes, then the second ones: those of a rank lie together.
        by_class = self.directions.view(self.num_classes, settings.subcentres, -1)
        by_rank = by_class.transpose(0, 1)
        self.centres = by_rank.reshape(len(centres), -1).to(self.dtype)
        self.scaled = (vectors * settings.scale).to(self.dtype)
        rows = _block_rows(len(vectors), len(centres), settings, vectors.device)
        self.parts = [slice(start, start + rows) for start in range(0, len(vectors), rows)]
        self.buffer = centres.new_empty(rows, len(centres), dtype=self.dtype)

    def run(self, wants_gradients: bool) -> Float[Tensor, ""]:
        """The mean loss; with `wants_gradients`, `gradients` can be asked for after it."""
        if wants_gradients:
            self.d_vectors = torch.empty_like(self.vectors)
            self.d_centres = torch.zeros_like(self.centres, dtype=self.vectors.dtype)
            self.products = torch.empty_like(self.centres)
            self.d_targets = torch.empty_like(self.targets.logits)
        losses = [self._block(part, wants_gradients) for part in self.parts]
        return torch.cat(losses).mean()

    def gradients(self) -> tuple[Float[Tensor, "b e"], Float[Tensor, "ck e"]]:
        """The mean loss's gradients by the vectors, and by the centres in the order given."""
        ranks = self.settings.subcentres
        gradient = self.d_centres.view(ranks, self.num_classes, -1).transpose(0, 1)
        gradient = gradient.reshape(len(self.centres), -1)
        factors = (self.d_targets * self.targets.slopes / len(self.vectors))[:, None]
        self.d_vectors.addcmul_(factors, self.targets.centres)
        gradient.index_add_(0, self.targets.rows, factors * self.vectors)
        # What is along a centre would only change its length.
        along = (gradient * self.directions).sum(dim=1, keepdim=True)
        gradient.addcmul_(self.directions, along, value=-1).div_(self.lengths)
        return self.d_vectors, gradient

    def _block(self, part: slice, wants_gradients: bool) -> Float[Tensor, " r"]:
        labels, targets = self.labels[part], self.targets.logits[part]
        logits = self.buffer[: len(labels)]
        torch.mm(self.scaled[part], self.centres.T, out=logits)
        ranks = logits.view(len(labels), self.settings.subcentres, self.num_classes)
        _fold(ranks)
        best = ranks[:, 0]
        terms = _exponentials(best, labels, targets, self.settings)
        if wants_gradients:
            if self.settings.label_smoothing:
                best.sub_(terms.uniform.to(self.dtype)[:, None])
                _put(best, labels, 0.0)
            _unfold(ranks)
            self.d_targets[part] = terms.of_target
            self._add_products(part, logits, terms.weights)
        return terms.losses

    def _add_products(
        self, part: slice, logits: Float[Tensor, "r ck"], weights: Float[Tensor, " r"]
    ) -> None:
        factors = (weights * (self.settings.scale / len(self.vectors)))[:, None]
        torch.mul(logits @ self.centres, factors, out=self.d_vectors[part])
        weighted = (self.vectors[part] * factors).to(self.dtype)
        if self.dtype == self.d_centres.dtype:
            self.d_centres.addmm_(logits.T, weighted)
        else:
            self.d_centres.add_(torch.mm(logits.T, weighted, out=self.products))


def _block_rows(
    num_rows: int, num_centres: int, settings: MarginSoftmax, device: torch.device
) -> int:
    """How many rows a block has: equally many in each, but for the last one's lack."""
    size = settings.block_size
    if size is None:
        size = CPU_BLOCK if device.type == "cpu" else GPU_BLOCK
    least = LEAST_ROWS if settings.block_size is None else 1
    num_blocks = math.ceil(num_rows / max(least, size // num_centres))
    return math.ceil(num_rows / num_blocks)


def _targets(
    vectors: Float[Tensor, "b e"],
    centres: Float[Tensor, "ck e"],
    labels: Int[Tensor, " b"],
    margins: Float[Tensor, " c"],
    settings: MarginSoftmax,
) -> _Targets:
    ranks = settings.subcentres
    own = centres.view(-1, ranks, centres.shape[1])[labels]  # (b, k, e)
    cosines, best = (own * vectors[:, None]).sum(dim=2).max(dim=1)
    values, slopes = _with_margin(cosines, margins.to(cosines.dtype)[labels], settings.margin)
    rows = labels * ranks + best
    return _Targets(settings.scale * values, settings.scale * slopes, centres[rows], rows)


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


def _fold(ranks: Float[Tensor, "r k c"]) -> None:
    """Leave each class's best logit in rank 0, and 1 in a later rank that beats all before it.

    Equal ones go to the earlier rank: in bfloat16 they are common, and none may count twice.
    """
    best = ranks[:, 0]
    for rank in ranks.unbind(dim=1)[1:]:
        higher = torch.maximum(best, rank)
        rank.gt_(best)
        best.copy_(higher)


def _unfold(ranks: Float[Tensor, "r k c"]) -> None:
    """Move what rank 0 holds to the rank that was best, and leave 0 in the others."""
    left = ranks[:, 0]
    for rank in reversed(ranks.unbind(dim=1)[1:]):
        rank.mul_(left)
        left.sub_(rank)


def _exponentials(
    logits: Float[Tensor, "r c"],
    labels: Int[Tensor, " r"],
    targets: Float[Tensor, " r"],
    settings: MarginSoftmax,
) -> _RowTerms:
    """Turn logits into exponentials, 0 for the target; returns what follows from their sums."""
    logit_sums, shifts = targets, torch.zeros_like(targets)
    if settings.label_smoothing:
        _put(logits, labels, 0.0)
        logit_sums = targets + _row_sums(logits, targets.dtype)
    _put(logits, labels, -torch.inf)
    if settings.scale > SAFE_SCALE:
        largest = torch.maximum(logits.amax(dim=1), targets.to(logits.dtype))
        logits.sub_(largest[:, None])
        shifts = largest.to(targets.dtype)
    sums = _row_sums(logits.exp_(), targets.dtype)
    return _row_terms(sums, logit_sums, targets, shifts, logits.shape[1], settings)


def _put(matrix: Float[Tensor, "r c"], columns: Int[Tensor, " r"], value: float) -> None:
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
) -> _RowTerms:
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
    return _RowTerms(
        losses=focus * entropies,
        weights=slopes / totals,
        uniform=share * totals * misses / (misses + pull),
        of_target=settings.label_smoothing * focus * (1 - 1 / num_classes) - slopes * misses,
    )
