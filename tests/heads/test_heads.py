"""Heads: what they learn, keep, refuse, and the whole path through the command lines."""

import json
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from safetensors.torch import save_file

from embed.errors import (
    FingerprintError,
    HeadError,
    OutputExistsError,
    SelectionError,
    SettingsError,
    StoreError,
)
from embed.rows import Split, Where, load_splits, unseen_rows
from embed.store import SpaceInfo, Store, StoreWriter
from heads.applying import apply_head
from heads.features import FeatureReader, refer_to
from heads.head import load_head, save_head
from heads.projection import training as training_module
from heads.projection.loss_settings import LossSettings
from heads.projection.losses import MetricLoss
from heads.projection.network import Projection, ProjectionSettings, project
from heads.projection.start import MAX_FEATURES, start_at_discriminants
from heads.projection.training import (
    Task,
    TrainedHead,
    TrainingSettings,
    _cosine_with_warmup,
    train_projection,
)
from heads.run import train_to_files
from tests.conftest import Invoke, json_of

NUM_CLASSES, PER_CLASS = 40, 6
SPLIT = Split.parse("label", "60/20/20")


def space(kind: str, dim: int, fingerprint: str = "f" * 32) -> SpaceInfo:
    return SpaceInfo(kind, "image", "classic:test", fingerprint, "fp32", False, dim)  # type: ignore[arg-type]


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """Classes that differ in eight directions, under noise that is larger in all the others."""
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
        columns = {
            "label": np.array([f"product {label}" for label in labels], object),
            "kind": np.where(np.arange(len(labels)) % PER_CLASS == 0, "iconic", "photo"),
            "same": np.full(len(labels), "x", object),
        }
        writer.write_items(ids, columns, {"image": np.zeros((len(labels), 16), np.uint8)})
        writer.write_array("raw", space("dense", 48), vectors)
        bits = np.packbits(vectors[:, :16] > 0, axis=1)
        writer.write_array("bits", space("binary", 16, "b" * 32), bits)
        terms = scipy.sparse.csr_array(np.maximum(vectors, 0))
        writer.write_sparse("terms", space("sparse", 48, "t" * 32), terms, {})


def train(path: Path, **training: object) -> TrainedHead:
    settings = TrainingSettings(**({"epochs": 8, "batch_size": 64} | training))  # type: ignore[arg-type]
    with Store(path) as store:
        return train_projection(store, Task(("raw",), "label", SPLIT), None, settings)


def test_features_are_spaces_side_by_side_of_unit_length(store_path: Path) -> None:
    rows = np.array([5, 0])
    with Store(store_path) as store:
        features = FeatureReader(store, refer_to(store, ["raw", "bits"]))(rows)
        raw = np.asarray(store.array("raw"))[rows]
    assert features.shape == (2, 48 + 16)
    np.testing.assert_allclose(
        features[:, :48], raw / np.linalg.norm(raw, axis=1)[:, None], rtol=1e-5
    )
    np.testing.assert_allclose(features[:, 48:], np.sign(raw[:, :16]) / 4)


def test_a_zero_vector_stays_zero(tmp_path: Path) -> None:
    write_store(tmp_path / "z.h5", lambda vectors: vectors[3].fill(0))
    with Store(tmp_path / "z.h5") as store:
        assert not FeatureReader(store, refer_to(store, ["raw"]))(np.array([3])).any()


def test_vectors_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    write_store(tmp_path / "n.h5", lambda vectors: vectors[7].fill(np.nan))
    with pytest.raises(StoreError, match=r"1 items .*'i7' among them"):
        train_anything(tmp_path / "n.h5")


def train_anything(path: Path) -> None:
    with Store(path) as store:
        train_projection(store, Task(("raw",), "label", Split.parse("label", "90/10/0")))


@pytest.mark.parametrize("loss", ["arcface", "softmax"])
def test_losses_equal_a_plain_loop(loss: str) -> None:
    """ArcFace's equation (3) and the normalised softmax by their definitions, row by row."""
    margin = 0.3 if loss == "arcface" else 0.5
    settings = LossSettings(loss=loss, scale=7.0, margin_radians=margin)  # type: ignore[arg-type]
    torch.manual_seed(0)
    metric_loss = MetricLoss(torch.ones(4, dtype=torch.int64), 5, settings)
    centres = torch.nn.functional.normalize(torch.randn(4, 5))
    metric_loss.set_centres(centres)
    vectors = torch.nn.functional.normalize(torch.randn(6, 5))
    labels = torch.tensor([0, 1, 2, 3, 0, 2])
    total = 0.0
    for vector, label in zip(vectors, labels.tolist(), strict=True):
        logits = []
        for number, centre in enumerate(centres):
            angle = math.acos(float(vector @ centre))
            if loss == "arcface" and number == label:
                angle += 0.3
            logits.append(7.0 * math.cos(angle))
        total += -logits[label] + math.log(sum(math.exp(logit) for logit in logits))
    assert metric_loss(vectors, labels).item() == pytest.approx(total / 6, rel=1e-4)


def test_start_separates_classes_better_than_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(20).repeat_interleave(8)
    signal = torch.zeros(160, 30)
    signal[:, :4] = torch.randn(20, 4, generator=generator)[labels]
    features = signal + torch.randn(160, 30, generator=generator) * torch.linspace(0.2, 3, 30)
    settings = ProjectionSettings(dim=4)
    torch.manual_seed(0)
    network, loss = Projection(30, settings), MetricLoss(torch.full((20,), 8), 4, LossSettings())
    random_hits = hit_rate(project(network, features), labels)
    start_at_discriminants(network, loss, features, labels)
    assert hit_rate(project(network, features), labels) > random_hits + 0.3
    vectors = project(network, features)
    own = torch.nn.functional.normalize(loss.centres)[labels]
    assert (vectors * own).sum(1).mean().item() > 0.5  # each centre stands at its class


@pytest.mark.parametrize(
    ("shape", "num_classes", "message"),
    [
        ((10, MAX_FEATURES + 1), 2, "up to 4,096 features: found 4,097.*--start random.*tfidf:max"),
        ((10, 3), 10, "found 10 rows of 10 classes; train with --start random"),
    ],
)
def test_a_start_that_cannot_be_made_is_refused(
    shape: tuple[int, int], num_classes: int, message: str
) -> None:
    settings = ProjectionSettings(dim=2)
    network, loss = (
        Projection(shape[1], settings),
        MetricLoss(torch.ones(2).long(), 2, LossSettings()),
    )
    labels = torch.arange(shape[0]) % num_classes
    with pytest.raises(SettingsError, match=message):
        start_at_discriminants(network, loss, torch.ones(shape), labels)


def hit_rate(vectors: torch.Tensor, labels: torch.Tensor) -> float:
    scores = vectors @ vectors.T
    scores.fill_diagonal_(-2)
    return float((labels[scores.argmax(1)] == labels).float().mean())


def test_schedule_rises_then_falls_to_nothing() -> None:
    share = _cosine_with_warmup(TrainingSettings(epochs=10, warmup_epochs=2.0), 5)
    shares = [share(step) for step in range(51)]
    assert max(shares) == shares[10] == 1
    assert shares[:10] == sorted(shares[:10])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[50] == pytest.approx(0)


def test_training_helps_on_products_it_never_saw(store_path: Path) -> None:
    from retrieval.curves import score_curve
    from retrieval.neighbours import neighbours_of_vectors

    trained = train(store_path, epochs=20)
    with Store(store_path) as store:
        rows = np.flatnonzero(SPLIT.sides(store) == "test")
        features = FeatureReader(store, refer_to(store, ["raw"]))(rows)
        labels = np.unique(store.column("label")[rows], return_inverse=True)[1]
    vectors = project(trained.network, torch.from_numpy(features)).numpy()
    reached = []
    for candidate in (features, vectors):
        curve = score_curve(neighbours_of_vectors(candidate, 50), labels)
        reached.append(curve.f1.max())
    assert reached[1] > reached[0] + 0.05


def test_sides_share_no_product_and_the_best_epoch_is_kept(store_path: Path) -> None:
    trained = train(store_path)
    with Store(store_path) as store:
        sides, labels = SPLIT.sides(store), store.column("label")
    assert trained.info.num_train == (sides == "train").sum()
    assert trained.info.num_validation == (sides == "val").sum()
    assert set(trained.info.classes) == set(labels[sides == "train"])
    assert not set(trained.info.classes) & set(labels[sides != "train"])
    best = max(trained.history, key=lambda epoch: epoch.row_f1)
    assert trained.info.metrics["row_f1"] == best.row_f1


def test_the_earliest_of_equally_good_epochs_is_kept(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, row_f1 = [], iter([0.25, 0.5, 0.5, 0.125])

    def scripted(network: Projection, *_: object) -> float:
        weights.append(network.linear.weight.detach().clone())
        return next(row_f1)

    monkeypatch.setattr(training_module, "validation_row_f1", scripted)
    trained = train(store_path, epochs=4)
    assert trained.info.metrics["epoch"] == 2
    assert torch.equal(trained.network.linear.weight, weights[1])
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize("batch_size", [16, 1024])  # the loss diverges, or only the last step
def test_training_that_diverges_stops(store_path: Path, batch_size: int) -> None:
    with pytest.raises(SettingsError, match=r"diverged at epoch 1: .* lower --learning-rate"):
        train(store_path, batch_size=batch_size, learning_rate=1e38, weight_decay=10.0)


def test_a_notebook_trains_into_the_same_files(store_path: Path, tmp_path: Path) -> None:
    output, task = tmp_path / "h.safetensors", Task(("raw",), "label", SPLIT)
    head, training = ProjectionSettings(dim=8), TrainingSettings(epochs=2)
    with Store(store_path) as store:
        trained = train_to_files(store, task, head, training, output)
        assert load_head(output).info == trained.info
        assert len(output.with_suffix(".jsonl").read_text().splitlines()) == 2
        output.unlink()
        with pytest.raises(OutputExistsError, match=r"h\.jsonl exists already"):
            train_to_files(store, task, head, training, output)
        with pytest.raises(SettingsError, match=r"is a \.safetensors file: found -o h\.bin"):
            train_to_files(store, task, head, training, Path("h.bin"))
    assert not output.exists()


def test_the_same_seed_gives_the_same_weights(store_path: Path) -> None:
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    first, second, other = train(store_path), train(store_path), train(store_path, seed=1)
    assert torch.equal(first.network.linear.weight, second.network.linear.weight)
    assert not torch.equal(first.network.linear.weight, other.network.linear.weight)
    assert torch.equal(torch.random.get_rng_state(), state)  # the caller's own is left alone


def test_a_head_is_read_as_it_was_written(store_path: Path, tmp_path: Path) -> None:
    trained = train(store_path)
    save_head(tmp_path / "h.safetensors", trained.info, trained.network)
    head = load_head(tmp_path / "h.safetensors")
    save_head(tmp_path / "again.safetensors", trained.info, trained.network)
    assert load_head(tmp_path / "again.safetensors").fingerprint == head.fingerprint
    assert head.info == trained.info
    assert torch.equal(head.network.linear.weight, trained.network.linear.weight)


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.safetensors"
    with pytest.raises(HeadError, match="no head at"):
        load_head(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(HeadError, match="is not a head, or it is damaged"):
        load_head(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(HeadError, match="tensors of something else"):
        load_head(path)
    save_file({"a": torch.zeros(2)}, path, {"embedding-head": '{"format_version": 2}'})
    with pytest.raises(HeadError, match="format version 2: expected version 1"):
        load_head(path)


def test_a_cut_head_is_refused(store_path: Path, tmp_path: Path) -> None:
    trained, path = train(store_path, epochs=1), tmp_path / "h.safetensors"
    save_head(path, trained.info, trained.network)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(HeadError, match="is not a head, or it is damaged"):
        load_head(path)


def test_applying_adds_a_space_and_keeps_the_rest(store_path: Path, tmp_path: Path) -> None:
    trained, path = train(store_path), tmp_path / "arc.safetensors"
    save_head(path, trained.info, trained.network)
    applied = apply_head(store_path, path)
    assert (applied.space, applied.num_items) == ("arc", NUM_CLASSES * PER_CLASS)
    with Store(store_path) as store:
        assert list(store.spaces) == ["raw", "bits", "terms", "arc"]
        assert load_splits(store.space("arc").training) == (SPLIT,)
        assert store.space("arc").spec == "head:projection(raw)"
        features = FeatureReader(store, refer_to(store, ["raw"]))(np.arange(len(store)))
        expected = project(trained.network, torch.from_numpy(features)).numpy()
        np.testing.assert_allclose(store.array("arc"), expected, atol=1e-6)
        np.testing.assert_array_equal(unseen_rows(store, "arc"), SPLIT.sides(store) == "test")
        assert store.seen("arc").any()
        assert unseen_rows(store, "raw").all()
    with pytest.raises(OutputExistsError, match="another --name, or --force"):
        apply_head(store_path, path)
    assert apply_head(store_path, path, force=True).info == applied.info
    copy = apply_head(store_path, path, name="other", output=tmp_path / "copy.h5")
    with Store(copy.store) as store:
        assert list(store.spaces) == ["raw", "bits", "terms", "arc", "other"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/"])
def test_names_that_no_space_may_have(store_path: Path, tmp_path: Path, name: str) -> None:
    path = head_file(store_path, tmp_path)
    with pytest.raises(SettingsError, match=f"a space may be called .* found '{re.escape(name)}'"):
        apply_head(store_path, path, name=name)


def test_a_head_does_not_replace_what_it_takes_in(store_path: Path, tmp_path: Path) -> None:
    path = head_file(store_path, tmp_path)
    with pytest.raises(SettingsError, match=r"takes in space 'raw'.*give another --name"):
        apply_head(store_path, path, name="raw", force=True)
    path.rename(tmp_path / "raw.safetensors")
    with pytest.raises(SettingsError, match="takes in space 'raw'"):
        apply_head(store_path, tmp_path / "raw.safetensors", force=True)


def test_an_existing_copy_is_kept(store_path: Path, tmp_path: Path) -> None:
    path, output = head_file(store_path, tmp_path), tmp_path / "copy.h5"
    output.write_text("mine")
    with pytest.raises(OutputExistsError, match=r"copy\.h5 exists already"):
        apply_head(store_path, path, output=output)
    assert output.read_text() == "mine"


def test_a_sparse_space_is_read_once(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = head_file(store_path, tmp_path, space="terms"), []
    read = Store.sparse

    def counted(store: Store, name: str) -> object:
        calls.append(name)
        return read(store, name)

    monkeypatch.setattr(Store, "sparse", counted)
    monkeypatch.setattr("heads.applying.ROWS_PER_BLOCK", 50)
    apply_head(store_path, path)
    assert calls == ["terms"]
    with Store(store_path) as store:
        features = FeatureReader(store, refer_to(store, ["terms"]))(np.arange(len(store)))
        expected = project(load_head(path).network, torch.from_numpy(features)).numpy()
        np.testing.assert_allclose(store.array("h"), expected, atol=1e-6)


def head_file(store_path: Path, folder: Path, space: str = "raw") -> Path:
    task = Task((space,), "label", SPLIT)
    with Store(store_path) as store:
        trained = train_projection(store, task, None, TrainingSettings(epochs=1))
    save_head(folder / "h.safetensors", trained.info, trained.network)
    return folder / "h.safetensors"


def test_a_head_refuses_other_vectors(store_path: Path, tmp_path: Path) -> None:
    trained, path = train(store_path, epochs=1), tmp_path / "h.safetensors"
    save_head(path, trained.info, trained.network)
    other = tmp_path / "other.h5"
    with StoreWriter(other, "", {}) as writer:
        writer.write_items(np.array(["a"], object), {}, {"image": np.zeros((1, 16), np.uint8)})
        writer.write_array("raw", space("dense", 48, "0" * 32), np.zeros((1, 48), np.float32))
    with pytest.raises(
        FingerprintError, match=f"has fingerprint {'0' * 32}.*trained on {'f' * 32}"
    ):
        apply_head(other, path)


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (
            Task(("nothing",), "label", SPLIT),
            StoreError,
            "no space 'nothing': it has raw, bits, terms",
        ),
        (Task(("raw",), "nothing", SPLIT), StoreError, "no column 'nothing'"),
        (Task(("raw", "raw"), "label", SPLIT), SettingsError, "found raw, raw"),
        (Task((), "label", SPLIT), SettingsError, "found none"),
        (Task(("raw",), "same", SPLIT), SelectionError, "1 classes in"),
        (
            Task(("raw",), "label", SPLIT, (Where("kind", "iconic"),)),
            SelectionError,
            "no two of the",
        ),
    ],
)
def test_tasks_that_cannot_be_learnt(
    store_path: Path, task: Task, error: type[Exception], message: str
) -> None:
    with Store(store_path) as store, pytest.raises(error, match=message):
        train_projection(store, task)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin_radians": 28.6}, "is it in degrees"),
        ({"dropout": 1.0}, "--dropout from 0"),
        ({"dim": 0}, "--dim of at least 1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ProjectionSettings(**settings)  # type: ignore[arg-type]


def test_command_lines(
    store_path: Path, tmp_path: Path, heads_cli: Invoke, retrieval_cli: Invoke
) -> None:
    head = tmp_path / "head.safetensors"
    arguments: list[object] = ["--space", "raw", "--space", "bits", "--target", "label"]
    arguments += ["--split", "60/20/20", "--epochs", "5", "-o", head]
    result = json_of(heads_cli("train", store_path, *arguments, "--json"))
    keys = {"head", "kind", "spaces", "num_train", "num_validation", "metrics", "seconds"}
    assert set(result) >= keys
    assert (result["kind"], result["spaces"]) == ("projection", ["raw", "bits"])
    assert 0 < result["metrics"]["row_f1"] <= 1
    lines = (tmp_path / "head.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert (tmp_path / "head.png").read_bytes().startswith(b"\x89PNG")
    again = heads_cli("train", store_path, *arguments, exit_code=1)
    assert "exists already: give another name, or --force" in again.stderr
    assert "row F1" in heads_cli("train", store_path, *arguments, "--force").stdout
    applied = json_of(heads_cli("apply", store_path, head, "--json"))
    assert (applied["space"], applied["dim"]) == ("head", 256)
    tune = ["--label", "label", "--protocol", "same-rows", "--unseen-by", "head", "--json"]
    ours = json_of(retrieval_cli("tune-threshold", store_path, "--space", "head", *tune))
    raw = json_of(retrieval_cli("tune-threshold", store_path, "--space", "raw", *tune))
    assert ours["num_rows"] == raw["num_rows"] < NUM_CLASSES * PER_CLASS


@pytest.mark.parametrize(
    ("change", "message", "exit_code"),
    [
        (["--split", "80/20"], "train/val/test in per cent", 2),
        (["--split", "100/0/0"], "give validation a larger share", 1),
        (["--where", "kind"], "--where takes COLUMN=VALUE", 2),
        (["--where", "kind=drawing"], "its values are iconic, photo", 1),
        (["--split-column", "kind"], "should hold train, val and test: found iconic, photo", 1),
        (["-o", "head.bin"], "a head is a .safetensors file", 2),
        (["--learning-rate", "1e36"], "training diverged at epoch", 2),
        (["--learning-rate", "nan"], "a finite --learning-rate above 0: found 20, 256 and nan", 2),
        (["--kind", "magic"], "Invalid value for '--kind'", 2),
        (["--epochs", "0"], "--epochs of at least 1", 2),
        (["--device", "warp"], "--device", 2),
    ],
)
def test_a_users_mistakes_are_one_line(
    store_path: Path,
    tmp_path: Path,
    heads_cli: Invoke,
    change: list[str],
    message: str,
    exit_code: int,
) -> None:
    head = tmp_path / "head.safetensors"
    arguments = ["--space", "raw", "--target", "label", "-o", head, *change]
    result = heads_cli("train", store_path, *arguments, exit_code=exit_code)
    assert message in result.stderr
    assert exit_code == 2 or result.stderr.count("\n") == 1
    assert not head.exists()
