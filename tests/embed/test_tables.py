from pathlib import Path

import polars as pl
import pytest

from embed.errors import SettingsError
from embed.tables import writing_table

BLOCKS = [
    pl.DataFrame({"id": ["a", "b,"], "size": [1, None]}),
    pl.DataFrame({"id": ["c"], "size": [3]}),
]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_blocks_become_one_table(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"table{suffix}"
    with writing_table(output) as write:
        for block in BLOCKS:
            write(block)
        assert not output.exists()
    read = pl.read_csv if suffix == ".csv" else pl.read_parquet
    assert read(output).rows() == [("a", 1), ("b,", None), ("c", 3)]
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_fails_leaves_the_old_table(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"table{suffix}"
    output.write_text("old")
    with pytest.raises(ZeroDivisionError), writing_table(output) as write:
        write(BLOCKS[0])
        raise ZeroDivisionError
    assert output.read_text() == "old"
    assert list(tmp_path.iterdir()) == [output]


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    message = r"a table is a \.csv or \.parquet file: found .*table\.txt"
    with pytest.raises(SettingsError, match=message), writing_table(tmp_path / "table.txt"):
        pass
