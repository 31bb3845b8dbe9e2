"""How good predicted classes are: 2·micro·macro / (micro + macro) of F1, as of Visual Taxonomy.

A pair is what is judged by itself: a column, or one attribute of one category. Each row has one
label of it, so micro F1 is the accuracy over the rows that have one. Macro F1 is the plain mean of
the F1 of every class that is a label or a prediction of the pair's rows, as of scikit-learn's
`f1_score(average="macro")`; what could not be predicted counts as wrong and is no class.

Source: the Visual Taxonomy contest (Meesho, 2024). Everything here is a function of arrays.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Float, Float64, Int

NUM_DRAWS = 1000
DRAW_CELLS = 2**22  # numbers held at once while drawing


@dataclass(frozen=True)
class Figures:
    """Of w draws of rows and s pairs, from 0 to 1; NaN where a draw has no label of a pair.

    `accuracy` is over all labels alike, those of no pair included; `score` is
    2·micro·macro / (micro + macro), 0 where both are.
    """

    accuracy: Float64[np.ndarray, " w"]
    micro: Float64[np.ndarray, "w s"]
    macro: Float64[np.ndarray, "w s"]
    score: Float64[np.ndarray, "w s"]


@dataclass(frozen=True)
class LabelCounts:
    """Hits, labels and predictions of each of u classes, by group of rows: (g, 3·u), sparse.

    `members` has the pair of each class: (u, s + 1), sparse, ones and zeros; the last column is of
    the labels that belong to no pair.
    """

    by_group: scipy.sparse.csr_array
    members: scipy.sparse.csr_array

    @classmethod
    def of(
        cls,
        pairs: Int[np.ndarray, " m"],
        classes: Int[np.ndarray, "2 m"],
        groups: Int[np.ndarray, " m"],
        num_pairs: int,
        num_groups: int,
    ) -> "LabelCounts":
        """Count m labels and what was predicted for them.

        Args:
            pairs: the pair of each label, from 0; `num_pairs` where it belongs to none.
            classes: the true and the predicted class, numbered from 1 within each pair; 0 is no
                class.
            groups: a number for each label, equal for those that are drawn together.
            num_pairs: s.
            num_groups: g.
        """
        num_keys = int(classes.max(initial=0)) + 1
        found, numbers = np.unique(pairs * num_keys + classes, return_inverse=True)
        numbers = numbers.reshape(classes.shape)
        by_group = _by_group(numbers, groups, (num_groups, len(found)))
        of_pair, key = np.divmod(found, num_keys)
        places = np.arange(len(found)), of_pair
        members = scipy.sparse.csr_array(((key > 0) * 1.0, places), (len(found), num_pairs + 1))
        return cls(by_group, members)

    def figures(self) -> Figures:
        """Those of all rows, as one draw."""
        return self.weighted(np.ones((1, self.by_group.shape[0])))

    def weighted(self, weights: Float64[np.ndarray, "w g"]) -> Figures:
        """Those of draws, which take each group so many times."""
        hits, labels, guesses = np.split(weights @ self.by_group, 3, axis=1)
        exists = (labels + guesses) > 0
        f1 = ratio(2 * hits, labels + guesses, 0.0)
        num_labels = labels @ self.members
        micro = ratio(hits @ self.members, num_labels)
        macro = ratio(f1 @ self.members, np.where(num_labels > 0, exists @ self.members, 0))
        score = np.where(micro + macro == 0, 0, ratio(2 * micro * macro, micro + macro))
        accuracy = ratio(hits.sum(axis=1), labels.sum(axis=1))
        return Figures(accuracy, *(figure[:, :-1] for figure in (micro, macro, score)))

    def draws(self, generator: np.random.Generator) -> Iterator[Figures]:
        """Blocks of 1,000 draws of as many groups as there are, with replacement.

        Rows of one group stand or fall together, so groups are drawn and not rows.

        Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
        """
        num_groups = self.by_group.shape[0]
        num_together = max(1, DRAW_CELLS // max(self.by_group.shape))
        for start in range(0, NUM_DRAWS, num_together):
            num_draws = min(num_together, NUM_DRAWS - start)
            yield self.weighted(_times_drawn(num_draws, num_groups, generator))


def ratio(
    above: Float[np.ndarray, "..."], below: Float[np.ndarray, "..."], otherwise: float = np.nan
) -> Float64[np.ndarray, "..."]:
    """One by the other, and `otherwise` where that is 0."""
    quotient = np.full(below.shape, otherwise)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient


def mean_present(values: Float64[np.ndarray, "*w m"]) -> Float64[np.ndarray, "*w"]:
    """The mean along the last axis of what is not NaN, NaN where nothing is left."""
    present = ~np.isnan(values)
    total = np.where(present, values, 0).sum(axis=-1)
    return ratio(total, present.sum(axis=-1).astype(np.float64))


def _by_group(
    classes: Int[np.ndarray, "2 m"], groups: Int[np.ndarray, " m"], shape: tuple[int, int]
) -> scipy.sparse.csr_array:
    """Hits, labels and predictions of `shape` groups and classes, side by side."""
    num_groups, num_classes = shape
    truth, guess = classes
    hit = truth == guess
    columns = np.concatenate([truth[hit], num_classes + truth, 2 * num_classes + guess])
    rows = np.concatenate([groups[hit], groups, groups])
    return scipy.sparse.csr_array(
        (np.ones(len(rows)), (rows, columns)), (num_groups, 3 * num_classes)
    )


def _times_drawn(
    num_draws: int, num_groups: int, generator: np.random.Generator
) -> Float64[np.ndarray, "w g"]:
    drawn = generator.integers(0, num_groups, (num_draws, num_groups))
    drawn += np.arange(num_draws)[:, None] * num_groups
    times = np.bincount(drawn.ravel(), minlength=num_draws * num_groups)
    return times.reshape(num_draws, num_groups).astype(np.float64)
