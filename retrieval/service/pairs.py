"""The candidates of all items of a store: what figures, curve, groups and review look at."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from retrieval.finding import Finding, iterate_found
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import Sides, StoreRows, between
from retrieval.service.background import Report
from retrieval.service.settings import ServiceSettings
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.columns import DEFAULT_K, num_columns
from retrieval.thresholds.gathering import gather
from retrieval.thresholds.match_rules import MatchRule, gathered
from retrieval.thresholds.strategies import NO_MATCH

BLOCK_ROWS = 8192
"""Items at a time where several spaces are searched: vectors are made ready for each block."""


def open_rule(spaces: Sequence[str]) -> MatchRule:
    """How items are compared where nothing says when they match: by the mean of their scores."""
    return MatchRule(dict.fromkeys(spaces, 1 / len(spaces)), (NO_MATCH,), DEFAULT_K)


def finding_of(settings: ServiceSettings) -> Finding:
    """How the neighbours of all items are found."""
    return Finding(settings.memory_bytes, neighbours=settings.neighbours, device=settings.device)


def within_file(rule: MatchRule, finding: Finding) -> MatchRule:
    """A rule that no file has tuned, as a file of neighbours has them: their number, refinements.

    Raises:
        NeighboursError: the file can't be read.
    """
    return replace(rule, k=finding.columns(rule.k, least=2), refinements=finding.applied)


def all_pairs(sides: Sides, rule: MatchRule, finding: Finding, report: Report) -> Candidates:
    """`gathered`, in blocks of items, so that it can be seen how far it is, and given up.

    k candidates of each item are held, besides `memory_bytes` of vectors, scores and products.

    Raises:
        What `gathered` raises.
    """
    parts: list[Candidates] = []
    report(0.0)
    for stop, part in _parts(sides, rule, finding):
        parts.append(part)
        report(stop / len(sides.queries))
    return joined_candidates(parts)


def _parts(sides: Sides, rule: MatchRule, finding: Finding) -> Iterator[tuple[int, Candidates]]:
    """The candidates of blocks of items, each with the position after its last item."""
    way, columns = rule.found_by(finding), num_columns(rule.k, sides)
    if len(rule.spaces) == 1:
        for start, found in iterate_found(sides, rule.spaces, columns, way):
            yield start + len(found.rows), Candidates.of(found)
    elif way.is_plain:
        for start in range(0, len(sides.queries), BLOCK_ROWS):
            block = _block(sides, start)
            yield (
                start + len(block.queries),
                gather(block, rule.spaces, columns, rule.combine, way),
            )
    else:
        yield len(sides.queries), gathered(sides, rule, finding)


def _block(sides: Sides, start: int) -> Sides:
    """Some of the queries, among the whole gallery."""
    if len(sides.queries) <= BLOCK_ROWS:
        return sides
    rows = sides.queries.rows[start : start + BLOCK_ROWS]
    return between(StoreRows(sides.queries.store, rows), sides.gallery)


def joined_candidates(parts: Sequence[Candidates]) -> Candidates:
    """Blocks of items one after another, all as wide as the widest."""
    width = max(part.rows.shape[1] for part in parts)
    rows, scores, combined = zip(*(_widened(part, width) for part in parts), strict=True)
    return Candidates(
        np.concatenate(rows), np.concatenate(scores, axis=1), np.concatenate(combined)
    )


def _widened(part: Candidates, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    more = (0, width - part.rows.shape[1])
    return (
        np.pad(part.rows, ((0, 0), more), constant_values=NO_ROW),
        np.pad(part.scores, ((0, 0), (0, 0), more), constant_values=-np.inf),
        np.pad(part.combined, ((0, 0), more), constant_values=-np.inf),
    )
