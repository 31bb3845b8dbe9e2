"""Approximate search: what an index finds, how hard it looks, and the file it is kept in."""

import json
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.errors import (
    FingerprintError,
    NeighboursError,
    OutputExistsError,
    SelectionError,
    SettingsError,
    StoreError,
)
from embed.store import Store
from retrieval.search.approximate import (
    ApproximateIndex,
    IndexSettings,
    approximate_index,
    approximate_neighbours,
    iterate_approximate,
    least_effort,
)
from retrieval.search.index_files import MARK, index_path, load_index, save_index
from retrieval.search.indexes import Effort, EffortRange, Method, build_index
from retrieval.search.neighbours import Neighbours, find_neighbours
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import StoreRows, between, self_join
from retrieval.search.unit_rows import GalleryScores
from tests.retrieval.retrieval_stores import clustered, dense_info, sparse_info, write_store

METHODS: list[Method] = ["hnsw", "ivf-flat", "ivf-pq", "sq8"]


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vectors, _ = clustered(150, 3, spread=0.5, dim=18)
    vectors[100:110] = vectors[100]
    spaces = {
        "image": (dense_info(18), vectors.astype(np.float16)),
        "words": (sparse_info(3), np.eye(450, 3)),
    }
    return write_store(tmp_path_factory.mktemp("indexes") / "store.h5", spaces)


def index_of(store: Store, **settings: object) -> ApproximateIndex:
    gallery = StoreRows(store, np.arange(len(store)))
    values = {"space": "image", "k": 10, "num_queries": 200} | settings
    return approximate_index(gallery, IndexSettings(**values))  # type: ignore[arg-type]


def share_found(found: Neighbours, exact: Neighbours) -> float:
    """The share of exact neighbours, item by item, that were found."""
    pairs = zip(found.rows[:, 1:].tolist(), exact.rows[:, 1:].tolist(), strict=True)
    return float(np.mean([len(set(one) & set(other)) / len(other) for one, other in pairs]))


@pytest.mark.parametrize("method", METHODS)
def test_an_index_holds_its_recall_and_scores_are_exact(store_path: Path, method: Method) -> None:
    with Store(store_path) as store:
        index = index_of(store, method=method, recall=0.9, num_queries=450)
        sides = self_join(store, np.arange(450))
        found = approximate_neighbours(sides, 10, index)
        exact = find_neighbours(sides, "image", 450)
    assert index.info.recall >= 0.9
    # Ties among duplicates count as found, whichever of them it is.
    assert share_found(found, exact.first(10)) == pytest.approx(index.info.recall, abs=0.03)
    table = np.empty((450, 450), np.float32)
    np.put_along_axis(table, exact.rows, exact.scores, axis=1)
    there = found.rows != NO_ROW
    np.testing.assert_array_equal(
        found.scores[there], np.take_along_axis(table, found.rows, axis=1)[there]
    )
    assert (np.diff(found.scores[:, 1:]) <= 0).all()
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(450))


@pytest.mark.parametrize("method", METHODS)
def test_full_recall_is_the_exact_search(store_path: Path, method: Method) -> None:
    with Store(store_path) as store:
        index = index_of(store, method=method, recall=1.0, num_queries=450)
        assert index.info.recall == 1
        sides = between(StoreRows(store, np.arange(0, 450, 7)), StoreRows(store, np.arange(450)))
        found = approximate_neighbours(sides, 8, index)
        exact = find_neighbours(sides, "image", 8)
    is_ordinary = ~np.isin(sides.queries.rows, np.arange(100, 110))  # no copies
    np.testing.assert_array_equal(found.rows[is_ordinary], exact.rows[is_ordinary])
    np.testing.assert_array_equal(found.scores[is_ordinary], exact.scores[is_ordinary])


@pytest.mark.parametrize("method", METHODS)
def test_an_index_is_the_same_for_the_same_seed(store_path: Path, method: Method) -> None:
    def content(seed: int) -> bytes:
        built = build_index(StoreRows(store, np.arange(450)), "image", method, seed)
        return bytes(faiss.serialize_index(built))

    with Store(store_path) as store:
        assert content(3) == content(3)
        assert (content(3) != content(4)) == (method != "sq8")  # which draws nothing


def test_a_gallery_too_large_to_be_held_gives_the_same_scores(store_path: Path) -> None:
    with Store(store_path) as store:
        side = StoreRows(store, np.arange(2, 450))
        queries = np.random.default_rng(0).standard_normal((5, 18)).astype(np.float32)
        rows = np.random.default_rng(1).integers(-1, 448, (5, 9))
        held, read = GalleryScores(side, "image"), GalleryScores(side, "image", held_bytes=100)
        np.testing.assert_array_equal(held(queries, rows), read(queries, rows))
        assert ((held(queries, rows) == -np.inf) == (rows == -1)).all()


def test_where_no_effort_holds_the_recall_the_most_is_taken() -> None:
    limits = EffortRange(1, 64, (2, 4))
    assert least_effort(lambda _: 0.5, limits, 0.9) == (Effort(64, 4), 0.5)
    assert least_effort(lambda effort: effort.oversampling / 4, limits, 0.9) == (Effort(1, 4), 1.0)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_the_least_effort_is_found_to_an_eighth(enough: int, deepest: int) -> None:
    tried = []

    def recall_at(effort: Effort) -> float:
        tried.append(effort)
        return 0.96 if effort.depth >= enough else 0.94

    effort, recall = least_effort(recall_at, EffortRange(1, deepest, (1,)), 0.95)
    assert len(tried) < 20
    if enough > deepest:
        assert (effort.depth, recall) == (deepest, 0.94)
    else:
        assert enough <= effort.depth <= max(enough, np.ceil(enough * 9 / 8))
        assert recall == 0.96


def test_fewer_proposals_than_k_are_filled_up(store_path: Path) -> None:
    with Store(store_path) as store:
        index = index_of(store, method="ivf-flat")
        shallow = replace(index, info=replace(index.info, effort=Effort(1)))
        sides = self_join(store, np.arange(450))
        found = approximate_neighbours(sides, 450, shallow)
        blocks = list(iterate_approximate(sides, 450, shallow))
    assert found.rows.shape == (450, 450)
    assert (found.rows == NO_ROW).any(axis=1).all()
    assert (found.scores[found.rows == NO_ROW] == -np.inf).all()
    assert [start for start, _ in blocks] == [0]


def test_an_index_comes_back_from_its_file(store_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.faiss"
    with Store(store_path) as store:
        index = index_of(store, method="ivf-pq")
        save_index(index, path)
        loaded = load_index(path)
        sides = self_join(store, np.arange(450))
        expected = approximate_neighbours(sides, 5, index)
        found = approximate_neighbours(sides, 5, loaded)
    assert (loaded.info, loaded.name) == (index.info, str(path))
    np.testing.assert_array_equal(found.rows, expected.rows)
    assert faiss.read_index(str(path)).ntotal == 450  # FAISS alone reads it, too
    with pytest.raises(OutputExistsError, match="exists already"):
        save_index(index, path)
    save_index(index, path, force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["a.faiss"]
    assert index_path(store_path, "image", "hnsw").name == "store.image.hnsw.faiss"


def test_a_damaged_file_is_refused(store_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.faiss"
    with Store(store_path) as store:
        save_index(index_of(store, method="sq8"), path)
    content = path.read_bytes()
    for place in (0, 40, len(content) // 2, len(content) - 200, len(content) - 30):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(NeighboursError, match=r"a\.faiss is damaged"):
            load_index(path)
    for shortened in (content[:-1], content[: len(content) // 2], b"", b"text", content + b"\n"):
        path.write_bytes(shortened)
        with pytest.raises(NeighboursError, match="no index of the workbench, or its end"):
            load_index(path)
    with pytest.raises(NeighboursError, match="make one with"):
        load_index(tmp_path / "b.faiss")


def test_another_version_is_refused(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.faiss"
    monkeypatch.setattr("retrieval.search.index_files.FORMAT_VERSION", 2)
    with Store(store_path) as store:
        save_index(index_of(store, method="sq8"), path)
    monkeypatch.undo()
    with pytest.raises(NeighboursError, match="version 1: found retrieval-index version 2"):
        load_index(path)
    assert path.read_bytes().endswith(MARK)
    assert json.dumps("format_version") in path.read_bytes().decode("latin-1")


def test_an_index_that_does_not_fit_is_refused(store_path: Path, tmp_path: Path) -> None:
    vectors = np.ones((450, 18), np.float32)
    other_path = write_store(tmp_path / "b.h5", {"image": (dense_info(18, "other"), vectors)})
    with Store(store_path) as store, Store(other_path) as other:
        index = index_of(store, method="sq8")
        with pytest.raises(NeighboursError, match=r"fingerprint dense-1, .* has other"):
            approximate_neighbours(self_join(other, np.arange(450)), 5, index)
        fewer = between(StoreRows(store, np.arange(450)), StoreRows(store, np.arange(449)))
        with pytest.raises(NeighboursError, match="holds 450 rows, and the 449 that"):
            approximate_neighbours(fewer, 5, index)
        shifted = StoreRows(store, np.arange(449))
        index = approximate_index(shifted, IndexSettings("image", "sq8", k=5))
        with pytest.raises(NeighboursError, match="are not the same: make the index again"):
            approximate_neighbours(self_join(store, np.arange(1, 450)), 5, index)
        both = between(StoreRows(other, np.arange(3)), shifted)
        with pytest.raises(FingerprintError, match="run the same encoder on both"):
            approximate_neighbours(both, 5, index)
        with pytest.raises(SettingsError, match="at least 1: found 0"):
            approximate_neighbours(self_join(store, np.arange(449)), 0, index)


def test_mistakes_are_told(store_path: Path) -> None:
    with Store(store_path) as store:
        with pytest.raises(StoreError, match=r"'words' of .* is sparse"):
            index_of(store, space="words")
        with pytest.raises(SelectionError, match="2 rows at least: 1 of"):
            approximate_index(StoreRows(store, np.arange(1)), IndexSettings("image"))
        with pytest.raises(SettingsError, match="found 255 rows: take --method hnsw"):
            approximate_index(StoreRows(store, np.arange(255)), IndexSettings("image", "ivf-pq"))
    for values, message in (
        ({"recall": 1.5}, "at most 1: found 1.5"),
        ({"k": 1}, "at least 2: 1"),
        ({"num_queries": 0}, "found 0"),
    ):
        with pytest.raises(SettingsError, match=message):
            IndexSettings("image", **values)
