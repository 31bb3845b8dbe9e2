"""How good attribute predictions are, as pure functions of arrays.

The score is that of the Visual Taxonomy contest (Meesho, 2024): 2·micro·macro / (micro + macro) of
the F1 of each pair, its mean over the attributes of a category, then over categories.

Each row has one label of an attribute, so micro F1 is the accuracy over the rows that have one.
Macro F1 is the plain mean of the F1 of every class that is a label or a prediction of the pair's
rows, as of scikit-learn's `f1_score(average="macro")`. A label of a class that training did not see
can't be predicted: it counts as wrong, and its class counts in the macro mean with an F1 of 0. The
labels of rows whose category is not known count as wrong in the accuracy over all labels; having no
pair, they are no part of the other figures.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Float, Float64, Int, Int64

from embed.errors import SelectionError
from embed.wording import counted
from heads.attributes.vocabulary import Codes, Vocabulary

NUM_DRAWS = 1000
DRAW_CELLS = 2**22  # numbers held at once while drawing


@dataclass(frozen=True)
class PairScore:
    """One attribute of one category; the figures are None where no row has a label.

    `num_rows` are those with a label, `num_unknown` of them one that training did not see;
    `num_classes` are those of training, 0 where it saw none.
    """

    category: str
    attribute: str
    num_rows: int
    num_unknown: int
    num_classes: int
    accuracy: float | None
    macro_f1: float | None
    score: float | None


@dataclass(frozen=True)
class AttributeScores:
    """Everything from 0 to 1; `dataclasses.asdict` makes JSON of it.

    `attribute_score`, `micro_f1` and `macro_f1` are means over the attributes of each category and
    then over categories, `accuracy` is that of all labels alike.
    """

    attribute_score: float
    accuracy: float
    micro_f1: float
    macro_f1: float
    num_labels: int
    num_unknown: int
    pairs: tuple[PairScore, ...]


@dataclass(frozen=True)
class ScoreIntervals:
    """95 % intervals."""

    attribute_score: tuple[float, float]
    accuracy: tuple[float, float]


@dataclass(frozen=True)
class _Means:
    """Figures of w draws; a pair that a draw has no label of is NaN and is left out of its means.

    s pairs, those that training did not see included; the attributes of a category stand together.
    """

    accuracy: Float64[np.ndarray, " w"]
    attribute_score: Float64[np.ndarray, " w"]
    micro_f1: Float64[np.ndarray, " w"]
    macro_f1: Float64[np.ndarray, " w"]
    pair_micro: Float64[np.ndarray, "w s"]
    pair_macro: Float64[np.ndarray, "w s"]
    pair_score: Float64[np.ndarray, "w s"]


def score_attributes(
    vocabulary: Vocabulary, codes: Codes, predicted: Int[np.ndarray, "n a"]
) -> AttributeScores:
    """Scores of predicted class numbers; −1 where nothing could be predicted.

    Raises:
        SelectionError: no row has a label, or none of a known category.
    """
    counts = _Counts.of(vocabulary, codes, predicted, np.zeros(len(codes), np.int64))
    means = counts.means(np.ones((1, 1)))
    return AttributeScores(
        attribute_score=float(means.attribute_score[0]),
        accuracy=float(means.accuracy[0]),
        micro_f1=float(means.micro_f1[0]),
        macro_f1=float(means.macro_f1[0]),
        num_labels=int(codes.is_present.sum()),
        num_unknown=codes.num_unknown,
        pairs=_pair_scores(vocabulary, codes, means),
    )


def score_intervals(
    vocabulary: Vocabulary,
    codes: Codes,
    predicted: Int[np.ndarray, "n a"],
    groups: Int[np.ndarray, " n"],
    generator: np.random.Generator,
) -> ScoreIntervals:
    """The 2.5 and 97.5 percentiles over 1,000 draws of as many groups as there are.

    Rows of one group stand or fall together, so groups are drawn and not rows. A draw that lacks
    the labels of a pair takes its means without it.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Raises:
        SelectionError: no row has a label, or none of a known category.
    """
    distinct, inverse = np.unique(groups, return_inverse=True)
    counts = _Counts.of(vocabulary, codes, predicted, inverse)
    num_together = max(1, DRAW_CELLS // max(len(distinct), counts.by_group.shape[1]))
    draws = []
    for start in range(0, NUM_DRAWS, num_together):
        num_draws = min(num_together, NUM_DRAWS - start)
        draws.append(counts.means(_times_drawn(num_draws, len(distinct), generator)))
    return ScoreIntervals(
        _interval(np.concatenate([draw.attribute_score for draw in draws])),
        _interval(np.concatenate([draw.accuracy for draw in draws])),
    )


@dataclass(frozen=True)
class _Counts:
    """Hits, labels and predictions of each of u classes, by group: (g, 3·u), sparse.

    `pairs` has the pair of each class: (u, s), sparse, ones and zeros. The last pair takes the
    labels of all categories that are not known.
    """

    by_group: scipy.sparse.csr_array
    pairs: scipy.sparse.csr_array
    num_attributes: int

    @classmethod
    def of(
        cls,
        vocabulary: Vocabulary,
        codes: Codes,
        predicted: Int[np.ndarray, "n a"],
        groups: Int[np.ndarray, " n"],
    ) -> "_Counts":
        num_attributes = len(vocabulary.attributes)
        num_pairs = len(vocabulary.categories) * num_attributes
        rows, attributes = np.nonzero(codes.is_present)
        categories = codes.categories[rows]
        _refuse_nothing(categories)
        pairs = np.where(categories < 0, num_pairs, categories * num_attributes + attributes)
        keys, num_keys = _class_keys(codes, predicted, rows, attributes)
        found, classes = np.unique(pairs * num_keys + keys, return_inverse=True)
        by_group = _by_group(classes, groups[rows], (int(groups.max()) + 1, len(found)))
        of_pair, key = np.divmod(found, num_keys)
        # Key 0 is no class: what stands for a prediction that could not be made.
        places = np.arange(len(found)), of_pair
        members = scipy.sparse.csr_array(((key > 0) * 1.0, places), (len(found), num_pairs + 1))
        return cls(by_group, members, num_attributes)

    def means(self, weights: Float64[np.ndarray, "w g"]) -> _Means:
        """The figures of draws, which take each group so many times."""
        hits, labels, guesses = np.split(weights @ self.by_group, 3, axis=1)
        exists = (labels + guesses) > 0
        f1 = _ratio(2 * hits, labels + guesses, 0.0)
        num_labels = labels @ self.pairs
        micro = _ratio(hits @ self.pairs, num_labels)
        macro = _ratio(f1 @ self.pairs, np.where(num_labels > 0, exists @ self.pairs, 0))
        score = np.where(micro + macro == 0, 0, _ratio(2 * micro * macro, micro + macro))
        return _Means(
            _ratio(hits.sum(axis=1), labels.sum(axis=1)),
            *(self._mean(figure) for figure in (score, micro, macro)),
            *(figure[:, :-1] for figure in (micro, macro, score)),
        )

    def _mean(self, figure: Float[np.ndarray, "w s"]) -> Float64[np.ndarray, " w"]:
        """Over the attributes of each category, then over categories."""
        by_category = figure[:, :-1].reshape(len(figure), -1, self.num_attributes)
        return _mean_present(_mean_present(by_category))


def _class_keys(
    codes: Codes,
    predicted: Int[np.ndarray, "n a"],
    rows: Int[np.ndarray, " m"],
    attributes: Int[np.ndarray, " m"],
) -> tuple[Int64[np.ndarray, "2 m"], int]:
    """Numbers of the true and the predicted class of each label, and how many there may be.

    0 is no class; known classes come next, then strangers.
    """
    num_known = 2 + max(int(codes.labels.max()), int(predicted.max()))
    truth = np.where(codes.strangers >= 0, num_known + codes.strangers, codes.labels + 1)
    keys = np.stack([truth[rows, attributes], predicted[rows, attributes] + 1]).astype(np.int64)
    return keys, num_known + int(codes.strangers.max()) + 1


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


def _ratio(
    above: Float[np.ndarray, "..."], below: Float[np.ndarray, "..."], otherwise: float = np.nan
) -> Float64[np.ndarray, "..."]:
    ratio = np.full(below.shape, otherwise)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio


def _mean_present(values: Float64[np.ndarray, "*w m"]) -> Float64[np.ndarray, "*w"]:
    """The mean along the last axis of what is not NaN, NaN where nothing is left."""
    present = ~np.isnan(values)
    total = np.where(present, values, 0).sum(axis=-1)
    return _ratio(total, present.sum(axis=-1).astype(np.float64))


def _interval(figures: Float64[np.ndarray, " w"]) -> tuple[float, float]:
    # A draw may hold nothing but groups without a label.
    low, high = np.nanpercentile(figures, [2.5, 97.5])
    return float(low), float(high)


def _pair_scores(vocabulary: Vocabulary, codes: Codes, means: _Means) -> tuple[PairScore, ...]:
    num_classes = vocabulary.num_classes()
    scores = []
    for number, (c, a) in enumerate(np.ndindex(num_classes.shape)):
        rows = codes.categories == c
        num_rows = int(codes.is_present[rows, a].sum())
        if num_rows == 0 and num_classes[c, a] == 0:
            continue
        figures = (means.pair_micro, means.pair_macro, means.pair_score)
        scores.append(
            PairScore(
                vocabulary.categories[c],
                vocabulary.attributes[a],
                num_rows,
                int((codes.strangers[rows, a] >= 0).sum()),
                int(num_classes[c, a]),
                *(float(figure[0, number]) if num_rows else None for figure in figures),
            )
        )
    return tuple(scores)


def _refuse_nothing(categories: Int[np.ndarray, " m"]) -> None:
    if not (categories >= 0).any():
        raise SelectionError(
            f"none of the rows to score has a label in a category that training saw: "
            f"{counted(len(categories), 'label', 'are')} of other categories; look at --target, "
            f"--category, --where and --split"
        )
