from pathlib import Path

import numpy as np
from matplotlib import image

from embed.store import Store
from retrieval.thresholds.plots import plot_threshold
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuned import tune_threshold
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


def test_a_curve_of_a_single_point_can_be_drawn(tmp_path: Path) -> None:
    spaces = {"flat": (dense_info(2), np.zeros((20, 2), np.float32))}
    columns = {"label": np.arange(20) // 2}
    with Store(write_store(tmp_path / "a.h5", spaces, columns)) as store:
        result = tune_threshold(store, TuneSettings(("flat",), "label"))
    assert result.picture is not None
    plot_threshold(result, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000
