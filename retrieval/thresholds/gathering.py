"""The candidates of a search in one space or in several, however these are combined."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Int

from embed.errors import SettingsError
from retrieval.finding import EXACT, Finding, found_neighbours
from retrieval.search.combined import shares_of
from retrieval.search.pairs import pair_scores
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import Sides
from retrieval.thresholds.candidates import Candidates

COMBINATIONS = ("concat", "sum", "union", "intersection")


def gather(
    sides: Sides, weights: Mapping[str, float], k: int, combine: str, finding: Finding = EXACT
) -> Candidates:
    """The candidates of a search in the spaces that are weighted.

    concat: the k nearest by the weighted mean of the scores, which is the score of concatenated
    vectors. sum: the same score, among pairs that are k nearest in some space. union and
    intersection: the same pairs, each with its score in every space.

    Raises:
        SettingsError: there is no such combination, or it can't be found in this way; besides what
            `found_neighbours` raises.
    """
    if combine not in COMBINATIONS:
        raise SettingsError(
            f"there is no combination '{combine}': they are {', '.join(COMBINATIONS)}"
        )
    if len(weights) == 1 or combine == "concat":
        return Candidates.of(found_neighbours(sides, weights, k, finding))
    scored = scored_in_all(sides, list(weights), k, finding)
    mixed = weighted(scored, list(shares_of(weights).values()))
    return as_one(mixed) if combine == "sum" else mixed


def scored_in_all(
    sides: Sides, spaces: Sequence[str], k: int, finding: Finding = EXACT
) -> Candidates:
    """The pairs that are k nearest in some space, with their scores in all; by row, not ranked.

    Raises:
        SettingsError: anything but an exact search is asked for.
    """
    if not finding.is_plain:
        raise SettingsError(
            "sum, union and intersection look for neighbours in each space, exactly: leave out "
            "refinements, --index and --neighbours, or take --combine concat"
        )
    found = [found_neighbours(sides, {space: 1.0}, k, finding).rows for space in spaces]
    rows = _distinct(np.concatenate(found, axis=1), sides.own)
    scores = np.stack(
        [pair_scores(sides, space, rows, memory_bytes=finding.memory_bytes) for space in spaces]
    )
    scores[:, :, 0] = 1
    return Candidates(rows, scores, scores.mean(axis=0))


def weighted(candidates: Candidates, shares: Sequence[float]) -> Candidates:
    """The candidates ranked by the weighted mean of their scores, ties by row."""
    combined = _mean(candidates, shares)
    combined[:, 0] = np.inf  # the query itself stays first
    order = np.lexsort((candidates.rows, -combined), axis=-1)
    combined[:, 0] = 1
    return Candidates(
        np.take_along_axis(candidates.rows, order, 1),
        np.take_along_axis(candidates.scores, order[None], 2),
        np.take_along_axis(combined, order, 1),
    )


def as_one(candidates: Candidates) -> Candidates:
    """Candidates that are cut by their combined score alone."""
    return Candidates(candidates.rows, candidates.combined[None], candidates.combined)


def _mean(candidates: Candidates, shares: Sequence[float]) -> Float32[np.ndarray, "q c"]:
    mean, exist = np.zeros(candidates.rows.shape), candidates.exist
    for scores, share in zip(candidates.scores, shares, strict=True):
        mean += share * np.where(exist, scores, np.float32(0)).astype(np.float64)
    mean[~exist] = -np.inf  # whatever the sign of a share
    return mean.astype(np.float32)


def _distinct(rows: Int[np.ndarray, "q m"], own: Int[np.ndarray, " q"]) -> Int[np.ndarray, "q c"]:
    """Each row's candidates once, ascending, itself first; `NO_ROW` fills up."""
    ordered = np.sort(rows, axis=1)
    is_new = np.ones(rows.shape, bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    is_new &= (ordered != own[:, None]) & (ordered != NO_ROW)
    width = int(is_new.sum(axis=1).max(initial=0))
    last = np.argsort(~is_new, axis=1, kind="stable")[:, :width]
    kept = np.where(np.take_along_axis(is_new, last, 1), np.take_along_axis(ordered, last, 1), -1)
    return np.concatenate([own[:, None], kept], axis=1)
