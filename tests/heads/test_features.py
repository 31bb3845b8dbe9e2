"""Features: which numbers they are, from however many stores, in memory or streamed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from embed.errors import IdError, SettingsError, StoreError
from embed.store import Store, StoreWriter
from heads.features import FeatureReader, FeatureStores, refer_to
from heads.tables import ResidentTable, StreamedTable, open_table, open_tables
from tests.heads.conftest import space, train, write_store

CPU = torch.device("cpu")


def read(path: Path, names: list[str], rows: list[int], **weights: float) -> np.ndarray:
    with Store(path) as store:
        stores = FeatureStores(store)
        return FeatureReader(stores, refer_to(stores, names, weights))(np.array(rows))


def test_features_are_spaces_side_by_side_of_unit_length(store_path: Path) -> None:
    features = read(store_path, ["raw", "bits"], [5, 0])
    with Store(store_path) as store:
        raw = np.asarray(store.array("raw"))[[5, 0]]
    assert features.shape == (2, 48 + 16)
    expected = raw / np.linalg.norm(raw, axis=1)[:, None]
    np.testing.assert_allclose(features[:, :48], expected, rtol=1e-5)
    np.testing.assert_allclose(features[:, 48:], np.sign(raw[:, :16]) / 4)


def test_a_weight_is_the_length_of_a_space(store_path: Path) -> None:
    features = read(store_path, ["raw", "bits"], [1, 2, 3], bits=0.5)
    np.testing.assert_allclose(np.linalg.norm(features[:, :48], axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features[:, 48:], axis=1), 0.5, rtol=1e-6)


@pytest.mark.parametrize(("name", "weight"), [("raw", 0.0), ("raw", -1.0), ("other", 1.0)])
def test_weights_that_say_nothing(store_path: Path, name: str, weight: float) -> None:
    with pytest.raises(SettingsError, match=f"--weight takes .* found {name}={weight:g}"):
        read(store_path, ["raw"], [0], **{name: weight})


def test_a_zero_vector_stays_zero(tmp_path: Path) -> None:
    write_store(tmp_path / "z.h5", lambda vectors: vectors[3].fill(0))
    assert not read(tmp_path / "z.h5", ["raw"], [3]).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    write_store(tmp_path / "n.h5", lambda vectors: vectors[7].fill(value))
    with pytest.raises(StoreError, match=r"1 items .*'i7' among them"):
        train(tmp_path / "n.h5")


def write_other(path: Path, ids: list[str], name: str = "far") -> np.ndarray:
    vectors = np.random.default_rng(1).normal(size=(len(ids), 4)).astype(np.float32)
    with StoreWriter(path, "", {}) as writer:
        hashes = {"image": np.zeros((len(ids), 16), np.uint8)}
        writer.write_items(np.array(ids, object), {}, hashes)
        writer.write_array(name, space("dense", 4), vectors)
    return vectors


def test_stores_are_joined_by_id(store_path: Path, tmp_path: Path) -> None:
    with Store(store_path) as store:
        ids = ["more", *store.ids.tolist()[::-1]]
    vectors = write_other(tmp_path / "o.h5", ids)
    with Store(store_path) as store, Store(tmp_path / "o.h5") as other:
        stores = FeatureStores(store, other)
        features = FeatureReader(stores, refer_to(stores, ["far", "raw"]))(np.array([0, 3]))
    expected = vectors[[-1, -4]]
    expected /= np.linalg.norm(expected, axis=1)[:, None]
    np.testing.assert_allclose(features[:, :4], expected, rtol=1e-6)
    assert features.shape == (2, 4 + 48)


def test_stores_that_do_not_join(store_path: Path, tmp_path: Path) -> None:
    write_other(tmp_path / "o.h5", ["i0", "i1"])
    with (
        Store(store_path) as store,
        Store(tmp_path / "o.h5") as other,
        pytest.raises(IdError, match=r"has no item 'i2' \(238 ids are missing\): every item of"),
    ):
        FeatureStores(store, other)
    with Store(store_path) as store:
        write_other(tmp_path / "p.h5", store.ids.tolist(), "raw")
    with (
        Store(store_path) as store,
        Store(tmp_path / "p.h5") as other,
        pytest.raises(SettingsError, match="both have a space 'raw'"),
    ):
        FeatureStores(store, other)


def test_streamed_features_are_those_in_memory(store_path: Path) -> None:
    with Store(store_path) as store:
        stores = FeatureStores(store)
        reader = FeatureReader(stores, refer_to(stores, ["raw", "terms"]))
        rows = np.array([9, 4, 200, 17, 3])
        resident, streamed = (open_table(reader, rows, CPU, limit) for limit in (2000, 1000))
        assert isinstance(resident, ResidentTable)
        assert isinstance(streamed, StreamedTable)
        batches = [torch.tensor([4, 0, 2]), torch.tensor([1]), torch.tensor([3, 2])]
        for mine, theirs in zip(resident.batches(batches), streamed.batches(batches), strict=True):
            assert torch.equal(mine[0], theirs[0])
            assert torch.equal(mine[1], theirs[1])
        np.testing.assert_array_equal(streamed.rows(torch.arange(5)), reader(rows))


def test_training_from_the_stream_gives_the_same_weights(store_path: Path) -> None:
    whole, streamed = train(store_path), train(store_path, memory_bytes=100)
    for name, weights in whole.network.state_dict().items():
        assert torch.equal(streamed.network.state_dict()[name], weights), name


@pytest.mark.parametrize(
    ("max_bytes", "kinds"),
    [
        (9 * 48 * 4, [ResidentTable, ResidentTable]),
        (9 * 48 * 4 - 1, [ResidentTable, StreamedTable]),
        (6 * 48 * 4 - 1, [StreamedTable, ResidentTable]),
    ],
)
def test_tables_share_one_bound(store_path: Path, max_bytes: int, kinds: list[type]) -> None:
    with Store(store_path) as store:
        stores = FeatureStores(store)
        reader = FeatureReader(stores, refer_to(stores, ["raw"]))
        tables = open_tables(reader, (np.arange(6), np.arange(3)), CPU, max_bytes)
        assert [type(table) for table in tables] == kinds
