"""Pools of nothing but the pairs that people have decided: what is tuned on where no label is."""

import numpy as np
from jaxtyping import Int

from retrieval.decisions.pairs import DecidedPairs
from retrieval.metrics.judgements import Judgements
from retrieval.search.ranking import NO_ROW
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.rules import Bounds


def decided_pool(pool: Pool, decided: DecidedPairs) -> Pool:
    """The queries that have decided pairs, with these alone as candidates, in the same order.

    What the rules say of them is said among all candidates. A pair that is none can't be matched,
    but counts as missed where it is the same.
    """
    queries = np.unique(decided.queries)
    columns = _columns(pool, decided, queries)
    is_there, at = columns >= 0, (queries[:, None], columns)
    found, judged, limits = pool.candidates, pool.judged, pool.limits
    return Pool(
        Candidates(
            np.where(is_there, found.rows[at], NO_ROW),
            np.where(is_there, found.scores[:, *at], np.float32(-np.inf)),
            np.where(is_there, found.combined[at], np.float32(-np.inf)),
        ),
        Judgements(
            judged.relevant[at] & is_there,
            judged.num_true[queries],
            judged.groups[queries],
            judged.num_shared[queries],
        ),
        Bounds(limits.always[at] & is_there, limits.possible[at] & is_there),
        None if pool.categories is None else pool.categories[queries],
    )


def _columns(
    pool: Pool, decided: DecidedPairs, queries: Int[np.ndarray, " d"]
) -> Int[np.ndarray, "d c"]:
    """The columns where the decided pairs of each query stand: itself first, −1 beyond the last."""
    _, places = decided.places(pool.candidates.rows)
    numbers = np.searchsorted(queries, decided.queries)
    order = np.lexsort((places, numbers))
    order = order[places[order] >= 0]
    counts = np.bincount(numbers[order], minlength=len(queries))
    nth = np.arange(len(order)) - (np.cumsum(counts) - counts)[numbers[order]]
    columns = np.full((len(queries), 1 + int(counts.max(initial=0))), -1)
    columns[:, 0] = 0
    columns[numbers[order], 1 + nth] = places[order]
    return columns
