import mmap
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.sparse

from embed.errors import IdError, SelectionError, SettingsError, StoreError
from embed.rows import Split, Where, group_position, select_rows
from embed.store import Failure, SpaceInfo, Store, StoreWriter


def info(kind: str = "dense", dim: int = 3) -> SpaceInfo:
    return SpaceInfo(kind, "image", "classic:test", "f" * 32, "fp32", True, dim)  # type: ignore[arg-type]


def write(path: Path) -> None:
    generator = np.random.default_rng(0)
    with StoreWriter(path, "a test", {"python": "3"}) as writer:
        ids = np.array(["b", "a", "ü"], object)
        columns = {
            "zebra": np.array(["x", "y", ""], object),
            "count": np.array([1, 2, 3]),
            "apple": np.array([1.5, np.nan, 2]),
        }
        hashes = {"image": generator.integers(0, 256, (3, 16), np.uint8)}
        writer.write_items(ids, columns, hashes)
        writer.write_array("small", info(), np.eye(3, dtype=np.float32))
        writer.write_array("half", info(), np.eye(3, dtype=np.float16))
        writer.write_array("bits", info("binary", 16), np.arange(6, dtype=np.uint8).reshape(3, 2))
        matrix = scipy.sparse.csr_array(np.array([[0, 1, 0], [0, 0, 0], [2, 0, 3]], np.float32))
        vocabulary = {"vocabulary": np.array(["u", "v", "w"], object)}
        writer.write_sparse("words", info("sparse"), matrix, vocabulary)
        writer.write_failures([Failure("c", "decode", "truncated")])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "s.h5")
    return tmp_path / "s.h5"


def test_what_is_written_is_read(path: Path) -> None:
    with Store(path) as store:
        assert store.ids.tolist() == ["b", "a", "ü"]
        assert store.columns == ["zebra", "count", "apple"]
        assert store.column("zebra").tolist() == ["x", "y", ""]
        assert store.column("count").dtype == np.int64
        np.testing.assert_array_equal(store.column("apple"), [1.5, np.nan, 2])
        assert list(store.spaces) == ["small", "half", "bits", "words"]
        assert store.space("words") == info("sparse")
        np.testing.assert_array_equal(store.array("half"), np.eye(3))
        assert store.sparse("words").toarray()[2].tolist() == [2, 0, 3]
        assert store.fitted("words")["vocabulary"].tolist() == ["u", "v", "w"]
        assert store.failures == [Failure("c", "decode", "truncated")]
        assert store.content_hash.shape == (3, 16)


def test_dense_and_binary_spaces_are_mapped_not_copied(path: Path) -> None:
    with Store(path) as store:
        for name in ("small", "half", "bits"):
            assert isinstance(store.array(name).base, mmap.mmap)
        vectors = store.array("small")
    assert vectors[1, 1] == 1  # still valid after closing
    with pytest.raises(ValueError, match="read-only"):
        vectors[0, 0] = 5


def test_layout_is_that_of_format_version_1(path: Path) -> None:
    with h5py.File(path) as file:
        assert dict(file.attrs)["format"] == "embedding-store"
        assert file.attrs["format_version"] == 1
        assert {"created_utc", "command", "versions"} <= set(file.attrs)
        assert set(file) >= {"items", "spaces", "failures"}
        assert file["spaces/small"].chunks is None
        assert file["spaces/small"].compression is None
        assert file["items/content_hash"].dtype == np.uint8
        assert h5py.check_string_dtype(file["items/id"].dtype).encoding == "utf-8"
        names = {"kind", "modality", "spec", "fingerprint", "precision", "normalized"}
        for space in file["spaces"].values():
            assert names <= set(space.attrs)
        assert file["spaces/words"].attrs["shape"].tolist() == [3, 3]


def test_hdf5_tools_read_it(path: Path) -> None:
    if shutil.which("h5ls") is None:
        pytest.skip("needs h5ls and h5dump of hdf5-tools")
    listing = subprocess.run(["h5ls", "-r", path], capture_output=True, text=True, check=True)
    assert "/spaces/small            Dataset {3, 3}" in listing.stdout
    dump = subprocess.run(["h5dump", "-d", "/items/id", path], capture_output=True, check=True)
    assert b'"b"' in dump.stdout


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all"])
def test_what_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(StoreError, match="not a store"):
        Store(tmp_path / "x.h5")
    with pytest.raises(StoreError, match="no store at"):
        Store(tmp_path / "y.h5")


def test_another_format_version_is_refused(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(StoreError, match="version 2: this program reads embedding-store version 1"):
        Store(path)


def test_unknown_names_are_told_with_the_known_ones(path: Path) -> None:
    with Store(path) as store:
        with pytest.raises(StoreError, match="no space 'x': it has small, half, bits, words"):
            store.array("x")
        with pytest.raises(StoreError, match="no column 'x': it has zebra, count, apple"):
            store.column("x")
        with pytest.raises(IdError, match="no item 'z'"):
            store.rows_of(["a", "z"])
        with pytest.raises(IdError, match="'a' is asked for more than once"):
            store.rows_of(["a", "b", "a"])
        assert store.rows_of(["ü", "b"]).tolist() == [2, 0]


def test_a_writer_that_fails_leaves_the_old_store(path: Path) -> None:
    before = path.read_bytes()

    def fail() -> None:
        with StoreWriter(path, "", {}) as writer:
            writer.write_array("small", info(), np.zeros((9, 9), np.float32))
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["s.h5"]


def test_where_compares_numbers_as_numbers(path: Path) -> None:
    with Store(path) as store:
        assert select_rows(store, [Where.parse("count=2")]).tolist() == [False, True, False]
        assert select_rows(store, [Where.parse("count=2.0")]).tolist() == [False, True, False]
        both = [Where.parse("zebra=x"), Where.parse("count=1")]
        assert select_rows(store, both).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (["zebra=q"], "its values are , x, y"),
        (["count=two"], "its values are 1, 2, 3"),
        (["zebra=x", "count=2"], "zebra=x and count=2"),
    ],
)
def test_selections_of_nothing_are_refused(path: Path, where: list[str], message: str) -> None:
    with Store(path) as store, pytest.raises(SelectionError, match=message):
        select_rows(store, [Where.parse(text) for text in where])


def test_split_sides_are_stable_and_near_their_shares(tmp_path: Path) -> None:
    labels = np.array([f"p{i // 2}" for i in range(4000)], object)
    with StoreWriter(tmp_path / "s.h5", "", {}) as writer:
        ids = np.arange(4000).astype(str).astype(object)
        hashes = {"image": np.zeros((4000, 16), np.uint8)}
        writer.write_items(
            ids, {"label": labels, "own": np.where(labels == "p1", "val", "x")}, hashes
        )
    with Store(tmp_path / "s.h5") as store:
        sides = Split.parse("label", "60/20/20").sides(store)
        assert (sides[::2] == sides[1::2]).all()  # a group is on one side
        shares = [(sides == side).mean() for side in ("train", "val", "test")]
        np.testing.assert_allclose(shares, [0.6, 0.2, 0.2], atol=0.03)
        other = Split.parse("label", "60/20/20", seed=1).sides(store)
        assert (sides != other).any()
        assert (
            Split.parse("label", "80/10/10", column="own").sides(store).tolist().count("val") == 2
        )
    # The hash is part of the format: heads made elsewhere must find the same rows.
    assert group_position("p0", 0) == pytest.approx(0.52477, abs=1e-4)


@pytest.mark.parametrize("shares", ["80/10", "50/50/50", "a/b/c", "-10/100/10"])
def test_shares_that_do_not_add_up(shares: str) -> None:
    with pytest.raises(SettingsError, match="add up to 100"):
        Split.parse("label", shares)


def test_a_restriction_needs_a_value() -> None:
    with pytest.raises(SettingsError, match="--where takes COLUMN=VALUE, found 'zebra'"):
        Where.parse("zebra")


def test_a_bit_that_turns_is_noticed(path: Path) -> None:
    """A changed sign keeps a vector's length: only a checksum tells."""
    with Store(path) as store:
        assert store.damaged == []
    with h5py.File(path) as file:
        offset = file["spaces/small"].id.get_offset() + 3
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x80
    path.write_bytes(bytes(data))
    with Store(path) as store:
        assert store.damaged == ["spaces/small"]


def test_a_store_that_can_not_be_finished_leaves_nothing(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="boom"), StoreWriter(path, "x", {}):
        raise RuntimeError("boom")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["s.h5"]
