"""Which candidates are true matches: what is known of them, apart from any score."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from retrieval.search.ranking import NO_ROW
from retrieval.selection import EvaluationRows


@dataclass(frozen=True)
class Judgements:
    """What is known of the c candidates of each of q queries.

    `relevant` is True where a candidate has the query's label: in the first column, the query
    itself, always. `num_true` counts the items with the query's label, found or not, itself
    included. `groups` are the numbers of the queries' labels: whole groups are drawn and held out.
    """

    relevant: Bool[np.ndarray, "q c"]
    num_true: Int[np.ndarray, " q"]
    groups: Int[np.ndarray, " q"]

    def first(self, k: int) -> "Judgements":
        """Of the first k candidates alone."""
        return Judgements(self.relevant[:, :k], self.num_true, self.groups)


def judge(candidates: Int[np.ndarray, "q c"], rows: EvaluationRows) -> Judgements:
    """Judge candidates, positions in the gallery with the query itself first, by their labels."""
    return _judge(candidates, rows.query_labels, rows.gallery_labels, rows.sides.own)


def judge_join(candidates: Int[np.ndarray, "n c"], labels: Int[np.ndarray, " n"]) -> Judgements:
    """`judge` where n items look among one another, and no store is at hand."""
    return _judge(candidates, labels, labels, np.arange(len(labels)))


def _judge(
    candidates: Int[np.ndarray, "q c"],
    query_labels: Int[np.ndarray, " q"],
    gallery_labels: Int[np.ndarray, " g"],
    own: Int[np.ndarray, " q"],
) -> Judgements:
    relevant = gallery_labels[candidates] == query_labels[:, None]
    relevant &= candidates != NO_ROW
    relevant[:, 0] = True
    num_labels = int(max(query_labels.max(initial=-1), gallery_labels.max(initial=-1))) + 1
    in_gallery = np.bincount(gallery_labels, minlength=num_labels)[query_labels]
    return Judgements(relevant, in_gallery + (own == NO_ROW), query_labels)
