"""The picture beside a threshold: what every other threshold would have given."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Float64
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from embed.files import replacing
from retrieval.thresholds.curves import ScoreCurve
from retrieval.thresholds.joint import Surface
from retrieval.thresholds.tuned import ThresholdResult

INK, GREY = "#22303c", "#7b8794"
LINES = (
    ("precision", "precision", "#c8553d", 1.4),
    ("recall", "recall", "#588157", 1.4),
    ("f1", "row F1", "#0b6e99", 2.4),
)
MAX_POINTS = 4000
BOX = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": "#d5dbe1"}
OBJECTIVE_LABELS = {
    "row-f1": "mean row F1",
    "pair-f1": "F1 of pairs",
    "recall-at-precision": "recall of pairs, where precision is reached",
    "precision-at-recall": "precision of pairs, where recall is reached",
}


def plot_threshold(result: ThresholdResult, path: Path) -> None:
    """Draw what other thresholds reach on the rows that this one was tuned on, it being marked.

    A curve of mean row F1, precision and recall where one score is cut: its axis covers where the
    curves move, and a second one above it shows the distance. A heat map of the objective where two
    scores are. A file that exists is replaced.
    """
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if isinstance(result.picture, ScoreCurve):
        _draw_lines(axes, result.picture)
        _mark(axes, result.picture, result.rule.thresholds[0])
        _dress(axes)
    elif isinstance(result.picture, Surface):
        _draw_surface(figure, axes, result.picture, result)
    axes.set_title(_title(result), loc="left", color=INK, fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _title(result: ThresholdResult) -> str:
    spaces = "', '".join(result.rule.spaces)
    how = f" ({result.rule.combine})" if len(result.rule.spaces) > 1 else ""
    return (
        f"Space '{spaces}'{how}, true matches by '{result.label}', {result.num_rows:,} items, "
        f"k = {result.rule.k}"
    )


def _draw_surface(figure: Figure, axes: Axes, surface: Surface, result: ThresholdResult) -> None:
    """The objective over both thresholds, where it can be reached, the chosen pair marked."""
    values = np.where(surface.values < 0, np.nan, surface.values)
    shown = axes.pcolormesh(
        surface.second, surface.first, values, shading="nearest", cmap="viridis"
    )
    bar = figure.colorbar(shown, ax=axes)
    bar.set_label(OBJECTIVE_LABELS[result.objective.name], color=INK)
    first, second = result.rule.thresholds
    axes.plot([second], [first], marker="o", color="white", markeredgecolor=INK, markersize=8)
    axes.annotate(
        f"best {np.nanmax(values):.4f}\nscores {first:.4f}, {second:.4f}",
        (second, first),
        xytext=(-12 if second > surface.second.mean() else 12, 0),
        textcoords="offset points",
        ha="right" if second > surface.second.mean() else "left",
        va="center",
        fontsize=9,
        color=INK,
        bbox=BOX,
    )
    names = list(result.rule.spaces)
    axes.set_ylabel(f"score threshold of '{names[0]}'", color=INK)
    axes.set_xlabel(f"score threshold of '{names[1]}'", color=INK)
    axes.tick_params(colors=INK)


def _draw_lines(axes: Axes, curve: ScoreCurve) -> None:
    scores = np.concatenate([[curve.threshold(0)], curve.cuts[1:]])
    low, high = _moving(curve, scores)
    margin = 0.02 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    step = max(1, len(scores) // MAX_POINTS)
    for name, label, colour, width in LINES:
        values = getattr(curve, name)
        # A threshold anywhere between two scores takes what the upper one takes.
        axes.step(
            scores[::step], values[::step], where="post", label=label, color=colour, linewidth=width
        )
    axes.set_ylim(0, 1.02)


def _moving(curve: ScoreCurve, scores: Float64[np.ndarray, " c"]) -> tuple[float, float]:
    """The scores between which any of the curves is more than 1 % away from both of its ends."""
    values = [curve.f1, curve.precision, curve.recall]
    moving = np.any([_is_away(line) for line in values], axis=0)
    if not moving.any():
        return float(scores[-1]) - 0.01, float(scores[0]) + 0.01
    return float(scores[moving].min()), float(scores[moving].max())


def _is_away(values: Float[np.ndarray, " c"]) -> Bool[np.ndarray, " c"]:
    near = 0.01 * np.ptp(values)
    return np.asarray((abs(values - values[0]) > near) & (abs(values - values[-1]) > near))


def _mark(axes: Axes, curve: ScoreCurve, score: float) -> None:
    cut = int(np.searchsorted(-curve.cuts, -score, side="right")) - 1
    reached = float(curve.f1[cut])
    axes.axvline(score, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot([score], [reached], marker="o", color=INK, markersize=6, zorder=5)
    low, high = axes.get_xlim()
    is_right = score > (low + high) / 2
    heights = [reached, float(curve.precision[cut]), float(curve.recall[cut])]
    axes.annotate(
        f"score {score:.4f}\ndistance {1 - score:.4f}\nrow F1 {reached:.4f}",
        (score, _widest_gap(heights)),
        xytext=(-10 if is_right else 10, 0),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="center",
        color=INK,
        fontsize=9,
        bbox=BOX,
    )


def _widest_gap(heights: list[float]) -> float:
    """The middle of the widest gap that lines at these heights leave, so that a text hides none."""
    edges = np.array([0, *sorted(heights), 1])
    widest = int(np.argmax(np.diff(edges)))
    return float(edges[widest : widest + 2].mean())


def _dress(axes: Axes) -> None:
    axes.set_xlabel("score threshold (cosine similarity)", color=INK)
    axes.set_ylabel("mean over items", color=INK)
    above = axes.secondary_xaxis("top", functions=(_flip, _flip))
    above.set_xlabel("distance threshold (1 − score)", color=GREY)
    above.tick_params(colors=GREY)
    axes.grid(color="#e5e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top", "bottom"):
        axes.spines[side].set_color("#c3cbd3")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)


def _flip(values: npt.ArrayLike) -> npt.ArrayLike:
    return 1 - np.asarray(values)
