"""Applying a head: its vectors become a space of the store, or of a copy."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from embed.errors import FingerprintError, OutputExistsError, SettingsError
from embed.rows import load_splits, unseen_rows
from embed.store import Store, StoreWriter
from heads.applying import apply_head
from heads.features import FeatureReader, FeatureStores, refer_to
from heads.head import load_head
from heads.projection.bodies import project
from tests.heads.conftest import NUM_CLASSES, PER_CLASS, SPLIT, head_file, space, task


@pytest.fixture
def head(store_path: Path, tmp_path: Path) -> Path:
    return head_file(store_path, tmp_path / "arc.safetensors")


def vectors_of(store: Store, head: Path, name: str) -> np.ndarray:
    stores = FeatureStores(store)
    features = FeatureReader(stores, refer_to(stores, [name]))(np.arange(len(store)))
    return project(load_head(head).network, torch.from_numpy(features)).numpy()


def test_applying_adds_a_space_and_keeps_the_rest(
    store_path: Path, tmp_path: Path, head: Path
) -> None:
    applied = apply_head(store_path, head)
    assert (applied.space, applied.num_items) == ("arc", NUM_CLASSES * PER_CLASS)
    with Store(store_path) as store:
        assert list(store.spaces) == ["raw", "bits", "terms", "arc"]
        assert load_splits(store.space("arc").training) == (SPLIT,)
        assert store.space("arc").spec == "head:projection(raw)"
        np.testing.assert_allclose(store.array("arc"), vectors_of(store, head, "raw"), atol=1e-6)
        np.testing.assert_array_equal(unseen_rows(store, "arc"), SPLIT.sides(store) == "test")
        assert store.seen("arc").any()
        assert unseen_rows(store, "raw").all()
    with pytest.raises(OutputExistsError, match="another --name, or --force"):
        apply_head(store_path, head)
    assert apply_head(store_path, head, force=True).info == applied.info
    copy = apply_head(store_path, head, name="other", output=tmp_path / "copy.h5")
    with Store(copy.store) as store:
        assert list(store.spaces) == ["raw", "bits", "terms", "arc", "other"]


def test_a_head_takes_spaces_of_joined_stores(store_path: Path, tmp_path: Path, head: Path) -> None:
    """A store of nothing but labels, with the vectors in another one."""
    bare = tmp_path / "bare.h5"
    with Store(store_path) as store, StoreWriter(bare, "", {}) as writer:
        writer.copy_items(store)
    applied = apply_head(bare, head, joined=[store_path])
    with Store(store_path) as store, Store(bare) as written:
        assert list(written.spaces) == ["arc"]
        np.testing.assert_allclose(written.array("arc"), vectors_of(store, head, "raw"), atol=1e-6)
        np.testing.assert_array_equal(unseen_rows(written, "arc"), SPLIT.sides(store) == "test")
    assert applied.store == bare


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/"])
def test_names_that_no_space_may_have(store_path: Path, head: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"a space may be called .* found '{re.escape(name)}'"):
        apply_head(store_path, head, name=name)


def test_a_head_does_not_replace_what_it_takes_in(
    store_path: Path, tmp_path: Path, head: Path
) -> None:
    with pytest.raises(SettingsError, match=r"takes in space 'raw'.*give another --name"):
        apply_head(store_path, head, name="raw", force=True)
    head.rename(tmp_path / "raw.safetensors")
    with pytest.raises(SettingsError, match="takes in space 'raw'"):
        apply_head(store_path, tmp_path / "raw.safetensors", force=True)


def test_an_existing_copy_is_kept(store_path: Path, tmp_path: Path, head: Path) -> None:
    output = tmp_path / "copy.h5"
    output.write_text("mine")
    with pytest.raises(OutputExistsError, match=r"copy\.h5 exists already"):
        apply_head(store_path, head, output=output)
    assert output.read_text() == "mine"


def test_a_sparse_space_is_read_once(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = head_file(store_path, tmp_path / "h.safetensors", task("terms")), []
    read = Store.sparse

    def counted(store: Store, name: str) -> object:
        calls.append(name)
        return read(store, name)

    monkeypatch.setattr(Store, "sparse", counted)
    monkeypatch.setattr("heads.applying.ROWS_PER_BLOCK", 50)
    apply_head(store_path, path)
    assert calls == ["terms"]
    with Store(store_path) as store:
        np.testing.assert_allclose(store.array("h"), vectors_of(store, path, "terms"), atol=1e-6)


def test_a_head_refuses_other_vectors(tmp_path: Path, head: Path) -> None:
    other = tmp_path / "other.h5"
    with StoreWriter(other, "", {}) as writer:
        writer.write_items(np.array(["a"], object), {}, {"image": np.zeros((1, 16), np.uint8)})
        writer.write_array("raw", space("dense", 48, "0" * 32), np.zeros((1, 48), np.float32))
    with pytest.raises(
        FingerprintError, match=f"has fingerprint {'0' * 32}.*trained on {'f' * 32}"
    ):
        apply_head(other, head)
