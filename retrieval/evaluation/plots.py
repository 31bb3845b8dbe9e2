"""The picture of a comparison: a bar for each line, with its interval."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from embed.files import replacing
from embed.wording import counted
from retrieval.evaluation.comparison import Comparison, Line
from retrieval.evaluation.evaluations import Evaluation
from retrieval.evaluation.tables import TITLES, interval_text

INK, GREY = "#22303c", "#7b8794"
BEST, OTHER = "#4d9dc0", "#bcd6e3"
BAR_INCHES = 0.55
LONGEST_NAME = 32


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Draw the metric `best_by` of each line with its 95 % interval; the best bar is darker.

    Bars begin at 0, so that their lengths compare. Beside each stand its value and, where its
    difference from the line that is compared with is clear, a word that says so. A file that exists
    is replaced.
    """
    height = 1.6 + BAR_INCHES * len(comparison.lines)
    figure = Figure(figsize=(8, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, line in enumerate(comparison.lines):
        _draw(axes, place, line, comparison)
    _dress(axes, comparison)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _draw(axes: Axes, place: int, line: Line, comparison: Comparison) -> None:
    metric = comparison.best_by
    value = line.evaluation.metrics[metric] or 0.0
    low, high = line.evaluation.intervals[metric] or (value, value)
    colour = BEST if value == comparison.best else OTHER
    axes.barh(place, value, height=0.62, color=colour, zorder=2)
    # An interval of draws may leave the mean itself out where there are few groups.
    ends = [[max(0.0, value - low)], [max(0.0, high - value)]]
    axes.errorbar(value, place, xerr=ends, color=INK, capsize=3, linewidth=1.2, zorder=3)
    axes.text(
        1.02,
        place,
        f"{value:.4f}  ({interval_text((low, high))}){_verdict(line, metric)}",
        transform=axes.get_yaxis_transform(),
        va="center",
        color=INK,
        fontsize=9,
    )


def _verdict(line: Line, metric: str) -> str:
    difference = line.differences.get(metric)
    if difference is None or not difference.is_clear:
        return ""
    return ", clearly higher" if difference.value > 0 else ", clearly lower"


def _dress(axes: Axes, comparison: Comparison) -> None:
    lines = comparison.lines
    found, metric = lines[0].evaluation, TITLES[comparison.best_by]
    axes.set_yticks(range(len(lines)), [_short(line.name) for line in lines], color=INK)
    axes.set_ylim(len(lines) - 0.5, -0.5)  # the first line on top
    highest = max((ends or (0, 0))[1] for ends in _intervals(comparison))
    axes.set_xlim(0, min(1.0, 1.05 * max(highest, comparison.best)) or 1.0)
    axes.set_xlabel(f"{metric}, with its 95 % interval over groups", color=INK)
    axes.set_title(_title(comparison, found), loc="left", color=INK, fontsize=11)
    axes.grid(axis="x", color="#e5e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", colors=GREY)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#c3cbd3")


def _intervals(comparison: Comparison) -> list[tuple[float, float] | None]:
    return [line.evaluation.intervals[comparison.best_by] for line in comparison.lines]


def _title(comparison: Comparison, found: Evaluation) -> str:
    items = counted(found.num_rows, "item")
    if not found.is_self_join:
        queries = counted(found.num_rows, "query")
        items = f"{queries} among {counted(found.num_gallery, 'item')}"
    metric, k = TITLES[comparison.best_by], found.k
    against = f", compared with {_short(comparison.against)}" if len(comparison.lines) > 1 else ""
    return f"{metric} of {items}, k = {k}{against}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
