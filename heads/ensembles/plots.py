"""The picture of a sweep: a metric over the share that the second head has."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embed.files import replacing
from heads.plots import LOSS_COLOR, METRIC_COLOR
from heads.wording import spoken_metric

LEAST_SPAN = 0.02


def plot_sweep(
    metric: str,
    weights: Sequence[float],
    values: Sequence[float],
    best: int,
    names: Sequence[str],
    path: Path,
) -> None:
    """Draw the values over the weights as a PNG; both heads' own values and the best are marked."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes: Axes = figure.subplots()
    axes.plot(weights, values, ".-", color=METRIC_COLOR, linewidth=1.8)
    alone = max(values[0], values[-1])
    axes.axhline(alone, color=LOSS_COLOR, linewidth=0.8, label="the better head alone", zorder=1)
    axes.plot(weights[best], values[best], "o", color=METRIC_COLOR, markersize=7)
    axes.annotate(
        f"kept: {weights[best]:.2f}, {spoken_metric(metric)} {values[best]:.4f}",
        (weights[best], values[best]),
        xytext=(0, 8),
        textcoords="offset points",
        ha=_alignment(weights[best]),
        color=METRIC_COLOR,
    )
    middle, span = (min(values) + max(values)) / 2, _half_span(values)
    axes.set_ylim(middle - span, middle + span)
    axes.legend(loc="lower center", frameon=False, labelcolor=LOSS_COLOR)
    axes.set_xlabel(f"weight of {names[1]} (0: {names[0]} alone)")
    axes.set_ylabel(f"validation {spoken_metric(metric)}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"Weights of {names[0]} and {names[1]} averaged", loc="left", fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _half_span(values: Sequence[float]) -> float:
    """A little more than the values need, and so much that differences of no meaning look flat."""
    return max(0.65 * (max(values) - min(values)), LEAST_SPAN / 2)


def _alignment(weight: float) -> str:
    """So that words at either end of the axis stay within the picture."""
    if weight < 0.2:
        return "left"
    return "right" if weight > 0.8 else "center"
