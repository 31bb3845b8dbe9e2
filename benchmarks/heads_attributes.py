"""How long attribute heads take to train; a part of benchmarks/heads.py."""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embed.rows import Split
from embed.store import SpaceInfo, Store, StoreWriter
from heads.features import FeatureStores
from heads.run import train_head
from heads.settings import head_settings
from heads.tasks import Task
from heads.training.loop import Epoch, Learner, Reporting

PAIRS = (5, 10, 8, 10, 9)  # attributes of each of five categories: 42 in all
NUM_CLASSES = 170
HIDDEN = 256
BATCH_SIZE = 1024
NUM_LOOPED = 48
EPOCHS = 3


@dataclass(frozen=True)
class AttributeCase:
    """The size of the task."""

    num_rows: int = 70_000
    num_features: int = 2048


def classes_of_pairs() -> dict[tuple[int, int], int]:
    """How many classes each category's attributes have: four or five, 170 in all."""
    places = [(c, a) for c, number in enumerate(PAIRS) for a in range(number)]
    return {
        place: NUM_CLASSES // len(places) + (n < NUM_CLASSES % len(places))
        for n, place in enumerate(places)
    }


def attribute_results(folder: Path, case: AttributeCase) -> dict[str, Any]:
    """An epoch as `heads train` does it, its bare products, and a loop over samples and heads."""
    path = folder / "attributes.h5"
    write_store(path, case)
    with Store(path) as store:
        epochs = {precision: epoch_seconds(store, precision) for precision in ("auto", "fp32")}
    bare = bare_products_seconds(case)
    loop = loop_seconds(case)
    return {
        "attributes_case": vars(case),
        "attributes_epoch_seconds": epochs["auto"],
        "attributes_epoch_seconds_fp32": epochs["fp32"],
        "attributes_bare_products_seconds": bare,
        "attributes_over_bare_products": epochs["auto"] / bare,
        "attributes_over_bare_products_fp32": epochs["fp32"] / bare,
        "attributes_loop_seconds": loop,
        "attributes_speedup_over_loop": loop / epochs["auto"],
    }


def write_store(path: Path, case: AttributeCase) -> None:
    """Features of noise, and attributes that go by chance: only the time counts."""
    generator = np.random.default_rng(0)
    num_rows = case.num_rows + 1000
    category = generator.integers(0, len(PAIRS), num_rows)
    columns = {
        "category": np.array([f"category {c}" for c in category], object),
        "split": np.where(np.arange(num_rows) < case.num_rows, "train", "val").astype(object),
    }
    sizes = classes_of_pairs()
    for attribute in range(max(PAIRS)):
        numbers = np.array([sizes.get((c, attribute), 0) for c in category])
        drawn = (generator.random(num_rows) * numbers).astype(int)
        labels = [f"class {k}" if n else "" for k, n in zip(drawn, numbers, strict=True)]
        columns[f"attr_{attribute}"] = np.array(labels, object)
    info = SpaceInfo("dense", "image", "drawn", "d" * 32, "fp16", False, case.num_features)
    with StoreWriter(path, "", {}) as writer:
        ids = np.array([f"{row}" for row in range(num_rows)], object)
        writer.write_items(ids, columns, {"image": np.zeros((num_rows, 16), np.uint8)})
        space = writer.create_array("drawn", info, (num_rows, case.num_features), np.float16)
        for start in range(0, num_rows, 10_000):
            shape = space[start : start + 10_000].shape
            space[start : start + 10_000] = generator.standard_normal(shape, np.float32)


def epoch_seconds(store: Store, precision: str) -> float:
    """The median of the epochs after the first, validation of 1,000 rows included."""
    options = {
        "epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
        "hidden": HIDDEN,
        "precision": precision,
    }
    settings = head_settings("attributes", options)
    targets = tuple(f"attr_{attribute}" for attribute in range(max(PAIRS)))
    task = Task(("drawn",), targets, Split("id", column="split"), category="category")
    times: list[float] = []

    def on_epoch(epoch: Epoch) -> None:
        times.append(epoch.seconds)

    def reporting(learner: Learner) -> Reporting:
        return Reporting(on_epoch)

    train_head(FeatureStores(store), task, settings.kind, settings.training, reporting)
    return median(times[1:])


def bare_products_seconds(case: AttributeCase) -> float:
    """An epoch's float32 products: both layers, their weights' gradients, the second's input's."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = BATCH_SIZE // len(PAIRS)
    sizes = classes_of_pairs()
    layers = []
    for category, number in enumerate(PAIRS):
        widest = max(sizes[category, attribute] for attribute in range(number))
        first = torch.randn(number * HIDDEN, case.num_features, device=device)
        layers.append((first, torch.randn(number, HIDDEN, widest, device=device)))
    features = torch.randn(rows, case.num_features, device=device)
    times = []
    for _ in range(8):
        started = time.perf_counter()
        for first, second in layers:
            _products(features, first, second)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return median(times[1:]) * case.num_rows / (rows * len(PAIRS))


def _products(features: Tensor, first: Tensor, second: Tensor) -> None:
    hidden = features @ first.T
    hidden.T @ features
    active = hidden.view(len(features), len(second), HIDDEN).transpose(0, 1)
    logits = active @ second
    active.transpose(1, 2) @ logits
    logits @ second.transpose(1, 2)


def loop_seconds(case: AttributeCase) -> float:
    """An epoch by samples and heads, each alone, without an optimiser; from a few samples."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = classes_of_pairs()
    heads = {
        place: nn.Sequential(
            nn.Linear(case.num_features, HIDDEN),
            nn.LayerNorm(HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(HIDDEN, number),
        ).to(device)
        for place, number in sizes.items()
    }
    features = torch.randn(NUM_LOOPED, case.num_features, device=device)
    label = torch.zeros(1, dtype=torch.int64, device=device)
    for warm in (True, False):
        started = time.perf_counter()
        for row in range(4 if warm else NUM_LOOPED):
            category = row % len(PAIRS)
            losses = [
                nn.functional.cross_entropy(heads[category, a](features[row : row + 1]), label)
                for a in range(PAIRS[category])
            ]
            torch.autograd.backward(torch.stack(losses).mean())
        if device.type == "cuda":
            torch.cuda.synchronize()
    return (time.perf_counter() - started) * case.num_rows / NUM_LOOPED
