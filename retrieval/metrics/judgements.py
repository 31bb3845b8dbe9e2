"""Which candidates are true matches: what is known of them, apart from any score."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Int
from scipy.sparse.csgraph import connected_components

from retrieval.decisions.pairs import DecidedPairs
from retrieval.search.ranking import NO_ROW
from retrieval.selection import EvaluationRows


@dataclass(frozen=True)
class Judgements:
    """What is known of the c candidates of each of q queries.

    `relevant` is True where a candidate has the query's label: in the first column, the query
    itself, always. `num_true` counts the items with the query's label, found or not, itself
    included. `groups` are the numbers of the queries' labels: whole groups are drawn and held out.
    Where people have decided otherwise that counts, and groups that share a pair are one.

    `num_shared` are those of a query's true matches that are queries as well, where both are in the
    gallery: their pair is there from either side.
    """

    relevant: Bool[np.ndarray, "q c"]
    num_true: Int[np.ndarray, " q"]
    groups: Int[np.ndarray, " q"]
    num_shared: Int[np.ndarray, " q"]

    def first(self, k: int) -> "Judgements":
        """Of the first k candidates alone."""
        return Judgements(self.relevant[:, :k], self.num_true, self.groups, self.num_shared)


def judge(candidates: Int[np.ndarray, "q c"], rows: EvaluationRows) -> Judgements:
    """Judge candidates, positions in the gallery with the query itself first, by their labels.

    What people have decided of a pair goes before the labels of its items.
    """
    judged = _judge(candidates, rows.query_labels, rows.gallery_labels, rows.sides.own)
    return judged if rows.decided is None else _decided(judged, candidates, rows, rows.decided)


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
    is_inside = own != NO_ROW
    inside = np.bincount(query_labels[is_inside], minlength=num_labels)[query_labels]
    num_shared = np.where(is_inside, inside - 1, 0)
    return Judgements(relevant, in_gallery + ~is_inside, query_labels, num_shared)


def _decided(
    judged: Judgements,
    candidates: Int[np.ndarray, "q c"],
    rows: EvaluationRows,
    decided: DecidedPairs,
) -> Judgements:
    """The judgements with what people have decided in the place of what labels say."""
    labels = rows.query_labels[decided.queries], rows.gallery_labels[decided.gallery]
    change = decided.is_same.astype(np.int64) - (labels[0] == labels[1])
    is_shared = np.bincount(decided.numbers, minlength=1)[decided.numbers] == 2
    _, places = decided.places(candidates)
    relevant, is_found = judged.relevant.copy(), places >= 0
    relevant[decided.queries[is_found], places[is_found]] = decided.is_same[is_found]
    return Judgements(
        relevant,
        judged.num_true + _sums(decided.queries, change, len(relevant)),
        _joined(judged.groups, labels[0][decided.is_same], labels[1][decided.is_same]),
        judged.num_shared + _sums(decided.queries, change * is_shared, len(relevant)),
    )


def _sums(
    rows: Int[np.ndarray, " p"], values: Int[np.ndarray, " p"], num_rows: int
) -> Int[np.ndarray, " q"]:
    sums = np.zeros(num_rows, np.int64)
    np.add.at(sums, rows, values)
    return sums


def _joined(
    groups: Int[np.ndarray, " q"], one: Int[np.ndarray, " m"], other: Int[np.ndarray, " m"]
) -> Int[np.ndarray, " q"]:
    """Groups that a pair joins get the lowest number among them: true pairs are within groups."""
    size = 1 + int(max(numbers.max(initial=-1) for numbers in (groups, one, other)))
    graph = scipy.sparse.csr_array((np.ones(len(one)), (one, other)), shape=(size, size))
    parts = connected_components(graph, directed=False)[1]
    firsts = np.unique(parts, return_index=True)[1]
    return np.asarray(firsts[parts][groups])
