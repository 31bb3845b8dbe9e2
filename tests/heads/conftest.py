"""A small store to train on: classes that differ in eight directions, under noise in the others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from embed.rows import Split
from embed.store import SpaceInfo, Store, StoreWriter
from heads.features import FeatureStores
from heads.run import HeadFiles, train_head, write_files
from heads.settings import head_settings
from heads.tasks import Task
from heads.training.loop import TrainedHead

NUM_CLASSES, PER_CLASS = 40, 6
SPLIT = Split.parse("label", "60/20/20")
FINGERPRINT = "f" * 32


def space(kind: str, dim: int, fingerprint: str = FINGERPRINT) -> SpaceInfo:
    return SpaceInfo(kind, "image", "classic:test", fingerprint, "fp32", False, dim)  # type: ignore[arg-type]


def task(*spaces: str, **fields: Any) -> Task:
    """To bring equal labels near, from space `raw` unless others are named."""
    return replace(Task(spaces or ("raw",), ("label",), SPLIT), **fields)


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    write_store(tmp_path / "s.h5")
    return tmp_path / "s.h5"


def write_store(path: Path, change: Callable[[np.ndarray], None] | None = None) -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(NUM_CLASSES), PER_CLASS)
    signal = np.zeros((len(labels), 48))
    signal[:, :8] = generator.normal(size=(NUM_CLASSES, 8))[labels]
    noise = np.where(np.arange(48) < 8, 0.4, 0.9)
    vectors = (signal + generator.normal(size=signal.shape) * noise).astype(np.float32)
    if change is not None:
        change(vectors)
    with StoreWriter(path, "", {"python": "3"}) as writer:
        ids = np.array([f"i{row}" for row in range(len(labels))], object)
        writer.write_items(ids, columns_of(labels), {"image": np.zeros((len(ids), 16), np.uint8)})
        writer.write_array("raw", space("dense", 48), vectors)
        bits = np.packbits(vectors[:, :16] > 0, axis=1)
        writer.write_array("bits", space("binary", 16, "b" * 32), bits)
        terms = scipy.sparse.csr_array(np.maximum(vectors, 0))
        writer.write_sparse("terms", space("sparse", 48, "t" * 32), terms, {})


def columns_of(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Products, of two categories whose `colour` and `size` go by the product."""
    rows = np.arange(len(labels))
    category = np.where(labels % 2 == 0, "shoe", "shirt").astype(object)
    size = np.array([f"size {label % 4 // 2}" for label in labels], object)
    size[rows % 7 == 0] = "dummy"
    return {
        "label": np.array([f"product {label}" for label in labels], object),
        "kind": np.where(rows % PER_CLASS == 0, "iconic", "photo"),
        "same": np.full(len(labels), "x", object),
        "category": category,
        "colour": np.array([f"colour {label % 5}" for label in labels], object),
        "size": np.where(category == "shoe", size, ""),
    }


def train(
    path: Path, what: Task | None = None, kind: str = "projection", **options: Any
) -> TrainedHead:
    """A head after a few epochs; options as on the command line."""
    quick: dict[str, Any] = {"epochs": 8, "batch_size": 64}
    if kind == "attributes":
        quick["linear_share"] = 0.0  # a regression takes longer than all of the training here
    settings = head_settings(kind, quick | options)
    with Store(path) as store:
        return train_head(FeatureStores(store), what or task(), settings.kind, settings.training)


def head_file(
    store_path: Path, path: Path, what: Task | None = None, kind: str = "projection", **options: Any
) -> Path:
    """The files of a head that is hardly trained."""
    trained = train(store_path, what, kind, **({"epochs": 1} | options))
    write_files(trained, HeadFiles(path))
    return path


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """What is trained here is so small that two threads wait for each other more than they work."""
    torch.set_num_threads(1)
