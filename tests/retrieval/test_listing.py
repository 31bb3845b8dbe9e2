"""The file of neighbours: what is in it, and which files are read again."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embed.errors import FingerprintError, NeighboursError, OutputExistsError, SettingsError
from embed.rows import Where
from embed.store import Store
from retrieval.listing import ListingSettings, list_neighbours
from retrieval.refining.reciprocal import Rerank
from retrieval.refining.refinements import Refinements, refined_neighbours
from retrieval.search.approximate import (
    IndexSettings,
    approximate_index,
    approximate_neighbours,
    ids_digest,
)
from retrieval.search.index_files import save_index
from retrieval.search.neighbour_files import NeighboursInfo, read_info, read_neighbours, write_pairs
from retrieval.search.neighbours import Neighbours, find_neighbours
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import StoreRows, between, self_join
from tests.retrieval.retrieval_stores import (
    clustered,
    dense_info,
    exact_vectors,
    sparse_info,
    write_store,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listing")
    vectors, _ = clustered(20, 3, spread=0.9)
    words = exact_vectors(60, seed=0, signed=False, zeros=True)
    words[:, :12] = 0  # so that many share nothing
    spaces = {"image": (dense_info(16), vectors), "words": (sparse_info(16), words)}
    sides = {"side": np.array(["query"] * 20 + ["gallery"] * 40, object)}
    write_store(folder / "a.h5", spaces, sides, np.array([f"ø {n}, x" for n in range(60)], object))
    other = np.array([f"ø {n}, x" for n in range(50, 110)], object)
    write_store(folder / "b.h5", spaces, sides, other)
    return folder


def written(folder: Path, path: Path, gallery: Path | None = None, **values: Any) -> dict[str, Any]:
    wanted = replace(ListingSettings(output=path, spaces=("image",)), **values)
    with ExitStack() as stack:
        store = stack.enter_context(Store(folder / "a.h5"))
        among = None if gallery is None else stack.enter_context(Store(gallery))
        return list_neighbours(store, wanted, among).to_json()


def assert_same(one: Neighbours, other: Neighbours) -> None:
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.scores, other.scores)


def test_a_table_by_hand(tmp_path: Path) -> None:
    vectors = np.array([[1, 0], [3, 4], [0, 2]], np.float32)
    path = write_store(tmp_path / "a.h5", {"image": (dense_info(2), vectors)})
    with Store(path) as store:
        list_neighbours(store, ListingSettings(output=tmp_path / "a.csv", spaces=("image",), k=3))
    assert (tmp_path / "a.csv").read_text() == (
        "id,neighbour_id,rank,score\n"
        "r0,r1,1,0.6\nr0,r2,2,0.0\nr1,r2,1,0.8\nr1,r0,2,0.6\nr2,r1,1,0.8\nr2,r0,2,0.0\n"
    )


@pytest.mark.parametrize("space", ["image", "words"])
def test_what_is_read_is_what_was_found(folder: Path, tmp_path: Path, space: str) -> None:
    path = tmp_path / "a.parquet"
    summary = written(folder, path, spaces=(space,), k=7)
    with Store(folder / "a.h5") as store:
        sides = self_join(store, np.arange(60))
        expected = find_neighbours(sides, space, 7)
        assert_same(read_neighbours(path, sides, [space], 7), expected)
        assert_same(read_neighbours(path, sides, [space], 3), expected.first(3))
    assert summary["num_pairs"] == (expected.rows[:, 1:] != NO_ROW).sum()
    frame = pl.read_parquet(path)
    assert frame.columns == ["id", "neighbour_id", "rank", "score"]
    assert not (frame["id"] == frame["neighbour_id"]).any()
    assert frame["rank"].min() == 1
    if space == "words":
        assert (expected.rows == NO_ROW).any()


def test_queries_among_a_gallery_of_the_same_store_and_of_another(
    folder: Path, tmp_path: Path
) -> None:
    same, other = tmp_path / "same.parquet", tmp_path / "other.parquet"
    of_queries, of_gallery = (Where("side", "query"),), (Where("side", "gallery"),)
    written(folder, same, k=5, query_where=of_queries, gallery_where=of_gallery)
    written(folder, other, gallery=folder / "b.h5", k=5)
    assert read_info(same).query_where == ("side=query",)
    with Store(folder / "a.h5") as store, Store(folder / "b.h5") as gallery:
        sides = between(StoreRows(store, np.arange(20)), StoreRows(store, np.arange(20, 60)))
        found = read_neighbours(same, sides, ["image"], 6)
        assert_same(found, find_neighbours(sides, "image", 6))
        assert (found.rows[:, 0] == NO_ROW).all()
        everyone = np.arange(60)
        sides = between(StoreRows(store, everyone), StoreRows(gallery, everyone))
        found = read_neighbours(other, sides, ["image"], 6)
        assert_same(found, find_neighbours(sides, "image", 6))
        assert (found.rows[:, 0] != NO_ROW).sum() == 10


def test_refinements_and_indexes_are_kept_with_the_table(folder: Path, tmp_path: Path) -> None:
    refined, quick = tmp_path / "refined.parquet", tmp_path / "quick.parquet"
    refinements = Refinements((0.8,), expand=2, rerank=Rerank(4, 2, 0.5))
    written(folder, refined, refinements=refinements, k=6)
    with Store(folder / "a.h5") as store:
        sides = self_join(store, np.arange(60))
        index = approximate_index(sides.gallery, IndexSettings("image", "ivf-flat", k=6))
        save_index(index, tmp_path / "a.faiss")
        summary = written(folder, quick, index=tmp_path / "a.faiss", k=6)
        expected = refined_neighbours(sides, ["image"], 6, refinements)
        assert_same(read_neighbours(refined, sides, ["image"], 6), expected)
        expected = approximate_neighbours(sides, 6, index)
        assert_same(read_neighbours(quick, sides, ["image"], 6), expected)
    assert Refinements.from_json(read_info(refined).refinements) == refinements
    assert (summary["method"], summary["recall"]) == ("ivf-flat", index.info.recall)
    with pytest.raises(SettingsError, match="give one of --index and refinements"):
        written(folder, tmp_path / "c.csv", index=tmp_path / "a.faiss", refinements=refinements)
    assert not (tmp_path / "c.csv").exists()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 20), st.integers(1, 9), st.integers(1, 20), st.integers(0, 99))
def test_any_neighbours_in_any_blocks_come_back(
    folder: Path, tmp_path: Path, num_queries: int, k: int, num_together: int, seed: int
) -> None:
    found = any_neighbours(num_queries, k, seed)
    blocks = [
        (start, Neighbours(found.rows[block], found.scores[block]))
        for start in range(0, num_queries, num_together)
        for block in [slice(start, start + num_together)]
    ]
    path = tmp_path / "any.parquet"
    with Store(folder / "a.h5") as store:
        gallery = StoreRows(store, np.arange(20, 60))
        sides = between(StoreRows(store, np.arange(num_queries)), gallery)
        digests = ids_digest(sides.queries), ids_digest(gallery)
        info = NeighboursInfo({"image": "dense-1"}, k, num_queries, 40, *digests)
        num_lines = write_pairs(path, sides, iter(blocks), info)
        came_back = read_neighbours(path, sides, ["image"], k)
    assert_same(came_back, found)
    assert num_lines == (found.rows[:, 1:] != NO_ROW).sum()


def any_neighbours(num_queries: int, k: int, seed: int) -> Neighbours:
    """Some of 40 rows for each query, a different number for each."""
    generator = np.random.default_rng(seed)
    rows = np.argsort(generator.random((num_queries, 40)), axis=1)[:, :k]
    scores = -np.sort(-generator.random((num_queries, k)).astype(np.float32), axis=1)
    is_missing = np.arange(k) >= generator.integers(1, k + 1, num_queries)[:, None]
    rows[is_missing], scores[is_missing] = NO_ROW, -np.inf
    rows[:, 0], scores[:, 0] = NO_ROW, 1
    return Neighbours(rows, scores)


def test_a_file_that_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    written(folder, path, k=7)
    vectors = np.ones((60, 16), np.float32)
    changed = write_store(tmp_path / "c.h5", {"image": (dense_info(16, "later"), vectors)})
    with Store(folder / "a.h5") as store, Store(changed) as later:
        sides = self_join(store, np.arange(60))
        with pytest.raises(NeighboursError, match="neighbours in image, not in words"):
            read_neighbours(path, sides, ["words"], 5)
        with pytest.raises(NeighboursError, match=r"6 neighbours of each item .* and 7 are wanted"):
            read_neighbours(path, sides, ["image"], 8)
        with pytest.raises(NeighboursError, match="60 items among 60, not of the 59 among 59"):
            read_neighbours(path, self_join(store, np.arange(59)), ["image"], 5)
        with pytest.raises(FingerprintError, match=r"fingerprint dense-1, .* has later"):
            read_neighbours(path, self_join(later, np.arange(60)), ["image"], 5)
        with pytest.raises(SettingsError, match="--k 99 asks for more neighbours than there are"):
            written(folder, path, k=99, force=True)
        written(folder, path, k=60, force=True)
        assert read_neighbours(path, sides, ["image"], 200).rows.shape == (60, 60)


ALTERATIONS: list[Callable[[pl.DataFrame], pl.DataFrame]] = [
    lambda frame: frame.with_columns(pl.lit("nobody").alias("neighbour_id")),
    lambda frame: frame.with_columns((pl.col("rank") - 1).alias("rank")),
    lambda frame: pl.concat([frame, frame.head(1)]),
    lambda frame: frame.with_columns((-pl.col("score")).alias("score")),
    lambda frame: frame.with_columns(pl.lit(None, pl.Float32).alias("score")),
    lambda frame: frame.drop("score"),
    lambda frame: frame.with_columns(pl.col("id").alias("neighbour_id")),
]


@pytest.mark.parametrize("alter", ALTERATIONS)
def test_an_altered_file_is_refused(
    folder: Path, tmp_path: Path, alter: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    path = tmp_path / "a.parquet"
    written(folder, path, k=7)
    kept = {
        name: value
        for name, value in pl.read_parquet_metadata(path).items()
        if name == "retrieval-neighbours"
    }
    alter(pl.read_parquet(path)).write_parquet(path, metadata=kept)
    with (
        Store(folder / "a.h5") as store,
        pytest.raises(NeighboursError, match=r"altered: make it again|is damaged"),
    ):
        read_neighbours(path, self_join(store, np.arange(60)), ["image"], 7)


def test_what_is_no_file_of_neighbours_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(NeighboursError, match=r"no neighbours at .*a\.parquet: make them"):
        read_info(path)
    for content in (b"", b"PAR1 and no more", b"id,neighbour_id,rank,score\n"):
        path.write_bytes(content)
        with pytest.raises(NeighboursError, match="no Parquet file of neighbours"):
            read_info(path)
    pl.DataFrame({"id": ["a"]}).write_parquet(path)
    with pytest.raises(NeighboursError, match="no Parquet file of neighbours"):
        read_info(path)
    values = {"format": "retrieval-neighbours", "format_version": 2}
    metadata = {"retrieval-neighbours": json.dumps(values)}
    pl.DataFrame({"id": ["a"]}).write_parquet(path, metadata=metadata)
    with pytest.raises(NeighboursError, match="version 1: found retrieval-neighbours version 2"):
        read_info(path)
    written(folder, path, k=7, force=True)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NeighboursError, match="no Parquet file of neighbours"):
        read_info(path)


def test_mistakes_are_told_and_leave_nothing_behind(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.parquet or \.csv: found"):
        written(folder, tmp_path / "a.json")
    with pytest.raises(SettingsError, match=r"at least 2 .the item itself counts.: found 1"):
        written(folder, tmp_path / "a.csv", k=1)
    with pytest.raises(SettingsError, match=r"at least 1 .neighbours in the gallery.: found 0"):
        written(folder, tmp_path / "a.csv", gallery=folder / "b.h5", k=0)
    written(folder, tmp_path / "a.csv")
    with pytest.raises(OutputExistsError, match="exists already"):
        written(folder, tmp_path / "a.csv")
    with pytest.raises(NeighboursError, match="no index at"):
        written(folder, tmp_path / "b.csv", index=tmp_path / "none.faiss")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
