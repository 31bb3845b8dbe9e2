"""A comparison as Markdown, CSV or rows of text."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence

from retrieval.evaluation.comparison import Comparison, Line
from retrieval.metrics.intervals import Difference
from retrieval.thresholds.wording import distance_text, threshold_text

TITLES = {
    "row_f1": "row F1",
    "precision": "precision",
    "recall": "recall",
    "pair_f1": "pair F1",
    "pair_precision": "pair precision",
    "pair_recall": "pair recall",
    "map": "mAP",
    "map_trec": "mAP ÷ all",
    "mrr": "MRR",
    "recall@1": "recall@1",
    "recall@5": "recall@5",
    "recall@10": "recall@10",
    "found@1": "found@1",
    "found@5": "found@5",
    "found@10": "found@10",
    "precision@5": "precision@5",
    "precision@10": "precision@10",
    "mp@5": "mP@5",
    "r_precision": "R-precision",
    "map@r": "MAP@R",
}
"""What each metric is called where people read, by its name in JSON and in their order."""

SHOWN = (
    *("row_f1", "precision", "recall", "pair_f1"),
    *("map", "mrr", "recall@1", "recall@5", "mp@5", "map@r"),
)
"""The metrics in tables for people, but that the first is the one that says which line is best."""

Table = tuple[list[str], list[list[str]]]
"""A header, and rows as long as it."""

LONGEST_MODEL = 32
MOST_DECIMALS = 7


def summary_table(comparison: Comparison) -> Table:
    """Of each line: what it is, the metric `best_by` with a star at the best, and the threshold.

    The weights of spaces follow where any line has some.
    """
    main = comparison.best_by
    header = ["space", "model", "metric", TITLES[main], "95 % interval"]
    rows = [[*_about(line), *_main_cells(comparison, line)] for line in comparison.lines]
    if comparison.has_thresholds:
        header += ["score ≥", "distance ≤"]
        for row, line in zip(rows, comparison.lines, strict=True):
            row += _threshold_cells(line)
    if any(line.evaluation.weights for line in comparison.lines):
        header += ["weights"]
        for row, line in zip(rows, comparison.lines, strict=True):
            row += [weights_text(line.evaluation.weights)]
    return header, rows


def metrics_table(comparison: Comparison) -> Table:
    """Of each line: the other metrics."""
    names = [n for n in SHOWN if n != comparison.best_by and _has(comparison, n)]
    rows = [
        [line.name, *(number_text(line.evaluation.metrics[name]) for name in names)]
        for line in comparison.lines
    ]
    return ["space", *(TITLES[name] for name in names)], rows


def differences_table(comparison: Comparison) -> Table:
    """Of each other line and metric: how much more than the line that is compared with."""
    header = ["difference on the same rows", "metric", "difference", "95 % interval", "clear"]
    return header, [
        [f"{line.name} less {comparison.against}", TITLES[name], *_difference_cells(difference)]
        for line in comparison.lines
        for name, difference in line.differences.items()
    ]


def as_markdown(comparison: Comparison) -> str:
    """A table of the lines, and one of the differences where there are any."""
    header, rows = summary_table(comparison)
    more, others = metrics_table(comparison)
    joined = [row + other[1:] for row, other in zip(rows, others, strict=True)]
    text = _markdown([*header, *more[1:]], joined)
    differences = differences_table(comparison)
    return text + "\n" + _markdown(*differences) if differences[1] else text


def as_csv(comparison: Comparison) -> str:
    """Numbers in columns of their own: every metric with the ends of its interval."""
    names = [name for name in TITLES if _has(comparison, name)]
    paired = list(next((ln.differences for ln in comparison.lines if ln.differences), {}))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    about = ["space", "model", "metric", "protocol", "k", "num_rows", "num_gallery", "num_queries"]
    ends = ["", "_low", "_high"]
    columns = [name + end for name in names for end in ends]
    columns += [f"{name}_difference{end}" for name in paired for end in ends]
    writer.writerow([*about, "score_threshold", "distance_threshold", "weights", *columns])
    for line in comparison.lines:
        found = line.evaluation
        cells: list[object] = [line.name, *(getattr(found, name) for name in about[1:])]
        cells += [" ".join(map(str, scores)) for scores in (found.thresholds, found.distances)]
        cells.append(" ".join(map(str, found.weights.values())))
        for name in names:
            cells += [found.metrics[name], *(found.intervals[name] or (None, None))]
        for name in paired:
            difference = line.differences.get(name)
            cells += [difference.value, *difference.interval] if difference else [None] * 3
        writer.writerow(cells)
    return text.getvalue()


def number_text(value: float | None) -> str:
    """Four decimals, or a dash where there is no number."""
    return "–" if value is None else f"{round(value, 4) + 0.0:.4f}"  # never −0.0000


def weights_text(weights: Mapping[str, float]) -> str:
    """Those of several spaces in their order, or a dash where there are none."""
    return ", ".join(f"{weight:.2f}" for weight in weights.values()) or "–"


def interval_text(interval: tuple[float, float] | None) -> str:
    """Low – high."""
    return "–" if interval is None else " – ".join(map(number_text, interval))


def _has(comparison: Comparison, name: str) -> bool:
    return all(name in line.evaluation.metrics for line in comparison.lines)


def _about(line: Line) -> list[str]:
    found = line.evaluation
    model = re.sub(r"@\S+", "", found.model)  # a weights file, after its architecture
    if len(model) > LONGEST_MODEL:
        model = f"{model[: LONGEST_MODEL // 2]}…{model[1 - LONGEST_MODEL // 2 :]}"
    return [line.name, model, found.metric]


def _main_cells(comparison: Comparison, line: Line) -> list[str]:
    main = comparison.best_by
    value = line.evaluation.metrics[main]
    star = " *" if value == comparison.best and len(comparison.lines) > 1 else ""
    return [number_text(value) + star, interval_text(line.evaluation.intervals[main])]


def _threshold_cells(line: Line) -> list[str]:
    found = line.evaluation
    return [threshold_text(found.thresholds), distance_text(found.thresholds)]


def _difference_cells(difference: Difference) -> list[str]:
    decimals = _decimals(difference)
    value, low, high = (_signed(x, decimals) for x in (difference.value, *difference.interval))
    return [value, f"{low} – {high}", "yes" if difference.is_clear else "no"]


def _decimals(difference: Difference) -> int:
    """Four; up to seven where an interval that leaves out 0 would seem to reach it."""
    nearest = min(map(abs, difference.interval))
    if not difference.is_clear or round(nearest, 4) > 0:
        return 4
    return min(MOST_DECIMALS, -math.floor(math.log10(nearest)))


def _signed(value: float, decimals: int = 4) -> str:
    return f"{round(value, decimals) + 0.0:+.{decimals}f}"  # never −0.0000


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)
