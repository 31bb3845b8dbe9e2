"""Which of several spaces or ways a pair is due to, as one text."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool


def joined_names(names: Sequence[str], has: Bool[np.ndarray, "w p"]) -> list[str]:
    """The names that each pair has, in their order, joined by +; empty where it has none."""
    sets = has.T @ (2 ** np.arange(len(names)))  # each set of names as a number
    texts = {
        number: "+".join(name for place, name in enumerate(names) if number >> place & 1)
        for number in np.unique(sets).tolist()
    }
    return [texts[number] for number in sets.tolist()]
