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
from retrieval.thresholds.tuned import ThresholdResult

INK, GREY = "#22303c", "#7b8794"
LINES = (
    ("precision", "precision", "#c8553d", 1.4),
    ("recall", "recall", "#588157", 1.4),
    ("f1", "row F1", "#0b6e99", 2.4),
)
MAX_POINTS = 4000


def plot_curve(curve: ScoreCurve, result: ThresholdResult, path: Path) -> None:
    """Draw mean row F1, precision and recall over the score threshold, the chosen one marked.

    The score axis covers where the curves move; a second one above it shows the distance. A file
    that exists is replaced.
    """
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_lines(axes, curve)
    _mark(axes, curve, result)
    _dress(axes, result)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


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


def _mark(axes: Axes, curve: ScoreCurve, result: ThresholdResult) -> None:
    cut = curve.best_cut()
    score, best = result.score_threshold, float(curve.f1[cut])
    axes.axvline(score, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot([score], [best], marker="o", color=INK, markersize=6, zorder=5)
    low, high = axes.get_xlim()
    is_right = score > (low + high) / 2
    axes.annotate(
        f"score {score:.4f}\ndistance {result.distance_threshold:.4f}\nbest F1 {best:.4f}",
        (score, _widest_gap([best, float(curve.precision[cut]), float(curve.recall[cut])])),
        xytext=(-10 if is_right else 10, 0),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="center",
        color=INK,
        fontsize=9,
        bbox={"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": "#d5dbe1"},
    )


def _widest_gap(heights: list[float]) -> float:
    """The middle of the widest gap that lines at these heights leave, so that a text hides none."""
    edges = np.array([0, *sorted(heights), 1])
    widest = int(np.argmax(np.diff(edges)))
    return float(edges[widest : widest + 2].mean())


def _dress(axes: Axes, result: ThresholdResult) -> None:
    axes.set_title(
        f"Space '{result.space}', true matches by '{result.label}', {result.num_rows:,} items, "
        f"k = {result.k}",
        loc="left",
        color=INK,
        fontsize=11,
    )
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
