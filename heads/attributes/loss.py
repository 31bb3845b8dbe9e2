"""The loss of attribute heads: cross-entropy over the labels that are present."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def attribute_loss(
    logits: Float[Tensor, "b a k"],
    labels: Int[Tensor, "b a"],
    label_weights: Float[Tensor, "b a"] | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
) -> Float[Tensor, ""]:
    """The mean cross-entropy of the labels that are present, 0 where none is.

    A label of −1 is missing: neither it nor its logits count, and their gradients are 0. With
    `label_weights` the mean is weighted, as by `torch.nn.functional.cross_entropy`. A share
    `label_smoothing` of each target is spread evenly over the classes that the label's pair has,
    those with finite logits (Szegedy et al., https://arxiv.org/abs/1512.00567, section 7).
    With `focal_gamma` each term is multiplied by (1 − p)^γ, where p is the probability of the true
    class (Lin et al., https://arxiv.org/abs/1708.02002, equation 4).
    """
    present = labels >= 0
    log_shares = torch.log_softmax(logits[present].float(), dim=1)  # (m, k)
    of_truth = log_shares.gather(1, labels[present][:, None]).squeeze(1)
    losses = -of_truth
    if label_smoothing:
        losses = torch.lerp(losses, _even_loss(log_shares), label_smoothing)
    if focal_gamma:
        # Of a class that is sure, 1 − p is 0, where a power below 1 has an infinite slope.
        losses = losses * (-torch.expm1(of_truth)).clamp(min=1e-7) ** focal_gamma
    weights = torch.ones_like(losses) if label_weights is None else label_weights[present]
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def _even_loss(log_shares: Float[Tensor, "m k"]) -> Float[Tensor, " m"]:
    """Cross-entropy to a target that is the same for every class that there is."""
    exists = log_shares.isfinite()
    return -torch.where(exists, log_shares, 0).sum(dim=1) / exists.sum(dim=1)


def balanced_weights(counts: Int[Tensor, "c a k"], power: float = 0.5) -> Float[Tensor, "c a k"]:
    """A weight for each class: its number of training rows to the power of −`power`.

    The weights of a pair are scaled so that their mean over its training rows is 1; 0 where there
    is no such class. A power of 1 gives every class of a pair the same say, 0 every row.
    """
    rows = counts.double()
    weights = torch.where(counts > 0, rows.clamp(min=1) ** -power, 0)
    scale = rows.sum(dim=-1, keepdim=True) / (weights * rows).sum(dim=-1, keepdim=True)
    return torch.where(counts > 0, weights * scale, 0).float()


def weights_of_labels(
    table: Float[Tensor, "c a k"], categories: Int[Tensor, " b"], labels: Int[Tensor, "b a"]
) -> Float[Tensor, "b a"]:
    """The weight of each label, 0 where it is missing or its category is −1."""
    known = (labels >= 0) & (categories >= 0)[:, None]
    attributes = torch.arange(labels.shape[1], device=labels.device)
    found = table[categories.clamp(min=0)[:, None], attributes, labels.clamp(min=0)]
    return torch.where(known, found, 0)
