"""Heads as ONNX: the same results in another program, from raw vectors of the spaces."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime import InferenceSession

from embed.errors import HeadError, OutputExistsError
from embed.rows import Split
from embed.store import Store
from heads import export
from heads.export import export_onnx
from heads.features import FeatureStores
from heads.head import load_head
from heads.predicting import predict
from tests.conftest import Invoke, json_of
from tests.heads.conftest import head_file, task, write_store

BY_CATEGORY = task(
    "raw",
    "bits",
    targets=("colour", "size"),
    category="category",
    weights={"bits": 0.5},
    split=Split.parse("id", "60/20/20", stratify="category"),
)


@dataclass(frozen=True)
class Files:
    """A store, and heads of it with their exports."""

    store: Path
    projection: Path
    attributes: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Read only: exporting takes seconds."""
    folder = tmp_path_factory.mktemp("exported")
    write_store(folder / "s.h5")
    what = task("raw", "terms", weights={"terms": 0.3})
    projection = head_file(folder / "s.h5", folder / "p.safetensors", what, body="mlp", dim=16)
    options = {"calibrate": True, "linear_share": 0.3}
    attributes = head_file(
        folder / "s.h5", folder / "a.safetensors", BY_CATEGORY, "attributes", **options
    )
    for head in (projection, attributes):
        export_onnx(head, head.with_suffix(".onnx"))
    return Files(folder / "s.h5", projection, attributes)


def dense(store: Store, name: str) -> np.ndarray:
    """A space as another program would hold it, of any length."""
    kind = store.space(name).kind
    if kind == "sparse":
        return np.asarray(store.sparse(name).toarray(), np.float32) * 7
    if kind == "binary":
        bits = np.unpackbits(np.asarray(store.array(name)), axis=1, count=store.space(name).dim)
        return bits.astype(np.float32) * 2 - 1
    return np.asarray(store.array(name), np.float32) * 3


def session_of(head: Path) -> InferenceSession:
    return InferenceSession(head.with_suffix(".onnx"), providers=["CPUExecutionProvider"])


def metadata_of(head: Path) -> dict[str, Any]:
    model = onnx.load(head.with_suffix(".onnx"))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    content: dict[str, Any] = json.loads(properties["embedding-head"])
    return content


def test_a_projection_gives_the_space_that_applying_it_gives(
    files: Files, tmp_path: Path, heads_cli: Invoke
) -> None:
    copy = tmp_path / "copy.h5"
    heads_cli("apply", files.store, files.projection, "-o", copy)
    with Store(copy) as store:
        fed = {name: dense(store, name) for name in ("raw", "terms")}
        (vectors,) = session_of(files.projection).run(["vectors"], fed)
        np.testing.assert_allclose(vectors, store.array("p"), atol=1e-5)
    assert vectors.shape == (240, 16)


def test_attributes_are_those_that_predicting_gives(files: Files) -> None:
    head, content = load_head(files.attributes), metadata_of(files.attributes)
    with Store(files.store) as store:
        (expected,) = predict(FeatureStores(store), head, np.ones(len(store), bool))
        places = {name: number for number, name in enumerate(content["categories"])}
        categories = np.array([places[name] for name in store.column("category")])
        fed = {"raw": dense(store, "raw"), "bits": dense(store, "bits"), "categories": categories}
    outputs = session_of(files.attributes).run(["colour_probabilities", "size_probabilities"], fed)
    for number, (name, found) in enumerate(zip(("colour", "size"), outputs, strict=True)):
        np.testing.assert_allclose(found.max(axis=1), expected.probabilities[:, number], atol=1e-5)
        for row, category in enumerate(fed["categories"]):
            classes = content["classes"][content["categories"][category]].get(name)
            best = classes[found[row].argmax()] if classes else ""
            assert best == expected.names[row, number]


def test_an_unknown_category_has_no_probabilities(files: Files) -> None:
    fed = {
        "raw": np.ones((3, 48), np.float32),
        "bits": np.ones((3, 16), np.float32),
        "categories": np.array([-1, 0, 1]),
    }
    colour, size = session_of(files.attributes).run(None, fed)
    assert (colour[0] == 0).all() and (size[0] == 0).all()
    np.testing.assert_allclose(colour[1:].sum(axis=1), 1, atol=1e-6)


def test_the_file_says_what_it_is_and_is_one(files: Files) -> None:
    content = metadata_of(files.attributes)
    assert content["inputs"] == ["raw", "bits", "categories"]
    assert content["outputs"] == ["colour_probabilities", "size_probabilities"]
    assert content["fingerprint"] == load_head(files.attributes).fingerprint
    assert content["categories"] == ["shirt", "shoe"]
    assert set(content["classes"]["shirt"]) == {"colour"}
    beside = sorted(path.name for path in files.attributes.parent.glob("a.*"))
    assert beside == ["a.jsonl", "a.md", "a.onnx", "a.png", "a.safetensors"]


@pytest.mark.parametrize("kind", ["baseline:majority", "baseline:logistic"])
def test_baselines_without_categories(
    files: Files, tmp_path: Path, heads_cli: Invoke, kind: str
) -> None:
    what = task(targets=("colour",), split=Split.parse("id", "60/20/20"))
    head = head_file(
        files.store, tmp_path / "b.safetensors", what, kind, epochs=None, batch_size=None
    )
    exported = heads_cli("export", head, "--to", "onnx", "--json")
    result = json_of(exported)
    assert exported.stderr.splitlines() == [
        f"{head}: translating the network, which takes up to a minute",
        f"{head}: comparing its results with the head's own",
    ]
    assert result["output"] == str(tmp_path / "b.onnx")
    assert result["inputs"] == ["raw"]
    assert result["outputs"] == ["colour_probabilities"]
    assert 0 <= result["largest_difference"] <= 1e-5
    assert set(metadata_of(head)["classes"]) == {""}


def test_a_blend_of_projections(files: Files, tmp_path: Path, heads_cli: Invoke) -> None:
    other = head_file(files.store, tmp_path / "o.safetensors", dim=8)
    blend = tmp_path / "b.safetensors"
    heads_cli("blend", files.projection, other, "-o", blend, "--how", "concat")
    exported = export_onnx(blend, tmp_path / "b.onnx")
    assert exported.inputs == ("raw", "terms")
    heads_cli("apply", files.store, blend, "-o", tmp_path / "copy.h5")
    with Store(tmp_path / "copy.h5") as store:
        fed = {name: dense(store, name) for name in ("raw", "terms")}
        (vectors,) = session_of(blend).run(["vectors"], fed)
        np.testing.assert_allclose(vectors, store.array("b"), atol=1e-5)


def test_results_that_differ_are_not_written(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probabilities: Callable[..., Any] = export._probabilities
    exported = export._exported

    def wrong(graph: Any) -> Any:
        monkeypatch.setattr(export, "_probabilities", lambda logits: probabilities(logits) + 1e-3)
        model = exported(graph)
        monkeypatch.setattr(export, "_probabilities", probabilities)
        return model

    monkeypatch.setattr(export, "_exported", wrong)
    with pytest.raises(HeadError, match=r"differ from torch's by 1\.0e-03.*nothing is written"):
        export_onnx(files.attributes, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported(files: Files, tmp_path: Path) -> None:
    what = task("raw", targets=("colour",), split=Split.parse("id", "60/20/20"))
    knn = head_file(
        files.store, tmp_path / "k.safetensors", what, "baseline:knn", epochs=None, batch_size=None
    )
    with pytest.raises(HeadError, match="of kind 'baseline:knn' that makes attributes can't"):
        export_onnx(knn, tmp_path / "k.onnx")
    with pytest.raises(OutputExistsError, match="exists already"):
        export_onnx(files.projection, files.projection.with_suffix(".onnx"))


def test_missing_packages_are_named(
    files: Files, tmp_path: Path, heads_cli: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PACKAGES", ("onnx", "onnx_that_is_not_there"))
    target = tmp_path / "p.onnx"
    result = heads_cli("export", files.projection, "--to", "onnx", "-o", target, exit_code=2)
    assert "needs onnx_that_is_not_there: pip install onnx_that_is_not_there" in result.stderr
    assert not target.exists()
