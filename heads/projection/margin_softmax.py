"""Softmax over class centres with a margin on the target: loss and gradients in one pass.

The (b, c) logits of a batch are far larger than all that goes in and comes out, so they are made
block of rows by block, each small enough for the processor's cache, and turned in place from
logits to exponentials to what the gradient products take. Normalising by the softmax's sum is left
to the products' small side, and the target's entry, with its margin, is handled apart.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from heads.projection.margin_terms import (
    MarginSoftmax,
    exponentials,
    fold,
    put,
    targets_of,
    unfold,
)

# Logits in a block. Larger ones leave the cache, smaller ones add to the centres' gradient more
# often than the products are worth; a GPU wants few large products.
CPU_BLOCK = 1 << 22
GPU_BLOCK = 1 << 26
LEAST_ROWS = 16
LEAST_LENGTH = 1e-12  # a centre of 0 stays one


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
        self.targets = targets_of(vectors, self.directions, labels, margins, settings)
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
        fold(ranks)
        best = ranks[:, 0]
        terms = exponentials(best, labels, targets, self.settings)
        if wants_gradients:
            if self.settings.label_smoothing:
                best.sub_(terms.uniform.to(self.dtype)[:, None])
                put(best, labels, 0.0)
            unfold(ranks)
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
