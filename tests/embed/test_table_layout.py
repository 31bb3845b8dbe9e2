"""Tables of any width on any terminal: every number and every header word in one piece."""

import pytest
from rich.console import Console

from embed import options
from embed.table_layout import pieces

HEADER = ["space", *(f"metric number {n}" for n in range(12))]
ROWS = [
    [f"model/{'x' * 60}", *(f"0.{row}{n:03}1 – 0.{row}{n:03}9" for n in range(12))]
    for row in range(2)
]


def test_what_fits_stays_one_table() -> None:
    (piece,) = pieces(["name", "items"], [["a", "1,000"]], 80)
    assert (piece.columns, piece.widths) == ((0, 1), (4, 5))
    (piece,) = pieces(["name"], [], 80)
    assert piece.columns == (0,)


def test_a_long_text_gives_way_before_columns_do() -> None:
    (piece,) = pieces(["name", "score"], [["x" * 100, "0.5"]], 60)
    assert piece.columns == (0, 1)
    assert piece.widths == (60 - 1 - 3 - 3 - 5, 5)


@pytest.mark.parametrize("width", [80, 120])
def test_wide_tables_become_several(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(width=width))
    options.print_table("title", HEADER, ROWS)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    for cell in (cell for row in ROWS for cell in row[1:]):
        assert printed.count(cell) == 1
    assert printed.count("title") == 1
    assert printed.count("model/") == 2 * printed.count("space") > 2
    assert printed.count("metric") == 12
