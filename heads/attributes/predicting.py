"""Logits, classes and probabilities of many rows."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from heads.tables import FeatureTable


@torch.no_grad()
def predicted_logits(
    network: nn.Module, table: FeatureTable, categories: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n a k"]:
    """The logits of all rows of a table, −∞ where a class can't be, without dropout."""
    was_training = network.training
    network.eval()
    codes = torch.from_numpy(categories)
    blocks = [
        network(features, codes[index].to(table.device)).float().cpu()
        for index, features in table.blocks()
    ]
    network.train(was_training)
    return torch.cat(blocks).numpy()


def predicted_classes(logits: Float[np.ndarray, "n a k"]) -> Int[np.ndarray, "n a"]:
    """The class with the highest logit, the first of equals; −1 where none can be."""
    best = logits.argmax(axis=2)
    return np.where(np.isneginf(logits.max(axis=2)), -1, best)


def probabilities(logits: Float[np.ndarray, "n a k"]) -> Float[np.ndarray, "n a k"]:
    """Softmax over the classes that there are; 0 for the others, and where there are none."""
    from scipy.special import softmax  # slow to import, and training alone does without

    possible = np.isfinite(logits).any(axis=2, keepdims=True)
    return np.asarray(softmax(np.where(possible, logits, 0.0), axis=2) * possible, np.float32)
