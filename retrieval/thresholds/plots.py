"""The picture beside a threshold: what every other threshold would have given."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Float64
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from embed.files import replacing
from embed.wording import counted
from retrieval.thresholds.curves import ScoreCurve
from retrieval.thresholds.joint import Surface
from retrieval.thresholds.tuning import ThresholdResult
from retrieval.thresholds.wording import cut_text

INK, GREY = "#22303c", "#7b8794"
LINES = (
    ("precision", "#c8553d", 1.4),
    ("recall", "#588157", 1.4),
    ("f1", "#0b6e99", 2.4),
)
MARKED = {"recall-at-precision": "recall", "precision-at-recall": "precision"}
"""The line that an objective follows, where it is not F1."""
MAX_POINTS = 4000
LEAST_MARGIN = 1e-3
"""Of the axis of scores: the curves may move at a single score alone."""
NUM_POINTS = 201
BOX = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": "#d5dbe1"}
OBJECTIVE_LABELS = {
    "row-f1": "mean row F1",
    "pair-f1": "F1 of pairs",
    "recall-at-precision": "recall of pairs, where precision is reached",
    "precision-at-recall": "precision of pairs, where recall is reached",
}


def plot_threshold(result: ThresholdResult, path: Path) -> None:
    """Draw what other thresholds reach on the rows that this one was tuned on, it being marked.

    A curve of F1, precision and recall where one score is cut, of rows or for an objective of pairs
    of these: its axis covers where the curves move, and a second one above it shows the distance.
    A heat map of the objective where two scores are. A file that exists is replaced.
    """
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if isinstance(result.picture, ScoreCurve):
        _draw_lines(axes, result.picture)
        _draw_wanted(axes, result)
        _mark(axes, result.picture, result)
        _dress(axes, result.picture)
    elif isinstance(result.picture, Surface):
        _draw_surface(figure, axes, result.picture, result)
    axes.set_title(_title(result), loc="left", color=INK, fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _title(result: ThresholdResult) -> str:
    names = "', '".join(result.rule.spaces)
    spaces = f"Space{'s' if len(result.rule.spaces) > 1 else ''} '{names}'"
    how = f" ({result.rule.combine})" if len(result.rule.spaces) > 1 else ""
    true = "decided pairs" if result.label is None else f"true matches by '{result.label}'"
    return f"{spaces}{how}, {true}, {counted(result.num_rows, 'item')}, k = {result.k}"


def _draw_surface(figure: Figure, axes: Axes, surface: Surface, result: ThresholdResult) -> None:
    """The objective over both thresholds, where it can be reached, the chosen pair marked."""
    values = np.where(surface.values < 0, np.nan, surface.values)
    axes.set_facecolor("#e5e9ed")  # where the wanted share is missed
    shown = axes.pcolormesh(
        surface.second, surface.first, values, shading="nearest", cmap="viridis"
    )
    bar = figure.colorbar(shown, ax=axes)
    bar.set_label(OBJECTIVE_LABELS[result.objective.name], color=INK)
    first, second = result.rule.thresholds
    axes.plot([second], [first], marker="o", color="white", markeredgecolor=INK, markersize=8)
    axes.annotate(
        f"{np.nanmax(values):.4f} where tuned\nscores {first:.4f}, {second:.4f}",
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
    margin = max(0.02 * (high - low), LEAST_MARGIN)
    axes.set_xlim(low - margin, high + margin)
    step = max(1, len(scores) // MAX_POINTS)
    for name, colour, width in LINES:
        label = _line_name(name, curve)
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


def _line_name(name: str, curve: ScoreCurve) -> str:
    """'row F1' or 'recall', 'pair F1' or 'pair recall'."""
    shown = "F1" if name == "f1" else name
    if curve.is_of_pairs:
        return f"pair {shown}"
    return "row F1" if name == "f1" else shown


def _draw_wanted(axes: Axes, result: ThresholdResult) -> None:
    """A line at the share that has to be reached, in the colour of what has to reach it."""
    wanted = result.objective.wanted
    if wanted is None:
        return
    bound = "precision" if result.objective.name == "recall-at-precision" else "recall"
    colour = next(colour for name, colour, _ in LINES if name == bound)
    axes.axhline(wanted, color=colour, linewidth=1, linestyle=":", label=f"wanted {bound}")


def _mark(axes: Axes, curve: ScoreCurve, result: ThresholdResult) -> None:
    score = result.rule.thresholds[0]
    cut = int(np.searchsorted(-curve.cuts, -score, side="right")) - 1
    line = MARKED.get(result.objective.name, "f1")
    reached = float(getattr(curve, line)[cut])
    axes.axvline(score, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot([score], [reached], marker="o", color=INK, markersize=6, zorder=5)
    cut_at = cut_text((score,), between="\n")
    text = f"{cut_at}\n{_line_name(line, curve)} {reached:.4f} where tuned"
    axes.annotate(
        text,
        (score, reached),
        xytext=_free_place(axes, text, (score, reached)),
        textcoords="axes fraction",
        ha="center",
        va="center",
        color=INK,
        fontsize=9,
        bbox=BOX,
        arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.8},
    )


def _free_place(axes: Axes, text: str, marked: tuple[float, float]) -> tuple[float, float]:
    """Where a text hides least of the lines, the nearest to the mark of such places.

    In fractions of the axes, as `text` is measured: about 0.0096 of them a letter.
    """
    lines = text.split("\n")
    half = 0.0048 * max(map(len, lines)) + 0.01, 0.026 * len(lines) + 0.01
    across, up = (np.linspace(side + 0.01, 0.99 - side, 41) for side in half)
    places = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    drawn = _in_fractions(axes, _drawn_points(axes))
    is_hidden = (abs(places[:, None] - drawn) < half).all(axis=2)
    distances = np.hypot(*(places - _in_fractions(axes, np.array([marked]))).T)
    x, y = places[np.lexsort((distances, is_hidden.sum(axis=1)))[0]]
    return float(x), float(y)


def _drawn_points(axes: Axes) -> Float64[np.ndarray, "p 2"]:
    """Points along the lines, near enough to one another that no box slips between them."""
    low, high = axes.get_xlim()
    across, up = np.linspace(low, high, NUM_POINTS), np.linspace(*axes.get_ylim(), NUM_POINTS)
    points = []
    for line in axes.get_lines():
        x, y = (np.asarray(values, np.float64) for values in line.get_data())
        if len(x) == 2 and x[0] == x[1]:  # the marked score, from bottom to top
            points.append(np.stack([np.full(NUM_POINTS, x[0]), up], axis=1))
        elif len(x) == 2 and y[0] == y[1]:  # the wanted share, from side to side
            points.append(np.stack([across, np.full(NUM_POINTS, y[0])], axis=1))
        else:
            order = np.argsort(x, kind="stable")
            heights = np.interp(across, x[order], y[order])
            points.append(np.stack([across, heights], axis=1))
    return np.concatenate(points)


def _in_fractions(axes: Axes, points: Float64[np.ndarray, "p 2"]) -> Float64[np.ndarray, "p 2"]:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    return np.asarray((points - (left, bottom)) / (right - left, top - bottom))


def _dress(axes: Axes, curve: ScoreCurve) -> None:
    axes.set_xlabel("score threshold (cosine similarity)", color=INK)
    axes.set_ylabel("of pairs" if curve.is_of_pairs else "mean over items", color=INK)
    above = axes.secondary_xaxis("top", functions=(_flip, _flip))
    above.set_xlabel("distance threshold (1 − score)", color=GREY)
    above.tick_params(colors=GREY)
    axes.grid(color="#e5e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top", "bottom"):
        axes.spines[side].set_color("#c3cbd3")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4)


def _flip(values: npt.ArrayLike) -> npt.ArrayLike:
    return 1 - np.asarray(values)
