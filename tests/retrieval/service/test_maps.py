"""Maps: as a plain singular value decomposition draws them, in every kind of space."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float

from embed.errors import SettingsError, StoreError
from embed.store import Store
from retrieval.search.sides import StoreRows
from retrieval.service import maps
from retrieval.service.background import Cancelled
from retrieval.service.catalogue import Catalogue
from retrieval.service.colours import colours_of
from retrieval.service.maps import map_of, methods, pca_map, umap_map
from retrieval.service.settings import ServiceSettings
from tests.retrieval.retrieval_stores import (
    binary_info,
    clustered,
    dense_info,
    sparse_info,
    write_store,
)
from tests.retrieval.service.snapshots import opened_snapshot

SECONDS = 60.0
NUM_ITEMS = 60
needs_umap = pytest.mark.skipif(find_spec("umap") is None, reason="needs the extra 'map'")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    generator = np.random.default_rng(4)
    dense, groups = clustered(12, 5, spread=0.4, dim=24)
    sparse = np.where(generator.random((NUM_ITEMS, 30)) < 0.3, generator.random((NUM_ITEMS, 30)), 0)
    spaces = {
        "dense": (dense_info(24), dense),
        "small": (dense_info(3, "small-1"), dense[:, :3].copy()),
        "one": (dense_info(1, "one-1"), dense[:, :1].copy()),
        "same": (dense_info(4, "same-1"), np.ones((NUM_ITEMS, 4), np.float32)),
        "sparse": (sparse_info(30), sparse.astype(np.float32)),
        "bits": (binary_info(20), generator.integers(0, 256, (NUM_ITEMS, 3)).astype(np.uint8)),
    }
    numbers = np.arange(NUM_ITEMS, dtype=float)
    numbers[7] = np.nan
    columns = {
        "few": np.array([f"g{group % 3}" for group in groups], object),
        "many": np.array([f"v{item // 2}" for item in range(NUM_ITEMS)], object),
        "price": numbers,
        "mostly": np.maximum(np.arange(NUM_ITEMS), 38),
        "missing": np.array(["", "a"] * (NUM_ITEMS // 2), object),
    }
    return write_store(tmp_path / "store.h5", spaces, columns)


def unit_vectors(store: Store, space: str) -> Float[np.ndarray, "n d"]:
    info = store.space(space)
    if info.kind == "sparse":
        vectors = store.sparse(space).toarray()
    elif info.kind == "binary":
        vectors = 1.0 - 2.0 * np.unpackbits(store.array(space), axis=1)[:, : info.dim]
    else:
        vectors = np.array(store.array(space), np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-30), np.float64)


@pytest.mark.parametrize("space", ["dense", "small", "sparse", "bits"])
@pytest.mark.parametrize("most", [NUM_ITEMS, 7])
def test_pca_is_the_singular_value_decomposition(
    path: Path, space: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(path) as store:
        vectors = unit_vectors(store, space)
        centred = vectors - vectors.mean(axis=0)
        _, values, axes = np.linalg.svd(centred, full_matrices=False)
        signs = np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(axis=1)])
        found = pca_map(StoreRows(store, np.arange(NUM_ITEMS)), space, lambda share: None)
        np.testing.assert_allclose(found.points, centred @ axes[:2].T * signs, atol=1e-4)
        assert found.explained == pytest.approx(values[:2] ** 2 / (values**2).sum(), abs=1e-4)
        # Blocks and a sample move the axes, and nothing else.
        monkeypatch.setattr(maps, "MOST_SAMPLED", most)
        again = pca_map(StoreRows(store, np.arange(NUM_ITEMS)), space, lambda share: None)
        assert again.points.shape == (NUM_ITEMS, 2)
        if most == NUM_ITEMS:
            np.testing.assert_array_equal(again.points, found.points)


@pytest.mark.parametrize("space", ["one", "same"])
def test_a_space_that_does_not_vary_in_two_directions_has_a_map(path: Path, space: str) -> None:
    with Store(path) as store:
        found = pca_map(StoreRows(store, np.arange(NUM_ITEMS)), space, lambda share: None)
        assert found.points.shape == (NUM_ITEMS, 2)
        assert np.isfinite(found.points).all()
        single = pca_map(StoreRows(store, np.arange(1)), "dense", lambda share: None)
        assert single.points.tolist() == [[0, 0]]


@needs_umap
@pytest.mark.parametrize("space", ["dense", "bits", "sparse"])
def test_umap_puts_groups_together_and_is_the_same_each_time(path: Path, space: str) -> None:
    shares: list[float] = []
    with Store(path) as store:
        items = StoreRows(store, np.arange(NUM_ITEMS))
        found = umap_map(items, space, shares.append)
        again = umap_map(items, space, lambda share: None)
    np.testing.assert_array_equal(found.points, again.points)
    assert found.explained is None and np.isfinite(found.points).all()
    assert shares == sorted(shares) and (shares[0], shares[-1]) == (0, 1)
    if space == "dense":
        groups = found.points.reshape(12, 5, 2)
        within = np.linalg.norm(groups - groups.mean(axis=1, keepdims=True), axis=2).mean()
        between = np.linalg.norm(groups.mean(axis=1), axis=1).mean()
        assert within < between / 2


@needs_umap
def test_umap_is_given_up_while_neighbours_are_searched(path: Path) -> None:
    shares: list[float] = []

    def report(share: float) -> None:
        shares.append(share)
        if share > 0:
            raise Cancelled

    with Store(path) as store, pytest.raises(Cancelled):
        umap_map(StoreRows(store, np.arange(NUM_ITEMS)), "dense", report)
    assert shares == [0, 0, maps.NEIGHBOURS_SHARE]


def test_what_can_not_be_drawn_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = opened_snapshot(ServiceSettings(path))
    with pytest.raises(StoreError, match="no space 'hog'"):
        map_of(snapshot, "hog", "pca")
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    assert methods() == ["pca"]
    with pytest.raises(SettingsError, match="the extra 'map'"):
        map_of(snapshot, "dense", "umap")
    snapshot.close()


def test_colours_of_values_and_of_numbers(path: Path) -> None:
    with Store(path) as store:
        catalogue = Catalogue(store, "title")
        few = colours_of(catalogue, "few")
        assert sorted(few.values) == ["g0", "g1", "g2"]
        assert [few.values[number] for number in few.numbers] == store.column("few").tolist()
        many = colours_of(catalogue, "many")
        assert len(many.values) == 21 and many.values[-1] == "other"
        assert int((many.numbers == 20).sum()) == NUM_ITEMS - 40
        missing = colours_of(catalogue, "missing")
        assert missing.values == ["a", "no value"]
        assert missing.numbers.tolist() == [1, 0] * (NUM_ITEMS // 2)


def test_many_numbers_are_five_equal_shares(path: Path) -> None:
    with Store(path) as store:
        catalogue = Catalogue(store, "title")
        price = colours_of(catalogue, "price")
        ranges = ["to 12", "above 12, to 24", "above 24, to 35", "above 35, to 47", "above 47"]
        assert price.values == [*ranges, "no value"]
        assert np.bincount(price.numbers).tolist() == [12, 12, 11, 12, 12, 1]
        assert price.numbers[7] == 5
        mostly = colours_of(catalogue, "mostly")
        assert np.bincount(mostly.numbers, minlength=len(mostly.values)).min() > 0
