"""Titles as tokens, and the batches that waste the least on padding."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int


@dataclass(frozen=True)
class Tokens:
    """Tokenised titles: `lengths` counts what each needs, `take` pads these rows to the longest.

    A tower whose vectors depend on the padding says that each title needs the full length.
    """

    lengths: Int[np.ndarray, " n"]
    take: Callable[[Sequence[int]], Mapping[str, torch.Tensor]]


def batches_by_length(lengths: Int[np.ndarray, " n"], most_tokens: int) -> list[list[int]]:
    """All rows, longest first, in batches of at most `most_tokens` tokens, padding included.

    Rows of equal length keep their order; a row that is longer than that is a batch by itself.
    """
    batches: list[list[int]] = []
    room = 0
    for row in np.argsort(-lengths, kind="stable").tolist():
        if room == 0:
            batches.append([])
            room = max(1, most_tokens // max(1, int(lengths[row])))
        batches[-1].append(row)
        room -= 1
    return batches
