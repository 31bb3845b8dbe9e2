import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.sources.columns import ColumnSurvey, as_array

CELLS = st.sampled_from(
    ["", "0", "-0", "7", "-12", "007", "+1", "1.50", "2.", ".5", "-3.25", "1e5", "nan", "tea", " 1",
     "1\n", str(2**53), str(2**53 - 1), "9" * 18, "9" * 19, "1234567890123456.5", None]
)  # fmt: skip


def plain(cells: list[str | None]) -> list[int] | list[float] | list[str]:
    """The rules, cell by cell."""
    texts = [cell or "" for cell in cells]
    there = [text for text in texts if text]
    if there and all(re.fullmatch(r"0|-?[1-9][0-9]{0,17}", text) for text in there):
        if len(there) == len(texts):
            return [int(text) for text in texts]
        if max(abs(int(text)) for text in there) < 2**53:
            return [float(text or "nan") for text in texts]
        return texts
    if there and all(re.fullmatch(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?", text) for text in there):
        return [float(text or "nan") for text in texts]
    return texts


@settings(max_examples=300)
@given(st.lists(CELLS, min_size=1, max_size=6), st.integers(0, 6), st.data())
def test_text_becomes_numbers_by_rules_that_blocks_do_not_change(
    cells: list[str | None], cut: int, data: st.DataObject
) -> None:
    if data.draw(st.booleans()):  # columns of one kind are rare by chance
        cells = [cell for cell in cells if cell is None or cell.lstrip("-").isdigit()] or ["1"]
    column = pl.Series("x", cells, pl.String)
    survey = ColumnSurvey(column)
    for block in (column[:cut], column[cut:]):
        survey.add(block)
    expected = plain(cells)
    found = np.concatenate([as_array(part, survey.kind) for part in (column[:cut], column[cut:])])
    np.testing.assert_array_equal(found, np.array(expected, survey.kind))
    assert type(expected[0]).__name__[:3] == {"int64": "int", "float64": "flo"}.get(
        survey.kind, "str"
    )


@pytest.mark.parametrize(
    ("series", "kind"),
    [
        (pl.Series([1, None], dtype=pl.UInt8), "float64"),
        (pl.Series([1, 2], dtype=pl.UInt32), "int64"),
        (pl.Series([None, None], dtype=pl.Int16), "float64"),
        (pl.Series([2**53, None], dtype=pl.Int64), "object"),
        (pl.Series([-(2**63), 1], dtype=pl.Int64), "int64"),
        (pl.Series([1, 2], dtype=pl.UInt64), "object"),
        (pl.Series([0.5, None], dtype=pl.Float32), "float64"),
        (pl.Series([True, None]), "object"),
        (pl.Series([None, None], dtype=pl.String), "object"),
    ],
)
def test_numbers_of_other_types(series: pl.Series, kind: str) -> None:
    survey = ColumnSurvey(series)
    survey.add(series)
    assert survey.kind == kind
    assert as_array(series, survey.kind).dtype == np.dtype(kind)
