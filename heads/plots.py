"""The picture of a training run."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from embed.files import replacing
from heads.projection.training import Epoch, TrainedHead

LOSS_COLOR, F1_COLOR = "#9a6b1f", "#1f5c9a"


def plot_training(trained: TrainedHead, path: Path) -> None:
    """Draw training loss and validation row F1 over the epochs, the kept one marked, as a PNG."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    loss_axes: Axes = figure.subplots()
    f1_axes = loss_axes.twinx()
    epochs = [epoch.epoch for epoch in trained.history]
    _draw(loss_axes, epochs, [e.loss for e in trained.history], "training loss", LOSS_COLOR)
    _draw(f1_axes, epochs, [e.row_f1 for e in trained.history], "validation row F1", F1_COLOR)
    _mark_best(f1_axes, trained)
    loss_axes.set_ylim(bottom=0)
    loss_axes.set_xlabel("epoch")
    loss_axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    info = trained.info
    loss_axes.set_title(
        f"{info.kind} head on {' + '.join(space.name for space in info.spaces)}: "
        f"{info.num_train:,} rows of {len(info.classes):,} classes",
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


def _mark_best(axes: Axes, trained: TrainedHead) -> None:
    number = trained.info.metrics["epoch"]
    best: Epoch = next(epoch for epoch in trained.history if epoch.epoch == number)
    axes.plot(best.epoch, best.row_f1, "o", color=F1_COLOR, markersize=7)
    is_late = best.epoch > 0.6 * len(trained.history)
    axes.annotate(
        f"kept: epoch {best.epoch}, row F1 {best.row_f1:.3f}",
        (best.epoch, best.row_f1),
        xytext=(-30 if is_late else 30, -60),  # below the curve, which is flat around its top
        textcoords="offset points",
        ha="right" if is_late else "left",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        arrowprops={"arrowstyle": "-", "color": F1_COLOR, "linewidth": 0.8},
        color=F1_COLOR,
    )
