"""All pairs of items with at least a score, however many an item has."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Int

from embed.store import Store
from retrieval.finding import EXACT, Finding, found_neighbours, iterate_found
from retrieval.matches.links import Links
from retrieval.search.sides import Sides, StoreRows, self_join

FIRST_K = 16
GROWTH = 4


def near_links(
    store: Store,
    space: str,
    rows: Int[np.ndarray, " m"],
    least_score: float,
    finding: Finding = EXACT,
) -> Links:
    """All pairs of rows, by position, with at least a score; in a sparse space it is above 0.

    Rows are asked for a few neighbours first, and those whose last one is still near enough for
    four times as many, until the last one is not. `finding` says how much memory a search may take,
    and on which device.

    Raises:
        StoreError: there is no such space, or a vector is not finite or, in a dense space, zero.
    """
    sides, asked, k = self_join(store, rows), np.arange(len(rows)), FIRST_K
    found: list[Links] = []
    while len(asked):
        is_full = _ask(sides, {space: 1.0}, k, least_score, finding, found)
        asked, k = asked[is_full], GROWTH * k
        sides = Sides(StoreRows(store, rows[asked]), sides.gallery, asked)
    return Links.joined(found)


def listed_links(
    store: Store, space: str, rows: Int[np.ndarray, " m"], least_score: float, finding: Finding
) -> tuple[Links, int]:
    """The pairs of rows, by position, that a file of neighbours lists with at least a score.

    The second is how many rows have nothing but such neighbours listed, and may have more.

    Raises:
        NeighboursError: the file can't be read, or is of other rows or another space.
        FingerprintError: the space holds other vectors now.
    """
    sides = self_join(store, rows)
    found = found_neighbours(sides, {space: 1.0}, finding.columns(len(rows), least=1), finding)
    is_near = found.matches(least_score)
    is_near[:, 0] = False  # the item itself
    is_full = is_near[:, -1] & (is_near.shape[1] < len(rows))
    queries, places = np.nonzero(is_near)
    scores = found.scores[queries, places].astype(np.float64)
    return Links.of(queries, found.rows[queries, places], scores), int(is_full.sum())


def _ask(
    sides: Sides,
    weights: Mapping[str, float],
    k: int,
    least_score: float,
    finding: Finding,
    found: list[Links],
) -> Bool[np.ndarray, " q"]:
    """Add the pairs of queries to what was found, but for those that may have more than k − 1.

    Those are True in what is returned.
    """
    fulls = []
    for start, neighbours in iterate_found(sides, weights, k, finding):
        is_near = neighbours.matches(least_score)
        is_near[:, 0] = False  # the item itself
        is_full = is_near[:, -1] & (is_near.shape[1] < len(sides.gallery))
        queries, places = np.nonzero(is_near & ~is_full[:, None])
        own, others = sides.own[start + queries], neighbours.rows[queries, places]
        links = Links(own, others, neighbours.scores[queries, places].astype(np.float64))
        found.append(links.where(own < others))  # the other one finds the pair as well
        fulls.append(is_full)
    return np.concatenate(fulls)
