from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from embed.store import Store
from retrieval.search.neighbours import neighbours_of_vectors
from retrieval.thresholds.curves import ScoreCurve
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.plots import _free_place, plot_threshold
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import tune_threshold
from tests.retrieval.retrieval_stores import clustered, dense_info, write_store


def test_the_picture_is_a_png_with_three_lines(tmp_path: Path) -> None:
    vectors, labels = clustered(10, 4, spread=0.7)
    spaces = {"image": (dense_info(16), vectors)}
    with Store(write_store(tmp_path / "a.h5", spaces, {"label": labels})) as store:
        result = tune_threshold(store, TuneSettings(("image",), "label"))
    assert result.picture is not None
    plot_threshold(result, tmp_path / "curve.png")
    pixels = image.imread(tmp_path / "curve.png")[..., :3]
    assert pixels.shape[:2] == (750, 1200)
    for colour in ("#0b6e99", "#c8553d", "#588157"):
        wanted = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        assert (np.abs(pixels - wanted).max(axis=2) < 0.02).sum() > 300


def test_the_curve_of_pairs_is_what_any_threshold_reaches_of_them(tmp_path: Path) -> None:
    vectors, labels = clustered(10, 4, spread=0.9)
    spaces = {"image": (dense_info(16), vectors)}
    objective = Objective("recall-at-precision", 0.7)
    with Store(write_store(tmp_path / "a.h5", spaces, {"label": labels})) as store:
        result = tune_threshold(store, TuneSettings(("image",), "label", objective=objective))
    curve = result.picture
    assert isinstance(curve, ScoreCurve)
    assert curve.is_of_pairs
    scores = neighbours_of_vectors(vectors, 40)
    for cut in (1, len(curve.cuts) // 3, len(curve.cuts) - 1):
        taken = (scores.scores >= curve.threshold(cut))[:, 1:]
        is_true = labels[scores.rows[:, 1:]] == labels[:, None]
        hits, num_taken = (taken & is_true).sum(), taken.sum()  # each pair from both sides
        assert curve.precision[cut] == pytest.approx(hits / num_taken)
        assert curve.recall[cut] == pytest.approx(hits / (40 * 3))
        assert curve.f1[cut] == pytest.approx(2 * hits / (num_taken + 40 * 3))
    marked = int(np.flatnonzero(curve.cuts >= result.rule.thresholds[0])[-1])
    assert curve.recall[marked] == pytest.approx(result.where_tuned["pair_recall"])
    plot_threshold(result, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_the_text_hides_no_line_where_there_is_room() -> None:
    axes = Figure().add_subplot()
    axes.plot([0, 1], [0.1, 0.9])
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    x, y = _free_place(axes, "score 0.5\ndistance 0.5", (0.5, 0.5))
    assert abs((0.1 + 0.8 * x) - y) > 0.1
    assert np.hypot(x - 0.5, y - 0.5) < 0.3


def test_a_curve_of_a_single_point_can_be_drawn(tmp_path: Path) -> None:
    spaces = {"flat": (dense_info(2), np.ones((20, 2), np.float32))}
    columns = {"label": np.arange(20) // 2}
    with Store(write_store(tmp_path / "a.h5", spaces, columns)) as store:
        result = tune_threshold(store, TuneSettings(("flat",), "label"))
    assert result.picture is not None
    plot_threshold(result, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000
