"""Columns that are voted on, as numbers, and how good the votes on them are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from embed.labels import label_texts
from retrieval.matches.votes import NO_CLASS, Votes
from retrieval.metrics.attribute_scores import LabelCounts
from retrieval.search.sides import Sides, StoreRows


@dataclass(frozen=True)
class ColumnOutcome:
    """What came of one column; figures are None where no item could be judged.

    Attributes:
        column: its name.
        num_predicted: the items that got a label.
        mean_share: the mean share of the votes that the labels won; None where there is none.
        num_judged: the items whose own label is known, and which no head of the space has seen.
        accuracy, macro_f1: over those; an item without a prediction counts as wrong.
        score: 2·accuracy·macro_f1 / (accuracy + macro_f1).
    """

    column: str
    num_predicted: int
    mean_share: float | None
    num_judged: int
    accuracy: float | None
    macro_f1: float | None
    score: float | None


@dataclass(frozen=True)
class LabelColumn:
    """A column as numbers: `names` are in order; −1 is no label."""

    names: Shaped[np.ndarray, " c"]
    queries: Int64[np.ndarray, " q"]
    gallery: Int64[np.ndarray, " g"]

    @classmethod
    def of(cls, name: str, sides: Sides) -> "LabelColumn":
        """A column of both sides; of the queries where they have it.

        Raises:
            StoreError: the gallery does not have it.
        """
        of_gallery = _labels(sides.gallery, name)
        has_truth = name in (*sides.queries.store.columns, "id")
        of_queries = _labels(sides.queries, name) if has_truth else [None] * len(sides.queries)
        names = sorted({text for text in [*of_gallery, *of_queries] if text is not None})
        numbers = {text: number for number, text in enumerate(names)}
        queries, gallery = (
            np.array([NO_CLASS if text is None else numbers[text] for text in texts], np.int64)
            for texts in (of_queries, of_gallery)
        )
        return cls(np.array([*names, None], object), queries, gallery)


def _labels(rows: StoreRows, column: str) -> list[str | None]:
    return label_texts(rows.store.column(column)[rows.rows])


def outcome_of(
    name: str, column: LabelColumn, votes: Votes, is_judged: Bool[np.ndarray, " q"]
) -> ColumnOutcome:
    """What votes on a column came to, judged on some of the queries."""
    is_predicted = votes.classes != NO_CLASS
    share = float(votes.shares[is_predicted].mean()) if is_predicted.any() else None
    accuracy = macro = score = None
    if is_judged.any():
        classes = np.stack([column.queries[is_judged], votes.classes[is_judged]]) + 1
        zeros = np.zeros(classes.shape[1], np.int64)  # one column at a time, all rows together
        figures = LabelCounts.of(zeros, classes, zeros, num_pairs=1, num_groups=1).figures()
        accuracy, macro, score = (
            float(figure[0, 0]) for figure in (figures.micro, figures.macro, figures.score)
        )
    return ColumnOutcome(
        name, int(is_predicted.sum()), share, int(is_judged.sum()), accuracy, macro, score
    )
