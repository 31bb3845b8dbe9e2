"""The picture of a training run."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from embed.files import replacing
from embed.wording import counted
from heads.training.loop import Epoch, TrainedHead
from heads.wording import spoken_metric

LEAST_SPAN = 0.02  # of a metric that goes from 0 to 1
LOSS_COLOR, METRIC_COLOR = "#9a6b1f", "#1f5c9a"


def plot_training(trained: TrainedHead, path: Path) -> None:
    """Draw training loss and validation metric over the epochs, the kept one marked, as a PNG."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    loss_axes: Axes = figure.subplots()
    metric_axes = loss_axes.twinx()
    metric = metric_of(trained)
    epochs = [epoch.epoch for epoch in trained.history]
    _draw(loss_axes, epochs, [e.loss for e in trained.history], "training loss", LOSS_COLOR)
    values = [epoch.metrics[metric] for epoch in trained.history]
    _draw(metric_axes, epochs, values, f"validation {spoken_metric(metric)}", METRIC_COLOR)
    _widen(metric_axes)
    _mark_kept(metric_axes, trained, metric)
    loss_axes.set_ylim(bottom=0)
    loss_axes.set_xlabel("epoch")
    loss_axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    info = trained.info
    loss_axes.set_title(
        f"{info.kind} head on {' + '.join(space.name for space in info.spaces)}: "
        f"{counted(info.num_train, 'row')} of {counted(info.num_classes, 'class')}",
        loc="left",
        fontsize=11,
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _draw(axes: Axes, epochs: list[int], values: list[float], name: str, color: str) -> None:
    marker = "o" if len(epochs) == 1 else None
    axes.plot(epochs, values, color=color, linewidth=1.8, marker=marker)
    axes.set_ylabel(name, color=color)
    axes.tick_params(axis="y", colors=color)
    axes.spines["top"].set_visible(False)


def metric_of(trained: TrainedHead) -> str:
    """The metric of an epoch that comes first: the one that it is chosen by."""
    return next(iter(trained.history[0].metrics))


def _widen(axes: Axes) -> None:
    """Show at least `LEAST_SPAN`: a difference of a thousandth should look like one."""
    low, high = axes.get_ylim()
    missing = max(0.0, LEAST_SPAN - (high - low))
    axes.set_ylim(low - missing / 2, high + missing / 2)


def _mark_kept(axes: Axes, trained: TrainedHead, metric: str) -> None:
    number = trained.info.metrics["epoch"]
    kept: Epoch = next(epoch for epoch in trained.history if epoch.epoch == number)
    value = kept.metrics[metric]
    axes.plot(kept.epoch, value, "o", color=METRIC_COLOR, markersize=7)
    is_late = kept.epoch > 0.6 * len(trained.history)
    axes.annotate(
        f"kept: epoch {kept.epoch}, {spoken_metric(metric)} {value:.3f}",
        (kept.epoch, value),
        xytext=(-30 if is_late else 30, -60),  # below the curve, which is flat around its top
        textcoords="offset points",
        ha="right" if is_late else "left",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        arrowprops={"arrowstyle": "-", "color": METRIC_COLOR, "linewidth": 0.8},
        color=METRIC_COLOR,
    )
