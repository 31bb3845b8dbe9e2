import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from jaxtyping import Shaped

from embed.errors import SourceError
from embed.sources import Catalogue, Location, SourceSettings, read_source, require_column
from embed.sources.batches import ROWS_PER_BLOCK
from embed.sources.survey import find_repeat
from tests.embed.sources.conftest import ReadSource


def manifest(tmp_path: Path, text: str, name: str = "items.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def whole(catalogue: Catalogue, name: str) -> Shaped[np.ndarray, " n"]:
    return catalogue.column(name, 0, len(catalogue))


def addresses(catalogue: Catalogue) -> list[str | None]:
    places = catalogue.locations(0, len(catalogue))
    return [place.address if place else None for place in places]


@pytest.mark.parametrize(("name", "separator"), [("m.csv", ","), ("m.tsv", "\t")])
def test_text_manifests_keep_every_column(
    tmp_path: Path, read: ReadSource, name: str, separator: str
) -> None:
    rows = [
        ["id", "image", "title", "count", "price", "code", "mixed"],
        ["7", "a.jpg", "Tea", "3", "1.50", "007", "1"],
        ["08", "", "Tee ü", "-4", "2", "010", "1e5"],
    ]
    catalogue = read(manifest(tmp_path, "\n".join(separator.join(row) for row in rows), name))
    assert catalogue.ids(0, 2) == ["7", "08"]
    assert addresses(catalogue) == [str(tmp_path / "a.jpg"), None]
    assert catalogue.titles(0, 2) == ["Tea", "Tee ü"]
    columns = {
        name: (whole(catalogue, name).dtype.kind, whole(catalogue, name).tolist())
        for name in catalogue.columns
    }
    assert columns == {
        "image": ("O", ["a.jpg", ""]),
        "title": ("O", ["Tea", "Tee ü"]),
        "count": ("i", [3, -4]),
        "price": ("f", [1.5, 2.0]),
        "code": ("O", ["007", "010"]),  # as numbers, 007 and 7 would become one
        "mixed": ("O", ["1", "1e5"]),
    }


def test_missing_numbers_become_nan_and_missing_text_empty(
    tmp_path: Path, read: ReadSource
) -> None:
    catalogue = read(manifest(tmp_path, "id,count,name\na,1,x\nb,,\n"))
    np.testing.assert_array_equal(whole(catalogue, "count"), [1.0, np.nan])
    assert whole(catalogue, "name").tolist() == ["x", ""]


def test_empty_titles_are_counted_and_images_are_none_without_a_column(
    tmp_path: Path, read: ReadSource
) -> None:
    catalogue = read(manifest(tmp_path, 'id,title\na,Tea\nb,\nc,""\n'))
    assert (catalogue.has_titles, catalogue.has_images, catalogue.is_remote) == (True, False, False)
    assert catalogue.num_empty_titles == 2
    with pytest.raises(SourceError, match="no column 'image' for the image encoders"):
        require_column(catalogue, "image", SourceSettings())
    require_column(catalogue, "text", SourceSettings())


def test_parquet_keeps_its_types(tmp_path: Path, read: ReadSource) -> None:
    frame = pl.DataFrame(
        {
            "id": [1, 2],
            "image": ["a", None],
            "n": pl.Series([5, None], dtype=pl.Int32),
            "low": pl.Series([-(2**63), None], dtype=pl.Int64),
            "flag": [True, False],
            "big": pl.Series([2**63, 1], dtype=pl.UInt64),
            "list": [[1, 2], [3]],
            "real": pl.Series([0.5, None], dtype=pl.Float32),
            "none": pl.Series([None, None], dtype=pl.Null),
            "kind": pl.Series(["x", None], dtype=pl.Categorical),
        }
    )
    frame.write_parquet(tmp_path / "m.parquet")
    catalogue = read(tmp_path / "m.parquet")
    assert catalogue.ids(0, 2) == ["1", "2"]
    assert addresses(catalogue) == [str(tmp_path / "a"), None]
    np.testing.assert_array_equal(whole(catalogue, "n"), [5.0, np.nan])
    np.testing.assert_array_equal(whole(catalogue, "real"), [0.5, np.nan])
    assert whole(catalogue, "flag").tolist() == ["true", "false"]
    assert whole(catalogue, "big").tolist() == [str(2**63), "1"]
    assert whole(catalogue, "low").tolist() == [str(-(2**63)), ""]
    assert whole(catalogue, "list").tolist() == ["[1, 2]", "[3]"]
    assert whole(catalogue, "none").tolist() == ["", ""]
    assert whole(catalogue, "kind").tolist() == ["x", ""]


def test_bytes_that_are_no_text_are_refused(tmp_path: Path, read: ReadSource) -> None:
    pl.DataFrame({"id": ["a"], "blob": [b"\xff"]}).write_parquet(tmp_path / "m.parquet")
    with pytest.raises(SourceError, match=r"column 'blob' \(Binary\) can't be kept as text"):
        read(tmp_path / "m.parquet")


def test_image_root_and_column_names(tmp_path: Path, read: ReadSource) -> None:
    path = manifest(tmp_path, "sku,photo,name\ns1,a.jpg,Tea\n")
    pictures = tmp_path / "pictures"
    settings = {"id_column": "sku", "image_column": "photo", "title_column": "name"}
    with pytest.raises(SourceError, match=r"--image-root .*pictures is no folder"):
        read(path, **settings, image_root=str(pictures))
    pictures.mkdir()
    catalogue = read(path, **settings, image_root=str(pictures))
    assert (catalogue.ids(0, 1), catalogue.titles(0, 1)) == (["s1"], ["Tea"])
    assert addresses(catalogue) == [str(pictures / "a.jpg")]
    assert catalogue.roots == (str(pictures),)


def test_ids_may_be_the_paths(tmp_path: Path, read: ReadSource) -> None:
    catalogue = read(manifest(tmp_path, "image,n\na.jpg,1\n"), id_column="image")
    assert (catalogue.ids(0, 1), catalogue.columns) == (["a.jpg"], ("n",))
    assert addresses(catalogue) == [str(tmp_path / "a.jpg")]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path, read: ReadSource) -> None:
    assert read(manifest(tmp_path, "\ufeffid,title\na,Tea\n")).ids(0, 1) == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,image\na,1\nb,2\na,3\n", "id 'a' stands at item 1 and again at item 3"),
        ("id,image\na,1\n,2\n", "item 2 has an empty id"),
        ("sku,image\na,1\n", "no column 'id': its columns are sku, image"),
        ("id,image\n", "has no rows"),
        ("", "has no rows"),
        ("id,a/b\nx,1\n", "a column can't be named 'a/b'"),
        ("id,content_hash\nx,1\n", "'content_hash'"),
        ("id,image\na,1,2,3\n", "more fields than the header"),
        ("id;image\na;1\n", "seems to be separated by ';'"),
    ],
)
def test_manifests_that_are_refused(
    tmp_path: Path, read: ReadSource, text: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read(manifest(tmp_path, text))


def test_sources_that_are_none(tmp_path: Path, read: ReadSource) -> None:
    with pytest.raises(SourceError, match="no source at"):
        read(tmp_path / "nothing")
    with pytest.raises(SourceError, match=r"ends in \.csv"):
        read(manifest(tmp_path, "id\na\n", "m.xlsx"))
    (tmp_path / "m.parquet").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"m\.parquet can't be read: "):
        read(tmp_path / "m.parquet")


def test_large_integers_beside_a_missing_one_stay_apart(tmp_path: Path, read: ReadSource) -> None:
    text = "id,label\na,100000000000000001\nb,100000000000000002\nc,\n"
    labels = whole(read(manifest(tmp_path, text)), "label")
    assert labels.tolist() == ["100000000000000001", "100000000000000002", ""]


@pytest.mark.parametrize(("id_text", "title"), [("a", "x\0y"), ("x\0y", "a")])
def test_text_that_a_store_cannot_hold(
    tmp_path: Path, read: ReadSource, id_text: str, title: str
) -> None:
    pl.DataFrame({"id": [id_text], "title": [title]}).write_parquet(tmp_path / "m.parquet")
    with pytest.raises(SourceError, match=r"(id|title) of item 1 is 'x\\x00y'"):
        read(tmp_path / "m.parquet")


def test_another_encoding_is_told(tmp_path: Path, read: ReadSource) -> None:
    (tmp_path / "m.csv").write_bytes("id,title\na,Größe\n".encode("cp1252"))
    with pytest.raises(SourceError, match="save it as UTF-8"):
        read(tmp_path / "m.csv")


def long_manifest(tmp_path: Path, num_rows: int, last: str = "") -> Path:
    """Long enough for several blocks, with line breaks inside cells; every tenth is unpriced."""
    lines = [
        f'sku-{row},{row}.jpg,"Tea, no. {row}\nor ""more""",{row % 7},'
        f"{'' if row % 10 == 9 else row / 4},{row}"
        for row in range(num_rows)
    ]
    text = "\n".join(["id,image,title,label,price,late", *lines]) + "\n" + last
    return manifest(tmp_path, text)


def test_slices_are_those_of_a_plain_read(tmp_path: Path, read: ReadSource) -> None:
    num_rows = 2 * ROWS_PER_BLOCK + 100
    path = long_manifest(tmp_path, num_rows, "last,x.jpg,T,3,,seven\n")
    plain = pl.read_csv(path, infer_schema=False)
    catalogue = read(path)
    assert len(catalogue) == num_rows + 1
    for start, stop in [(0, 3), (32_760, 32_777), (num_rows - 2, num_rows + 9), (5, 5), (9, 4)]:
        part = plain[start : max(start, stop)]
        assert catalogue.ids(start, stop) == part["id"].to_list()
        assert catalogue.titles(start, stop) == part["title"].to_list()
        assert catalogue.column("label", start, stop).tolist() == [int(x) for x in part["label"]]
        prices = [np.nan if price is None else float(price) for price in part["price"]]
        np.testing.assert_array_equal(catalogue.column("price", start, stop), prices)
        # What the last row says holds for the first as well.
        assert catalogue.column("late", start, stop).tolist() == part["late"].to_list()
        images = [Location(str(tmp_path / image)) for image in part["image"]]
        assert catalogue.locations(start, stop) == images
    kinds = {name: catalogue.dtype(name).kind for name in catalogue.columns}
    assert kinds == {"image": "O", "title": "O", "label": "i", "price": "f", "late": "O"}


def test_ids_that_repeat_in_another_block_are_found(tmp_path: Path, read: ReadSource) -> None:
    num_rows = ROWS_PER_BLOCK + 100
    path = long_manifest(tmp_path, num_rows, "sku-41,,,,,\nsku-5,,,,,\n")
    with pytest.raises(SourceError, match=f"'sku-41' stands at item 42 .* item {num_rows + 1}:"):
        read(path)


def test_ids_that_hash_alike_are_told_apart() -> None:
    hashes = np.array([7, 3, 7, 7, 3], np.uint64)
    assert find_repeat(hashes, ["a", "b", "c", "d", "e"].__getitem__) is None
    assert find_repeat(hashes, ["a", "b", "c", "a", "b"].__getitem__) == (0, 3, "a")


def test_gzip_needs_no_unpacking(tmp_path: Path, read: ReadSource) -> None:
    (tmp_path / "m.csv.gz").write_bytes(gzip.compress(b"id,n\na,1\nb,2\n"))
    catalogue = read(tmp_path / "m.csv.gz")
    assert (catalogue.ids(0, 2), whole(catalogue, "n").tolist()) == (["a", "b"], [1, 2])


def test_an_opened_spool_agrees_also_in_another_process(tmp_path: Path, read: ReadSource) -> None:
    catalogue = read(long_manifest(tmp_path, 1000))
    opened = Catalogue.open(catalogue.path)
    assert opened.columns == catalogue.columns
    assert opened.roots == catalogue.roots
    assert opened.locations(0, 1000) == catalogue.locations(0, 1000)
    code = (
        "import sys; from pathlib import Path; from embed.sources import Catalogue\n"
        "c = Catalogue.open(Path(sys.argv[1]))\n"
        "print(c.ids(990, 1000), c.column('price', 990, 1000).tolist(), c.locations(0, 2))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(catalogue.path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    prices = catalogue.column("price", 990, 1000).tolist()
    expected = f"{catalogue.ids(990, 1000)} {prices} {catalogue.locations(0, 2)}\n"
    assert done.stdout == expected


def test_a_spool_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    spool = tmp_path / "work" / "a.spool"
    for text in ("id\na\n", "id\nb\nc\n"):
        read_source(manifest(tmp_path, text), SourceSettings(), spool)
    with pytest.raises(SourceError):
        read_source(manifest(tmp_path, "id\nb\nb\n"), SourceSettings(), spool)
    assert Catalogue.open(spool).ids(0, 2) == ["b", "c"]
    assert [path.name for path in spool.parent.iterdir()] == ["a.spool"]


def test_what_is_no_spool_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a"]}).write_parquet(tmp_path / "x.parquet")
    for name in ("x.parquet", "nothing"):
        with pytest.raises(SourceError, match="is no spool"):
            Catalogue.open(tmp_path / name)


def test_parquet_files_are_read_as_one(tmp_path: Path, read: ReadSource) -> None:
    for number in (10, 2):
        pl.DataFrame({"id": [f"{number}"], "n": [number]}).write_parquet(
            tmp_path / f"{number}.parquet"
        )
    for source in (tmp_path, tmp_path / "*.parquet", tmp_path / "{2,10}.parquet"):
        catalogue = read(source)
        assert catalogue.ids(0, 9) == ["2", "10"]
        assert whole(catalogue, "n").tolist() == [2, 10]
    pl.DataFrame({"id": ["x"], "m": [1]}).write_parquet(tmp_path / "x.parquet")
    message = r"x\.parquet has other columns than .*2\.parquet: id \(String\), m \(Int64\), not"
    with pytest.raises(SourceError, match=message):
        read(tmp_path)
    manifest(tmp_path, "id\na\n", "m.csv")
    with pytest.raises(SourceError, match="files of one kind"):
        read(tmp_path / "*[0-9m].*")


FULL_DISK = """
import resource, sys
from pathlib import Path
from embed.errors import OutputError
from embed.sources import SourceSettings, read_source
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    read_source(sys.argv[1], SourceSettings(), Path(sys.argv[2]))
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_a_full_disk_is_no_fault_of_the_source(tmp_path: Path, name: str) -> None:
    noise = [np.random.default_rng(row).bytes(60).hex() for row in range(5000)]
    frame = pl.DataFrame({"id": noise})
    (frame.write_csv if name == "m.csv" else frame.write_ndjson)(tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / name), str(tmp_path / "a.spool")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "can't write" in done.stdout and "File too large" in done.stdout, done.stdout
    assert not (tmp_path / "a.spool").exists()
