import numpy as np
import pytest

from embed.labels import label_texts


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (np.array([7.0, 0.5, np.nan, -0.0]), ["7", "0.5", None, "0"]),
        (np.array([3, 12]), ["3", "12"]),
        (np.array(["a", "", "dummy", " a"]), ["a", None, None, " a"]),
        (np.array(["a", None, float("nan"), 7.0, 7], object), ["a", None, None, "7", "7"]),
        (np.array([True, False]), ["True", "False"]),
        (np.array([], object), []),
    ],
)
def test_labels_as_text(values: np.ndarray, texts: list[str | None]) -> None:
    assert label_texts(values) == texts
