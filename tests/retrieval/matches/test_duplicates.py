"""Copies against a plain look at every pair, and by hand."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from embed.errors import (
    NeighboursError,
    OutputExistsError,
    SelectionError,
    SettingsError,
    StoreError,
)
from embed.rows import Where
from embed.store import Modality, SpaceInfo, Store, StoreWriter, content_digest
from retrieval.listing import ListingSettings, list_neighbours
from retrieval.matches import near
from retrieval.matches.copies import exact_copies, near_copies
from retrieval.matches.duplicate_settings import DuplicateSettings
from retrieval.matches.duplicates import find_duplicates
from retrieval.matches.near import near_links
from retrieval.refining.refinements import Refinements
from tests.conftest import Invoke, json_of
from tests.retrieval.retrieval_stores import exact_vectors


def digests(texts: list[str]) -> np.ndarray:
    """A hash for each text, zeros where it is empty."""
    blank = bytes(16)
    hashes = [content_digest(text.encode()) if text else blank for text in texts]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 16)


def write(
    path: Path,
    hashes: dict[str, list[str]],
    columns: dict[str, list[str]] | None = None,
    dense: np.ndarray | None = None,
    bits: np.ndarray | None = None,
    modality: Modality = "image",
) -> Path:
    num_rows = len(next(iter(hashes.values())))
    ids = np.array([f"r{row}" for row in range(num_rows)], object)
    arrays = {name: np.array(values, object) for name, values in (columns or {}).items()}
    with StoreWriter(path, "test", {}) as writer:
        writer.write_items(ids, arrays, {name: digests(texts) for name, texts in hashes.items()})
        if dense is not None:
            info = SpaceInfo("dense", modality, "test", "d", "fp32", False, dense.shape[1])
            writer.write_array("dense", info, dense)
        if bits is not None:
            info = SpaceInfo("binary", modality, "test", "b", "binary", False, bits.shape[1])
            writer.write_array("bits", info, np.packbits(bits, axis=1))
    return path


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """r0, r2 and r3 have equal bytes; r1 is one bit away from r0; r4 and r5 are two bits apart."""
    codes = np.zeros((6, 12), bool)
    codes[1, 3] = True
    codes[4:] = True
    codes[5, :2] = False
    dense = np.array([[1, 0], [0, 1], [1, 0], [1, 0], [0.6, 0.8], [-1, 0]], np.float32)
    columns = {"split": ["train", "train", "val", "val", "", "test"]}
    return write(tmp_path / "store.h5", {"image": list("abaacd")}, columns, dense=dense, bits=codes)


def test_pairs_and_groups_by_hand(store_path: Path, tmp_path: Path) -> None:
    output, groups = tmp_path / "pairs.csv", tmp_path / "groups.csv"
    with Store(store_path) as store:
        wanted = DuplicateSettings(
            max_bits={"bits": 2}, min_scores={"dense": 0.7}, output=output, groups=groups
        )
        found = find_duplicates(store, wanted)
    assert output.read_text() == (
        "id,other_id,found_by,bits_bits,dense_score\n"
        "r0,r1,bits,1,\n"
        "r0,r2,exact+bits+dense,0,1.0\n"
        "r0,r3,exact+bits+dense,0,1.0\n"
        "r1,r2,bits,1,\n"
        "r1,r3,bits,1,\n"
        "r1,r4,dense,,0.8\n"
        "r2,r3,exact+bits+dense,0,1.0\n"
        "r4,r5,bits,2,\n"
    )
    assert groups.read_text() == "id,group,size,is_first\n" + "".join(
        f"r{row},1,6,{'true' if row == 0 else 'false'}\n" for row in range(6)
    )
    assert [(way.way, way.limit, way.num_pairs, way.num_items) for way in found.ways] == [
        ("exact", "content", 3, 3),
        ("bits", "≤ 2 bits", 7, 6),
        ("dense", "score ≥ 0.7", 4, 5),
    ]
    assert (found.num_pairs, found.num_groups, found.num_items, found.num_redundant) == (8, 1, 6, 5)
    assert found.leaks is None


def test_leaks_by_hand(store_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "leaks.parquet"
    with Store(store_path) as store:
        wanted = DuplicateSettings(max_bits={"bits": 2}, leaks="split", output=output)
        found = find_duplicates(store, wanted)
        other = find_duplicates(
            store, DuplicateSettings(max_bits={"bits": 2}, leaks="split=test,val")
        )
    assert pl.read_parquet(output).rows() == [
        ("r0", "r2", "train", "val", "exact+bits", 0),
        ("r0", "r3", "train", "val", "exact+bits", 0),
        ("r1", "r2", "train", "val", "bits", 1),
        ("r1", "r3", "train", "val", "bits", 1),
    ]
    assert found.leaks is not None
    assert [(leak.sides, leak.num_pairs, leak.num_items) for leak in found.leaks] == [
        (("train", "val"), 4, (2, 2))
    ]
    assert found.num_pairs == 7  # those on one side as well
    # r5 is a copy of r4, which stands on no side.
    assert other.leaks == ()


def test_tables_without_a_pair_have_a_header(store_path: Path, tmp_path: Path) -> None:
    output, groups = tmp_path / "pairs.parquet", tmp_path / "groups.csv"
    with Store(store_path) as store:
        wanted = DuplicateSettings(where=(Where("split", "train"),), output=output, groups=groups)
        found = find_duplicates(store, wanted)
    assert found.num_pairs == found.num_groups == 0
    assert pl.read_parquet(output).schema == dict.fromkeys(
        ("id", "other_id", "found_by"), pl.String
    )
    assert groups.read_text() == "id,group,size,is_first\n"


def test_what_equal_bytes_are_can_be_chosen(tmp_path: Path) -> None:
    """Two pictures with two titles; of the last two items nothing, or no title, is known."""
    hashes = {"image": ["a", "a", "b", "b", ""], "text": ["x", "y", "x", "", ""]}
    rows = np.arange(5)
    with Store(write(tmp_path / "store.h5", hashes)) as store:
        assert exact_copies(store, rows, "image").classes.tolist() == [0, 0, 1, 1, 2]
        assert exact_copies(store, rows, "text").classes.tolist() == [0, 1, 0, 2, 3]
        assert exact_copies(store, rows, "content").classes.tolist() == [0, 1, 2, 3, 4]
        assert find_duplicates(store, DuplicateSettings(exact="text")).num_pairs == 1


def test_items_of_unknown_bytes_are_found_by_their_vectors(tmp_path: Path) -> None:
    path = write(tmp_path / "store.h5", {"image": [""] * 4}, dense=np.ones((4, 2), np.float32))
    with Store(path) as store:
        found = find_duplicates(store, DuplicateSettings(min_scores={"dense": 0.99}))
    assert [way.num_pairs for way in found.ways] == [0, 6]


def test_a_fused_space_needs_both_to_be_equal(tmp_path: Path) -> None:
    hashes = {"image": list("aab"), "text": list("xyx")}
    dense = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    path = write(tmp_path / "store.h5", hashes, dense=dense, modality="fused")
    with Store(path) as store:
        assert not near_copies(store, "dense", np.arange(3), 0.9).has_any.any()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.integers(1, 40), st.integers(0, 500), st.integers(0, 5), st.sampled_from([0.25, 0.5, 1]))
def test_copies_are_those_of_a_look_at_every_pair(
    tmp_path: Path, num_rows: int, seed: int, max_bits: int, min_score: float
) -> None:
    generator = np.random.default_rng(seed)
    texts = generator.choice(["", *"abcdefgh"], num_rows).tolist()
    # Equal bytes have equal vectors, as encoders make them; a hash of zeros says nothing.
    same = [texts.index(text) if text else row for row, text in enumerate(texts)]
    codes = generator.random((num_rows, 16))[same] < 0.3
    dense = np.asarray(
        np.abs(exact_vectors(num_rows, seed))[same] + np.eye(1, 16, dtype=np.float32)
    )
    split = generator.choice(["", "train", "val"], num_rows).tolist()
    split[:1] = ["train"]
    path = write(tmp_path / "p.h5", {"image": texts}, {"split": split}, dense, codes)
    output = tmp_path / "pairs.csv"
    scores = (
        dense @ dense.T / np.linalg.norm(dense, axis=1) / np.linalg.norm(dense, axis=1)[:, None]
    )
    expected = {}
    for one, other in combinations(range(num_rows), 2):
        ways = {
            "exact": texts[one] == texts[other] != "",
            "bits": int((codes[one] ^ codes[other]).sum()) <= max_bits,
            "dense": scores[one, other] >= min_score - 1e-6,
        }
        if any(ways.values()):
            expected[f"r{one}", f"r{other}"] = "+".join(way for way in ways if ways[way])
    with Store(path) as store:
        wanted = DuplicateSettings(
            max_bits={"bits": max_bits},
            min_scores={"dense": min_score - 1e-6},
            output=output,
            force=True,
        )
        found = find_duplicates(store, wanted)
    table = pl.read_csv(output, infer_schema_length=None)
    assert (
        dict(zip(zip(table["id"], table["other_id"], strict=True), table["found_by"], strict=True))
        == expected
    )
    assert found.num_pairs == len(table) == len(expected)
    for way in found.ways:
        assert way.num_pairs == sum(way.way in names.split("+") for names in expected.values())


@pytest.mark.parametrize("first_k", [2, 3, 16])
def test_every_near_pair_is_found_however_many_an_item_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_k: int
) -> None:
    """One item is near to all others, which are near to a few."""
    monkeypatch.setattr(near, "FIRST_K", first_k)
    angles = np.radians(np.linspace(0, 88, 45))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    path = write(tmp_path / "store.h5", {"image": [f"{row}" for row in range(45)]}, dense=vectors)
    rows = np.arange(3, 45)
    with Store(path) as store:
        links = near_links(store, "dense", rows, float(np.cos(np.radians(45))))
    one, other = np.nonzero(np.triu(vectors[3:] @ vectors[3:].T >= np.cos(np.radians(45)), 1))
    assert links.one.tolist() == one.tolist()
    assert links.other.tolist() == other.tolist()


def test_a_thousand_equal_items_are_searched_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searching all of them would ask for more neighbours than are allowed here."""
    texts = ["placeholder"] * 1000 + ["a", "b"]
    dense = np.array([[1, 0]] * 1000 + [[1, 0.01], [0, 1]], np.float32)
    path = write(tmp_path / "store.h5", {"image": texts}, dense=dense)
    monkeypatch.setattr(near, "GROWTH", 0)
    with Store(path) as store:
        found = find_duplicates(store, DuplicateSettings(min_scores={"dense": 0.99}))
    assert found.num_pairs == 1000 * 999 // 2 + 1000
    assert (found.num_groups, found.num_items) == (1, 1001)


def listed(store: Store, space: str, k: int, path: Path, **options: Any) -> Path:
    """A file of neighbours among all items."""
    wanted = ListingSettings(output=path, spaces=(space,), k=k, force=True, **options)
    list_neighbours(store, wanted)
    return path


@pytest.mark.parametrize("seed", range(5))
def test_copies_from_files_of_neighbours(tmp_path: Path, seed: int) -> None:
    """With all neighbours listed they are the same; with few, it is told of whom more may exist."""
    generator = np.random.default_rng(seed)
    texts = generator.choice(["", *"abcdefgh"], 40).tolist()
    same = [texts.index(text) if text else row for row, text in enumerate(texts)]
    codes = generator.random((40, 16))[same] < 0.3
    dense = np.asarray(np.abs(exact_vectors(40, seed))[same] + np.eye(1, 16, dtype=np.float32))
    path = write(tmp_path / "store.h5", {"image": texts}, None, dense, codes)
    limits = DuplicateSettings(max_bits={"bits": 3}, min_scores={"dense": 0.6 - 1e-6})
    with Store(path) as store:
        searched = find_duplicates(store, replace(limits, output=tmp_path / "searched.csv"))
        for k in (40, 4):
            files = tuple(listed(store, name, k, tmp_path / f"{name}.parquet") for name in SPACES)
            output = tmp_path / f"{k}.csv"
            found = find_duplicates(store, replace(limits, output=output, neighbours=files))
            if k == 40:
                assert found == replace(searched, output=str(output))
                assert output.read_text() == (tmp_path / "searched.csv").read_text()
    norms = np.linalg.norm(dense, axis=1)
    near = {
        "bits": (codes[:, None] ^ codes).sum(axis=2) <= 3,
        "dense": dense @ dense.T / norms / norms[:, None] >= 0.6 - 1e-6,
    }
    num_full = {way.way: way.num_full for way in found.ways}
    pairs = [set(zip(*_ids(path), strict=True)) for path in (output, tmp_path / "searched.csv")]
    assert pairs[0] < pairs[1]
    for name, is_near in near.items():
        assert num_full[name] == (is_near.sum(axis=1) - 1 >= 3).sum()
        said = f"{num_full[name]} items may have more near copies in '{name}': all neighbours that"
        assert any(warning.startswith(said) for warning in found.warnings)


SPACES = ("bits", "dense")


def _ids(path: Path) -> tuple[list[str], list[str]]:
    table = pl.read_csv(path, infer_schema_length=None)
    return table["id"].to_list(), table["other_id"].to_list()


def test_files_of_neighbours_that_do_not_fit_are_refused(store_path: Path, tmp_path: Path) -> None:
    base = DuplicateSettings(min_scores={"dense": 0.7})
    with Store(store_path) as store:
        dense = listed(store, "dense", 4, tmp_path / "dense.parquet")
        bits = listed(store, "bits", 4, tmp_path / "bits.parquet")
        expand = Refinements(expand=2)
        refined = listed(store, "dense", 4, tmp_path / "refined.parquet", refinements=expand)
        for files, message in (
            ((bits,), r"bits.parquet holds neighbours in bits, and copies are looked for in dense"),
            ((dense, dense), "two files of neighbours are of space 'dense'"),
            ((refined,), r"refined.parquet holds refined neighbours"),
        ):
            with pytest.raises(SettingsError, match=message):
                find_duplicates(store, replace(base, neighbours=files))
        val = replace(base, neighbours=(dense,), where=(Where("split", "val"),))
        with pytest.raises(NeighboursError, match="neighbours of 6 items among 6, not of the 2"):
            find_duplicates(store, val)


def test_neighbours_and_memory_on_the_command_line(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke
) -> None:
    path, near = tmp_path / "near.parquet", ("--min-score", "dense=0.7")
    retrieval_cli("neighbours", store_path, "--space", "dense", "--k", "3", "-o", path)
    shown = retrieval_cli("duplicates", store_path, *near, "--neighbours", path)
    assert "warning: 3 items may have more near copies in 'dense'" in shown.stderr
    found = json_of(retrieval_cli("duplicates", store_path, *near, "--neighbours", path, "--json"))
    assert [way["num_full"] for way in found["ways"]] == [0, 3]
    assert len(found["warnings"]) == 1
    refused = retrieval_cli("duplicates", store_path, *near, "--memory", "1KiB", exit_code=2)
    assert "memory" in refused.stderr
    again = retrieval_cli(
        "duplicates", store_path, *near, "-o", path, "--neighbours", path, "--force", exit_code=2
    )
    assert "is what the command reads as neighbours" in again.stderr
    elsewhere = ("--device", "nowhere")
    refused = retrieval_cli("duplicates", store_path, *near, *elsewhere, exit_code=2)
    assert "nowhere" in refused.stderr


def test_what_makes_no_sense_is_refused(store_path: Path, tmp_path: Path) -> None:
    base = DuplicateSettings()
    cases = [
        (replace(base, max_bits={"dense": 3}), "'dense' is dense: give --min-score dense="),
        (replace(base, max_bits={"bits": 6}), "from 0 to below half of its 12 bits: found 6"),
        (replace(base, min_scores={"dense": 0.0}), "above 0 and up to 1: found 0"),
        (replace(base, max_bits={"bits": 1}, min_scores={"bits": 0.9}), "give one"),
        (replace(base, output=tmp_path / "pairs.txt"), r"\.csv or \.parquet"),
        (replace(base, leaks="split=train"), "two different values"),
        (replace(base, leaks="split=train,train"), "two different values"),
    ]
    with Store(store_path) as store:
        for wanted, message in cases:
            with pytest.raises(SettingsError, match=message):
                find_duplicates(store, wanted)
        with pytest.raises(SelectionError, match="no row has 'dev'; the column's values are test"):
            find_duplicates(store, replace(base, leaks="split=train,dev"))
        with pytest.raises(SelectionError, match="between two values; the column's values are val"):
            find_duplicates(store, replace(base, leaks="split", where=(Where("split", "val"),)))
        with pytest.raises(StoreError, match="no space 'none'"):
            find_duplicates(store, replace(base, min_scores={"none": 0.5}))
        with pytest.raises(StoreError, match="has no hashes of texts, which --exact text compares"):
            find_duplicates(store, replace(base, exact="text"))
        (tmp_path / "groups.csv").write_text("mine")
        with pytest.raises(OutputExistsError):
            find_duplicates(store, replace(base, groups=tmp_path / "groups.csv"))
    assert (tmp_path / "groups.csv").read_text() == "mine"


def test_on_the_command_line(store_path: Path, tmp_path: Path, retrieval_cli: Invoke) -> None:
    output, groups = tmp_path / "pairs.csv", tmp_path / "groups.csv"
    files = ("-o", output, "--groups", groups)
    limits = ("--max-bits", "bits=1", "--min-score", "dense=0.7")
    shown = retrieval_cli("duplicates", store_path, *limits, *files, "--leaks", "split=train,val")
    assert (
        "7 pairs of copies: 5 items in 1 group; with one of each kept, 4 would go" in shown.stdout
    )
    assert "train – val" in shown.stdout
    assert "4 of 7 pairs are leaks" in shown.stdout
    assert f"pairs that are leaks: {output}" in shown.stdout
    assert len(output.read_text().splitlines()) == 1 + 4
    again = retrieval_cli("duplicates", store_path, *files, exit_code=1)
    assert "exists already" in again.stderr
    found = json_of(retrieval_cli("duplicates", store_path, *limits, "--json"))
    assert found["num_pairs"] == 7
    assert found["ways"][0] == {
        "way": "exact",
        "limit": "content",
        "num_pairs": 3,
        "num_items": 3,
        "num_full": 0,
    }
    assert found["warnings"] == []
    none = retrieval_cli("duplicates", store_path, "--leaks", "split=test,train")
    assert "0 of 3 pairs are leaks" in none.stdout
    for wrong in ("bits", "bits=many", "=3"):
        refused = retrieval_cli("duplicates", store_path, "--max-bits", wrong, exit_code=2)
        assert "expected the name of a space" in refused.stderr
    twice = ("--max-bits", "bits=1", "--max-bits", "bits=2")
    refused = retrieval_cli("duplicates", store_path, *twice, exit_code=2)
    assert "--max-bits names a space twice" in refused.stderr


def test_copies_of_a_picture(tmp_path: Path, embed_cli: Invoke, retrieval_cli: Invoke) -> None:
    """A copy is exact; phash sees a smaller one and another format, not one that is mirrored."""
    images = tmp_path / "images"
    images.mkdir()
    generator = np.random.default_rng(0)
    for name in ("one", "two"):
        pixels = generator.integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(images / f"{name}.png")
    (images / "copy.png").write_bytes((images / "one.png").read_bytes())
    one = Image.open(images / "one.png")
    one.resize((64, 64)).save(images / "small.png")
    one.save(images / "format.jpg", quality=90)
    one.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(images / "mirrored.png")
    path, output = tmp_path / "store.h5", tmp_path / "pairs.csv"
    embed_cli("run", images, "-o", path, "--image-encoder", "phash=classic:phash")
    retrieval_cli("duplicates", path, "--max-bits", "phash=4", "-o", output)
    table = pl.read_csv(output)
    found = {
        frozenset((one, other)): ways
        for one, other, ways in table.select("id", "other_id", "found_by").rows()
    }
    alike = ["copy.png", "format.jpg", "one.png", "small.png"]
    assert set(found) == {frozenset(pair) for pair in combinations(alike, 2)}
    assert found[frozenset(("copy.png", "one.png"))] == "exact+phash"
    assert set(found.values()) == {"phash", "exact+phash"}
