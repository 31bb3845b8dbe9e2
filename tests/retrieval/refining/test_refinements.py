"""The order in which refinements are put together, from a store."""

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float

from embed.errors import FingerprintError, SelectionError, SettingsError, StoreError
from embed.store import Store
from retrieval.finding import Finding, found_neighbours
from retrieval.refining.blending import blended
from retrieval.refining.expansion import augmented, expanded
from retrieval.refining.reciprocal import Rerank
from retrieval.refining.refinements import Refinements, refined_neighbours
from retrieval.refining.reranking import reranked
from retrieval.refining.vectors import SideVectors, side_vectors
from retrieval.search.neighbours import find_neighbours
from retrieval.search.ranking import NO_ROW, Neighbours
from retrieval.search.sides import StoreRows, between, self_join
from tests.retrieval.retrieval_stores import clustered, dense_info, sparse_info, write_store

EVERYTHING = Refinements((0.7, 0.8), 4, 3, "score", 2, 1.0, Rerank(5, 3, 0.2))


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    image, _ = clustered(8, 4, spread=0.9)
    title, _ = clustered(8, 4, spread=0.9, seed=1, dim=5)
    words = np.abs(title)
    words[3] = 0
    spaces = {
        "image": (dense_info(16), image),
        "title": (dense_info(5, "title-1"), title),
        "words": (sparse_info(5), words),
    }
    return write_store(tmp_path / "a.h5", spaces)


@pytest.mark.parametrize("is_join", [True, False], ids=["self-join", "sides"])
def test_everything_in_its_order(store_path: Path, is_join: bool) -> None:
    with Store(store_path) as store:
        rows = StoreRows(store, np.arange(0, 32, 3)), StoreRows(store, np.arange(10, 32))
        sides = self_join(store, np.arange(32)) if is_join else between(*rows)
        found = refined_neighbours(sides, ["image"], 6, EVERYTHING)
        plain = side_vectors(sides, ["image"])
    vectors = blended(plain, (0.7, 0.8), 4)
    gallery = augmented(vectors.gallery, vectors.of_gallery.nearest(4), "score")
    vectors = SideVectors(vectors.queries, gallery, sides.own)
    queries = expanded(vectors.queries, gallery, vectors.nearest(3), 1.0)
    expected = reranked(SideVectors(queries, gallery, sides.own), 6, Rerank(5, 3, 0.2))
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.rows[:, 0], sides.own)


def test_nothing_is_the_plain_search(store_path: Path) -> None:
    with Store(store_path) as store:
        sides = self_join(store, np.arange(1, 32))
        for space in ("image", "words"):
            expected = find_neighbours(sides, space, 5)
            found = found_neighbours(sides, {space: 1.0}, 5, Finding(refinements=Refinements()))
            np.testing.assert_array_equal(found.rows, expected.rows)
            np.testing.assert_array_equal(found.scores, expected.scores)
        direct = side_vectors(sides, ["image"]).nearest(5)
        np.testing.assert_array_equal(direct.rows, find_neighbours(sides, "image", 5).rows)


def test_several_spaces_have_the_mean_of_their_scores(store_path: Path) -> None:
    with Store(store_path) as store:
        sides = self_join(store, np.array([0, 1, 2, 8, 9, 30]))
        both = found_neighbours(sides, {"image": 1.0, "title": 1.0}, 6)
        tables = [scores_by_row(find_neighbours(sides, name, 6)) for name in ("image", "title")]
    np.testing.assert_allclose(scores_by_row(both), (tables[0] + tables[1]) / 2, atol=1e-6)


def scores_by_row(found: Neighbours) -> Float[np.ndarray, "n n"]:
    table = np.empty(found.scores.shape)
    np.put_along_axis(table, found.rows, found.scores, axis=1)
    return table


def test_k_is_clipped_and_a_query_alone_has_only_itself(store_path: Path) -> None:
    with Store(store_path) as store:
        for k in (1, 2, 50):
            alone = refined_neighbours(self_join(store, np.array([4])), ["image"], k, EVERYTHING)
            assert alone.rows.tolist() == [[0]]
        sides = between(StoreRows(store, np.array([4, 6])), StoreRows(store, np.array([6])))
        found = refined_neighbours(sides, ["image"], 9, EVERYTHING)
        assert found.rows.tolist() == [[NO_ROW, 0], [0, NO_ROW]]
        assert found.scores[1].tolist() == [1, -np.inf]


def test_settings_come_back_from_json() -> None:
    for refinements in (EVERYTHING, Refinements(), Refinements(expand=3), Refinements(augment=2)):
        assert Refinements.from_json(refinements.to_json()) == refinements
    assert Refinements().to_json() == {}
    assert not Refinements()
    assert Refinements(rerank=Rerank())


def test_mistakes_are_told(store_path: Path, tmp_path: Path) -> None:
    other_path = write_store(
        tmp_path / "b.h5", {"image": (dense_info(16, "other"), np.ones((3, 16), np.float32))}
    )
    nan = np.ones((3, 2), np.float32)
    nan[1] = np.nan
    bad_path = write_store(tmp_path / "c.h5", {"image": (dense_info(2), nan)})
    expand = Refinements(expand=1)
    with Store(store_path) as store, Store(other_path) as other, Store(bad_path) as bad:
        everyone = self_join(store, np.arange(32))
        with pytest.raises(StoreError, match=r"dense space: 'words' of .*a\.h5 is sparse"):
            refined_neighbours(everyone, ["words"], 3, expand)
        with pytest.raises(SettingsError, match="at least 1: found 0"):
            refined_neighbours(everyone, ["image"], 0, expand)
        with pytest.raises(SettingsError, match="name of a dense space: found none"):
            refined_neighbours(everyone, [], 3, expand)
        with pytest.raises(SelectionError, match="nothing to search"):
            refined_neighbours(self_join(store, np.arange(0)), ["image"], 3, expand)
        both = between(StoreRows(store, np.arange(3)), StoreRows(other, np.arange(3)))
        with pytest.raises(FingerprintError, match=r"dense-1 in .*a\.h5 and other in"):
            refined_neighbours(both, ["image"], 3, expand)
        with pytest.raises(StoreError, match=r"of 'r1' in space 'image' should be finite"):
            refined_neighbours(self_join(bad, np.arange(3)), ["image"], 3, expand)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"expand": -1}, "--expand should be 0 or more: found -1"),
        ({"alpha": -0.5}, "--alpha should be 0 or more: found -0.5"),
        ({"blend": (1.5,)}, "between −1 and 1: found 1.5"),
        ({"blend_nearest": 0}, "--blend-nearest should be at least 1: found 0"),
        ({"rerank": {"k1": 0}}, "at least 1: found 0 and 6"),
        ({"rerank": {"weight": 1.5}}, "from 0 to 1: found 1.5"),
    ],
)
def test_settings_out_of_range_are_told(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Refinements.from_json(values)
