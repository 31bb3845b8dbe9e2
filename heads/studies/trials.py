"""The trials of a search: as a table for other programs, and as a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from embed.files import replacing
from heads.plots import METRIC_COLOR
from heads.wording import spoken_metric

State = Literal["complete", "failed"]
TRIAL_COLOR, FAILED_COLOR = "#8a8f98", "#b3372f"


@dataclass(frozen=True)
class Trial:
    """Settings that were tried: the value that they reached, or why there is none.

    Numbers go from 1. What was cut short by the user or by a kill is no trial: it is tried again.
    """

    number: int
    state: State
    value: float | None
    settings: Mapping[str, Any]
    seconds: float
    error: str = ""

    @property
    def described(self) -> str:
        """Its settings in one line."""
        return ", ".join(f"{name} {_short(value)}" for name, value in self.settings.items())


def best_first(trials: Sequence[Trial]) -> list[Trial]:
    """Those that have a value, the highest first and the earliest of equal ones."""
    valued = [(trial.value, trial) for trial in trials if trial.value is not None]
    return [trial for _, trial in sorted(valued, key=lambda pair: (-pair[0], pair[1].number))]


def write_trials(trials: Sequence[Trial], metric: str, path: Path) -> None:
    """One row for each trial; a setting that a trial did not draw, or drew as None, is empty."""
    names = dict.fromkeys(name for trial in trials for name in trial.settings)
    rows = [
        {
            "trial": trial.number,
            "state": trial.state,
            metric: trial.value,
            "seconds": round(trial.seconds, 3),
            "error": trial.error or None,
            **{name: _cell(trial.settings.get(name)) for name in names},
        }
        for trial in trials
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    with replacing(path) as temporary:
        frame.write_csv(temporary)


def plot_trials(trials: Sequence[Trial], metric: str, path: Path) -> None:
    """Draw the value of each trial and the best so far, failed ones at the foot, as a PNG."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes: Axes = figure.subplots()
    valued = [trial for trial in trials if trial.value is not None]
    numbers = [trial.number for trial in valued]
    values = np.array([trial.value for trial in valued], float)
    axes.plot(numbers, values, "o", color=TRIAL_COLOR, markersize=5, label="trial")
    if valued:
        best = np.maximum.accumulate(values)
        axes.step(numbers, best, where="post", color=METRIC_COLOR, linewidth=1.8, label="best")
        _mark_best(axes, best_first(valued)[0], metric)
        _zoom(axes, values)
    _mark_failed(axes, [trial.number for trial in trials if trial.state == "failed"])
    axes.set_xlabel("trial")
    axes.set_ylabel(f"validation {spoken_metric(metric)}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _zoom(axes: Axes, values: Any) -> None:
    """Keep a few hopeless trials from pressing all others together: they lie at the lower edge."""
    low, high = float(np.quantile(values, 0.2)), float(values.max())
    room = max(high - low, 0.01)
    bottom = max(float(values.min()), low - room)
    axes.set_ylim(bottom - 0.1 * room, high + 0.25 * room)
    below = int((values < bottom).sum())
    if below:
        text = f"{below} more below"
        axes.text(0.01, 0.02, text, transform=axes.transAxes, color=TRIAL_COLOR, fontsize=9)


def _mark_best(axes: Axes, best: Trial, metric: str) -> None:
    assert best.value is not None
    axes.plot(best.number, best.value, "o", color=METRIC_COLOR, markersize=7)
    axes.set_title(
        f"best: trial {best.number}, {spoken_metric(metric)} {best.value:.4f}",
        loc="left",
        fontsize=11,
        color=METRIC_COLOR,
    )


def _mark_failed(axes: Axes, numbers: Sequence[int]) -> None:
    if numbers:
        places = axes.get_xaxis_transform()
        axes.plot(
            numbers,
            [0.02] * len(numbers),
            "x",
            color=FAILED_COLOR,
            transform=places,
            clip_on=False,
            label="failed",
        )


def _short(value: Any) -> str:
    if value is None:
        return "auto"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | bool) else str(value)
