"""How long the exactly best threshold takes: beside a grid in Python, and as rows become more."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Int

from retrieval.metrics.judgements import Judgements, judge_join
from retrieval.search.ranking import Neighbours
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.curves import metrics_at
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.strategies import OneThreshold

K = 50
GROUP_ROWS = 6
GRID = np.linspace(0.8, 0.99, 20)
ROWS = (34_250, 137_000, 548_000, 2_000_000)
QUICK_ROWS = (4_000, 16_000)
REPEATS = 3


def sweep_results(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Seconds of a sweep, how much sooner it ends than a grid of 20 cuts, and how it grows."""
    sizes = QUICK_ROWS if quick else ROWS
    neighbours, labels = drawn(sizes[0])
    judged = judge_join(neighbours.rows, labels)
    _assert_best(neighbours, judged, labels)
    ways = (
        lambda: best_threshold(neighbours, judged),
        lambda: grid_of_notebooks(neighbours, labels),
        lambda: grid_of_sets(neighbours, labels),
    )
    ours, notebooks, sets = _in_turn(ways, 1 if quick else REPEATS)
    return {
        "sweep_rows": sizes[0],
        "sweep_seconds": ours,
        "sweep_grid_seconds": notebooks,
        "sweep_set_grid_seconds": sets,
        "sweep_speedup_over_grid": notebooks / ours,
        "sweep_speedup_over_set_grid": sets / ours,
        "sweep_seconds_by_rows": {str(rows): _seconds_of(rows) for rows in sizes},
    }


def drawn(num_rows: int) -> tuple[Neighbours, Int[np.ndarray, " n"]]:
    """Neighbours as a search would find them, drawn: true ones tend to have higher scores."""
    generator = np.random.default_rng(0)
    labels = np.arange(num_rows) // GROUP_ROWS
    rows = generator.integers(0, num_rows, (num_rows, K))
    first = GROUP_ROWS * labels[:, None] + np.arange(GROUP_ROWS)
    rows[:, 1 : 1 + GROUP_ROWS] = np.minimum(first, num_rows - 1)
    scores = generator.beta(8, 4, rows.shape).astype(np.float32)
    scores[:, 1 : 1 + GROUP_ROWS] = generator.beta(20, 2, (num_rows, GROUP_ROWS))
    own = np.arange(num_rows)
    rows[:, 1:][rows[:, 1:] == own[:, None]] = 0  # no item is its own neighbour
    order = np.argsort(-scores[:, 1:], axis=1) + 1
    rows[:, 1:] = np.take_along_axis(rows, order, 1)
    scores[:, 1:] = np.take_along_axis(scores, order, 1)
    rows[:, 0], scores[:, 0] = own, 1
    return Neighbours(rows, scores), labels


def best_threshold(neighbours: Neighbours, judged: Judgements) -> float:
    """The exactly best threshold of all."""
    pool = Pool.of(Candidates.of(neighbours), judged, Rules())
    fit = OneThreshold(pool, Objective()).fit(np.ones(len(neighbours.rows), bool))
    return fit.thresholds[0]


def grid_of_notebooks(neighbours: Neighbours, labels: Int[np.ndarray, " n"]) -> float:
    """The best of 20 thresholds as contest notebooks find it: arrays of ids, row by row."""
    ids = np.array([f"item_{row}" for row in range(len(labels))])
    truth = [ids[list(members)] for members in _true_sets(labels)]
    best = (-1.0, 0.0)
    for threshold in GRID.tolist():
        total = 0.0
        for row, true in enumerate(truth):
            near = np.where(neighbours.scores[row] >= threshold)[0]
            predicted = ids[neighbours.rows[row, near]]
            total += 2 * len(np.intersect1d(true, predicted)) / (len(true) + len(predicted))
        best = max(best, (total / len(truth), threshold))
    return best[1]


def grid_of_sets(neighbours: Neighbours, labels: Int[np.ndarray, " n"]) -> float:
    """The best of 20 thresholds by Python's own sets, row by row: as quick as plain loops get."""
    truth = _true_sets(labels)
    rows, scores = neighbours.rows.tolist(), neighbours.scores.tolist()
    best = (-1.0, 0.0)
    for threshold in GRID.tolist():
        total = 0.0
        for true, near, found in zip(truth, rows, scores, strict=True):
            taken = {row for row, score in zip(near, found, strict=True) if score >= threshold}
            total += 2 * len(true & taken) / (len(true) + len(taken))
        best = max(best, (total / len(truth), threshold))
    return best[1]


def _true_sets(labels: Int[np.ndarray, " n"]) -> list[set[int]]:
    members: dict[int, set[int]] = {}
    for row, label in enumerate(labels.tolist()):
        members.setdefault(label, set()).add(row)
    return [members[label] for label in labels.tolist()]


def _assert_best(neighbours: Neighbours, judged: Judgements, labels: Int[np.ndarray, " n"]) -> None:
    reached = metrics_at(neighbours, judged, best_threshold(neighbours, judged))[0].mean()
    on_grid = [metrics_at(neighbours, judged, float(step))[0].mean() for step in GRID]
    assert reached >= max(on_grid), "the swept threshold should be no worse than any of the grid"
    best = GRID[int(np.argmax(on_grid))]
    assert grid_of_sets(neighbours, labels) == best, "the grid should find the best of its steps"
    assert grid_of_notebooks(neighbours, labels) == best


def _seconds_of(num_rows: int) -> float:
    neighbours, labels = drawn(num_rows)
    judged = judge_join(neighbours.rows, labels)
    return _in_turn([lambda: best_threshold(neighbours, judged)], 2)[0]


def _in_turn(cases: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The median seconds of each case, timed in turn."""
    seconds: list[list[float]] = [[] for _ in cases]
    for _ in range(repeats):
        for case, spent in zip(cases, seconds, strict=True):
            started = time.perf_counter()
            case()
            spent.append(time.perf_counter() - started)
    return [median(spent) for spent in seconds]
