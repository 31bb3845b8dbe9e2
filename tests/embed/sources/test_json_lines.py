import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from embed.errors import SourceError
from embed.sources.batches import ROWS_PER_BLOCK
from tests.embed.sources.conftest import ReadSource


def json_lines(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_values_keep_what_they_are(tmp_path: Path, read: ReadSource) -> None:
    first = {"id": 7, "image": "a.jpg", "n": 1, "x": 1e-7, "ok": True, "code": "007", "mixed": 1}
    second = {"id": "8", "n": 20, "x": 3, "title": "Tee ü", "tags": ["a", {"ü": None}]}
    third = {"id": "9", "mixed": "one", "ok": False, "x": None, "huge": 2**60}
    catalogue = read(json_lines(tmp_path / "m.jsonl", first, second, third))
    assert catalogue.ids(0, 9) == ["7", "8", "9"]
    places = catalogue.locations(0, 9)
    assert [place and place.address for place in places] == [str(tmp_path / "a.jpg"), None, None]
    assert catalogue.titles(0, 9) == ["", "Tee ü", ""]
    found = {name: catalogue.column(name, 0, 9).tolist() for name in catalogue.columns}
    np.testing.assert_array_equal(found.pop("n"), [1.0, 20.0, np.nan])
    np.testing.assert_array_equal(found.pop("x"), [1e-7, 3.0, np.nan])
    assert found == {
        "image": ["a.jpg", "", ""],
        "ok": ["true", "", "false"],
        "code": ["007", "", ""],
        "mixed": ["1", "", "one"],
        "title": ["", "Tee ü", ""],
        "tags": ["", '["a", {"ü": null}]', ""],
        "huge": ["", "", str(2**60)],
    }


def test_whole_numbers_that_fractions_would_merge_stay_text(
    tmp_path: Path, read: ReadSource
) -> None:
    rows = [{"id": 1, "x": 2**53 + 1}, {"id": 2, "x": 0.5}]
    column = read(json_lines(tmp_path / "m.ndjson", *rows)).column("x", 0, 2)
    assert column.tolist() == [str(2**53 + 1), "0.5"]


def test_columns_of_later_blocks_are_there_from_the_first(tmp_path: Path, read: ReadSource) -> None:
    rows = [{"id": row, "n": row} for row in range(ROWS_PER_BLOCK + 2)]
    rows.append({"id": -1, "late": 5})
    catalogue = read(json_lines(tmp_path / "m.jsonl", *rows))
    assert catalogue.columns == ("n", "late")
    assert catalogue.ids(ROWS_PER_BLOCK, ROWS_PER_BLOCK + 9) == ["32768", "32769", "-1"]
    np.testing.assert_array_equal(catalogue.column("n", 32_768, 32_771), [32_768, 32_769, np.nan])
    np.testing.assert_array_equal(catalogue.column("late", 0, 2), [np.nan, np.nan])


def test_gzip_and_blank_lines(tmp_path: Path, read: ReadSource) -> None:
    path = tmp_path / "m.jsonl.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"id": "a"}\n\n  \n{"id": "b"}\n'))
    assert read(path).ids(0, 9) == ["a", "b"]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(SourceError, match=r"m\.jsonl\.gz can't be read"):
        read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": 1}\n{"id": ', "line 2 is not JSON"),
        ("[1, 2]", r"line 1 is no JSON object but \[1, 2\]"),
        ("[" * 200_000, "line 1 is not JSON"),
        ("", "has no column 'id'|has no rows"),
        ('{"sku": 1}', "has no column 'id': its columns are sku"),
        ('{"id": 1}\n{"sku": 1}', "item 2 has an empty id"),
        ('{"id": 1, "a/b": 1}', "can't be named 'a/b'"),
        ('{"id": "a", "t": "\\ud800"}', r"t of item 1 is '\\ud800': a store holds UTF-8"),
        ('{"id": "a"}\n{"id": "b", "\\ud800": 1}', r"of item 2 is '\\ud800': a store holds UTF-8"),
        ('{"id": "a", "t": "\\u0000"}', r"t of item 1 is '\\x00'"),
    ],
)
def test_lines_that_are_refused(tmp_path: Path, read: ReadSource, text: str, message: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=message):
        read(path)


def test_another_encoding_is_told(tmp_path: Path, read: ReadSource) -> None:
    (tmp_path / "m.jsonl").write_bytes('{"id": "Größe"}'.encode("cp1252"))
    with pytest.raises(SourceError, match="save it as UTF-8"):
        read(tmp_path / "m.jsonl")
