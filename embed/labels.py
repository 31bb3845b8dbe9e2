"""What the values of a column say as labels, whatever their type."""

import math

import numpy as np
from jaxtyping import Shaped

PLACEHOLDER = "dummy"  # how catalogues fill a column that a category does not use


def label_texts(values: Shaped[np.ndarray, " n"]) -> list[str | None]:
    """The labels of a column as text, None where there is none: '', null, NaN or `dummy`.

    Numbers are written as Python does, but 7.0 as 7: a column of integers becomes one of floats
    when a value is missing.
    """
    if values.dtype.kind in "OU":
        return [_text(value) for value in values.tolist()]
    distinct, inverse = np.unique(values, return_inverse=True)
    texts = [_text(value) for value in distinct.tolist()]
    return [texts[number] for number in inverse.tolist()]


def _text(value: object) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return None if text in ("", PLACEHOLDER) else text
