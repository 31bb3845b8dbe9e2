"""How long heads take to train: python benchmarks/heads.py [--quick] [--json].

Projection: ArcFace on 200,000 rows of 1,792 features and 10,000 classes, 128-d, trained from a
store as `heads train` does it, against the textbook loop (a DataLoader of batches of 128 over a
TensorDataset, a linear layer, pytorch-metric-learning's ArcFace, Adam): the seconds to the score
that the textbook loop reaches, on classes that neither has seen. And the seconds of one epoch
against those of the float32 matrix products that an epoch needs.

Attributes: 70,000 rows of 2,048 features, 42 pairs of a category and an attribute, 170 classes: an
epoch against its matrix products, and against a loop over samples and heads, timed on a few.
"""

import sys
from pathlib import Path

# In place of this folder, in which a module is named as the package is.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse  # noqa: E402
import json  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from statistics import median  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from pytorch_metric_learning.losses import ArcFaceLoss  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from benchmarks.heads_attributes import AttributeCase, attribute_results  # noqa: E402
from benchmarks.machine import describe_machine, write_results  # noqa: E402
from embed.rows import Split  # noqa: E402
from embed.store import SpaceInfo, Store, StoreWriter  # noqa: E402
from heads.features import FeatureReader, FeatureStores, refer_to  # noqa: E402
from heads.projection.validation import validation_row_f1  # noqa: E402
from heads.run import train_head  # noqa: E402
from heads.settings import head_settings  # noqa: E402
from heads.tasks import Task  # noqa: E402
from heads.training.loop import Epoch, Learner, Reporting  # noqa: E402

SCALE, MARGIN_DEGREES = 16.0, 28.6
TEXTBOOK_BATCH = 128
BATCH_SIZE = 2048
ROUNDS = 3


@dataclass(frozen=True)
class ProjectionCase:
    """The size of the projection task; validation classes are apart from those of training."""

    num_rows: int = 200_000
    num_features: int = 1792
    num_classes: int = 10_000
    num_val_classes: int = 500
    dim: int = 128
    textbook_epochs: int = 3
    epochs: int = 4


QUICK = ProjectionCase(
    num_rows=8_192,
    num_features=1024,
    num_classes=2_048,
    num_val_classes=200,
    textbook_epochs=3,
    epochs=4,
)


@dataclass(frozen=True)
class Reached:
    """A validation score, and the seconds of training until then."""

    seconds: float
    row_f1: float


def main() -> None:
    arguments = _arguments()
    case = QUICK if arguments.quick else ProjectionCase()
    results: dict[str, Any] = {"machine": describe_machine(), "case": vars(case)}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        store_path = Path(folder) / "store.h5"
        write_store(store_path, case)
        results |= projection_results(store_path, case)
        rows = 4_096 if arguments.quick else 70_000
        results |= attribute_results(Path(folder), AttributeCase(rows))
    if not arguments.quick:
        write_results("heads", results)
    print(json.dumps(results, indent=2) if arguments.json else _table(results))


def projection_results(store_path: Path, case: ProjectionCase) -> dict[str, Any]:
    """Ours first, then the textbook loop, which is given every epoch up to its last."""
    with Store(store_path) as store:
        raw = raw_score(store)
        ours = {
            start: train_ours(store, case, start=start) for start in ("discriminants", "random")
        }
        full = train_ours(store, case, start="random", precision="fp32", epochs=2)
        textbook = train_textbook(store, case)
    bare = bare_products(case)
    best = max(textbook, key=lambda reached: reached.row_f1)
    speedups = {start: _speedup(reached, best) for start, reached in ours.items()}
    epoch = _seconds_of_epoch(ours["random"])
    return {
        "raw_row_f1": raw,
        "textbook": [vars(reached) for reached in textbook],
        "ours": {start: [vars(r) for r in reached] for start, reached in ours.items()},
        "speedup_over_textbook_loop": speedups["discriminants"],
        "speedup_from_random_weights": speedups["random"],
        "epoch_seconds": epoch,
        "epoch_seconds_fp32": _seconds_of_epoch(full),
        "textbook_epoch_seconds": _seconds_of_epoch(textbook),
        "bare_products_seconds": bare,
        "projection_over_bare_products": epoch / bare,
        "projection_over_bare_products_fp32": _seconds_of_epoch(full) / bare,
    }


def write_store(path: Path, case: ProjectionCase) -> None:
    """Classes in 64 directions, under noise that is stronger in 256 others, and some in all."""
    generator = np.random.default_rng(0)
    num_classes = case.num_classes + case.num_val_classes
    per_class = case.num_rows // case.num_classes
    labels = np.repeat(np.arange(num_classes), per_class)
    mixing = generator.normal(size=(320, case.num_features)).astype(np.float32)
    centres = generator.normal(size=(num_classes, 64)).astype(np.float32)
    columns = {
        "label": labels.astype(np.int64),
        "split": np.where(labels < case.num_classes, "train", "val").astype(object),
    }
    info = SpaceInfo("dense", "image", "drawn", "d" * 32, "fp16", False, case.num_features)
    with StoreWriter(path, "", {}) as writer:
        ids = np.array([f"{row}" for row in range(len(labels))], object)
        writer.write_items(ids, columns, {"image": np.zeros((len(ids), 16), np.uint8)})
        space = writer.create_array("drawn", info, (len(labels), case.num_features), np.float16)
        for start in range(0, len(labels), 10_000):
            of = labels[start : start + 10_000]
            hidden = np.empty((len(of), 320), np.float32)
            hidden[:, :64] = centres[of] + 0.6 * generator.standard_normal((len(of), 64))
            hidden[:, 64:] = 1.5 * generator.standard_normal((len(of), 256))
            noise = generator.standard_normal((len(of), case.num_features), np.float32)
            vectors = hidden @ mixing + 8 * noise
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            space[start : start + len(of)] = vectors


def _features(store: Store, side: str) -> tuple[Tensor, Tensor]:
    rows = np.flatnonzero(store.column("split") == side)
    stores = FeatureStores(store)
    features = FeatureReader(stores, refer_to(stores, ["drawn"]))(rows)
    return torch.from_numpy(features), torch.from_numpy(store.column("label")[rows])


def raw_score(store: Store) -> float:
    """Row F1 of the features as they are."""
    features, labels = _features(store, "val")
    return validation_row_f1(features.numpy(), labels.numpy())[0]


def train_ours(store: Store, case: ProjectionCase, **options: Any) -> list[Reached]:
    """The score after each epoch, and all seconds until then: reading, the start, validation."""
    settings = head_settings(
        "projection",
        {
            "dim": case.dim,
            "dropout": (0.0,),
            "scale": SCALE,
            "margin_radians": float(np.radians(MARGIN_DEGREES)),
            "epochs": case.epochs,
            "batch_size": BATCH_SIZE,
            "learning_rate": 2e-3,
            "warmup_epochs": 0.5,
            **options,
        },
    )
    task = Task(("drawn",), ("label",), Split("label", column="split"))
    reached: list[Reached] = []
    started = time.perf_counter()

    def on_epoch(epoch: Epoch) -> None:
        _wait()
        reached.append(Reached(time.perf_counter() - started, epoch.metrics["row_f1"]))

    def reporting(learner: Learner) -> Reporting:
        return Reporting(on_epoch)

    train_head(FeatureStores(store), task, settings.kind, settings.training, reporting)
    return reached


def train_textbook(store: Store, case: ProjectionCase) -> list[Reached]:
    """The score after each epoch, and the seconds of training alone until then."""
    device = _device()
    features, labels = _features(store, "train")
    val_features, val_labels = _features(store, "val")
    torch.manual_seed(0)
    network = nn.Linear(case.num_features, case.dim).to(device)
    loss = ArcFaceLoss(case.num_classes, case.dim, margin=MARGIN_DEGREES, scale=SCALE).to(device)
    optimizer = torch.optim.Adam([*network.parameters(), *loss.parameters()], lr=1e-3)
    loader = DataLoader(TensorDataset(features, labels), batch_size=TEXTBOOK_BATCH, shuffle=True)
    reached, seconds = [], 0.0
    for _ in range(case.textbook_epochs):
        started = time.perf_counter()
        for batch, batch_labels in loader:
            optimizer.zero_grad()
            value = loss(network(batch.to(device)), batch_labels.to(device))
            torch.autograd.backward(value)
            optimizer.step()
        _wait()
        seconds += time.perf_counter() - started
        with torch.no_grad():
            vectors = nn.functional.normalize(network(val_features.to(device))).cpu().numpy()
        reached.append(Reached(seconds, validation_row_f1(vectors, val_labels.numpy())[0]))
    return reached


def bare_products(case: ProjectionCase) -> float:
    """Seconds of an epoch's float32 products alone, from the median of a few steps."""
    device = _device()
    features = torch.randn(BATCH_SIZE, case.num_features, device=device)
    weight = torch.randn(case.dim, case.num_features, device=device)
    centres = torch.randn(case.num_classes, case.dim, device=device)
    vectors = torch.randn(BATCH_SIZE, case.dim, device=device)
    logits = torch.randn(BATCH_SIZE, case.num_classes, device=device)
    outputs = [features @ weight.T, vectors @ centres.T, logits @ centres]

    def step() -> None:
        torch.mm(features, weight.T, out=outputs[0])
        torch.mm(vectors, centres.T, out=outputs[1])
        torch.mm(logits, centres, out=outputs[2])
        logits.T @ vectors
        vectors.T @ features

    return seconds_of(step, 8) * case.num_rows / BATCH_SIZE


def seconds_of(function: Callable[[], object], repeats: int) -> float:
    """The median over calls, after one that does not count."""
    function()
    _wait()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        _wait()
        times.append(time.perf_counter() - started)
    return median(times)


def _speedup(ours: list[Reached], best: Reached) -> float | None:
    """How many times sooner ours reaches the textbook loop's best score; None if it never does."""
    soonest = next((r.seconds for r in ours if r.row_f1 >= best.row_f1), None)
    return None if soonest is None else best.seconds / soonest


def _seconds_of_epoch(reached: list[Reached]) -> float:
    """The median, the first epoch left out where there are others: it holds the start."""
    times = np.diff([0.0, *(r.seconds for r in reached)]).tolist()
    return float(median(times[1:] or times))


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _table(results: dict[str, Any]) -> str:
    best = max(results["textbook"], key=lambda reached: reached["row_f1"])
    lines = [
        f"raw features: row F1 {results['raw_row_f1']:.4f}",
        f"textbook loop: row F1 {best['row_f1']:.4f} after {best['seconds']:.1f} s, "
        f"{results['textbook_epoch_seconds']:.1f} s an epoch",
    ]
    for start, reached in results["ours"].items():
        steps = ", ".join(f"{r['row_f1']:.4f} at {r['seconds']:.1f} s" for r in reached)
        lines.append(f"ours from {start}: {steps}")
    names = [
        "speedup_over_textbook_loop",
        "speedup_from_random_weights",
        "epoch_seconds",
        "epoch_seconds_fp32",
        "bare_products_seconds",
        "projection_over_bare_products",
        "projection_over_bare_products_fp32",
        "attributes_epoch_seconds",
        "attributes_bare_products_seconds",
        "attributes_over_bare_products",
        "attributes_over_bare_products_fp32",
        "attributes_speedup_over_loop",
    ]
    figures = {name: results[name] for name in names}
    shown = {name: "never" if v is None else f"{v:.3g}" for name, v in figures.items()}
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in shown.items())])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--folder", type=Path, help="where the store of features is written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
