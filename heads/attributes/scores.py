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
from jaxtyping import Float64, Int, Int64

from embed.errors import SelectionError
from embed.wording import counted
from heads.attributes.vocabulary import Codes, Vocabulary
from retrieval.metrics.attribute_scores import Figures, LabelCounts, mean_present


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
    """Figures of w draws: means over the attributes of each category, then over categories."""

    accuracy: Float64[np.ndarray, " w"]
    attribute_score: Float64[np.ndarray, " w"]
    micro_f1: Float64[np.ndarray, " w"]
    macro_f1: Float64[np.ndarray, " w"]

    @classmethod
    def of(cls, figures: Figures, num_attributes: int) -> "_Means":
        """From those of each pair; the attributes of a category stand together."""
        by_category = (
            figure.reshape(len(figure), -1, num_attributes)
            for figure in (figures.score, figures.micro, figures.macro)
        )
        return cls(figures.accuracy, *(mean_present(mean_present(each)) for each in by_category))


def score_attributes(
    vocabulary: Vocabulary, codes: Codes, predicted: Int[np.ndarray, "n a"]
) -> AttributeScores:
    """Scores of predicted class numbers; −1 where nothing could be predicted.

    Raises:
        SelectionError: no row has a label, or none of a known category.
    """
    counts = _counts(vocabulary, codes, predicted, np.zeros(len(codes), np.int64))
    figures = counts.figures()
    means = _Means.of(figures, len(vocabulary.attributes))
    return AttributeScores(
        attribute_score=float(means.attribute_score[0]),
        accuracy=float(means.accuracy[0]),
        micro_f1=float(means.micro_f1[0]),
        macro_f1=float(means.macro_f1[0]),
        num_labels=int(codes.is_present.sum()),
        num_unknown=codes.num_unknown,
        pairs=_pair_scores(vocabulary, codes, figures),
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
    inverse = np.unique(groups, return_inverse=True)[1]
    counts = _counts(vocabulary, codes, predicted, inverse)
    draws = [_Means.of(draw, len(vocabulary.attributes)) for draw in counts.draws(generator)]
    return ScoreIntervals(
        _interval(np.concatenate([draw.attribute_score for draw in draws])),
        _interval(np.concatenate([draw.accuracy for draw in draws])),
    )


def _counts(
    vocabulary: Vocabulary,
    codes: Codes,
    predicted: Int[np.ndarray, "n a"],
    groups: Int[np.ndarray, " n"],
) -> LabelCounts:
    """Labels and predictions of each pair; those of a category that is not known have none."""
    num_attributes = len(vocabulary.attributes)
    num_pairs = len(vocabulary.categories) * num_attributes
    rows, attributes = np.nonzero(codes.is_present)
    categories = codes.categories[rows]
    _refuse_nothing(categories)
    pairs = np.where(categories < 0, num_pairs, categories * num_attributes + attributes)
    keys = _class_keys(codes, predicted, rows, attributes)
    return LabelCounts.of(pairs, keys, groups[rows], num_pairs, int(groups.max()) + 1)


def _class_keys(
    codes: Codes,
    predicted: Int[np.ndarray, "n a"],
    rows: Int[np.ndarray, " m"],
    attributes: Int[np.ndarray, " m"],
) -> Int64[np.ndarray, "2 m"]:
    """Numbers of the true and the predicted class of each label.

    0 is no class; known classes come next, then strangers.
    """
    num_known = 2 + max(int(codes.labels.max()), int(predicted.max()))
    truth = np.where(codes.strangers >= 0, num_known + codes.strangers, codes.labels + 1)
    return np.stack([truth[rows, attributes], predicted[rows, attributes] + 1]).astype(np.int64)


def _interval(figures: Float64[np.ndarray, " w"]) -> tuple[float, float]:
    # A draw may hold nothing but groups without a label.
    low, high = np.nanpercentile(figures, [2.5, 97.5])
    return float(low), float(high)


def _pair_scores(vocabulary: Vocabulary, codes: Codes, figures: Figures) -> tuple[PairScore, ...]:
    num_classes = vocabulary.num_classes()
    of_pairs = (figures.micro, figures.macro, figures.score)
    scores = []
    for number, (c, a) in enumerate(np.ndindex(num_classes.shape)):
        rows = codes.categories == c
        num_rows = int(codes.is_present[rows, a].sum())
        if num_rows == 0 and num_classes[c, a] == 0:
            continue
        scores.append(
            PairScore(
                vocabulary.categories[c],
                vocabulary.attributes[a],
                num_rows,
                int((codes.strangers[rows, a] >= 0).sum()),
                int(num_classes[c, a]),
                *(float(figure[0, number]) if num_rows else None for figure in of_pairs),
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
