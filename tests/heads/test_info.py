"""`python -m heads info`: a head as its file says it, for people and for machines."""

import re
from pathlib import Path

import pytest

from embed.rows import Split
from heads.describing import describe_head
from heads.head import load_head
from heads.info import HeadInfo
from tests.conftest import Invoke, json_of
from tests.heads.conftest import FINGERPRINT, head_file, task

BY_CATEGORY = task(
    targets=("colour", "size"),
    category="category",
    split=Split.parse("id", "60/20/20", stratify="category"),
)


def test_a_projection(store_path: Path, tmp_path: Path, heads_cli: Invoke) -> None:
    head = head_file(store_path, tmp_path / "h.safetensors", task("raw", "bits"), dim=32)
    printed, info = heads_cli("info", head).stdout, load_head(head).info
    assert "kind          projection" in printed
    assert "brings near   label" in printed
    assert f"{info.num_train:,} rows of {info.num_classes:,} classes" in printed
    assert "60/20/20 into train/val/test by a hash of `label`, with seed 0" in printed
    settings = dict(re.findall(r"^ +([a-z-]+) +(\S+) *$", printed, re.MULTILINE))
    assert settings["body"] == "linear" and settings["dim"] == "32"
    assert settings["learning-rate"] == "0.0005"
    useless = {"max-per-class", "momentum", "milestones", "gamma", "depth", "triplet-mining"}
    assert not useless & settings.keys()
    assert f"parameters    {(48 + 16 + 1) * 32:,}\n" in printed
    assert f"size          {head.stat().st_size:,} bytes" in printed
    assert FINGERPRINT in printed
    assert "product 0, product 1" in printed
    assert f"{info.metrics['row_f1']:.4f}" in printed


def test_attributes(store_path: Path, tmp_path: Path, heads_cli: Invoke) -> None:
    head = head_file(store_path, tmp_path / "h.safetensors", BY_CATEGORY, "attributes")
    printed = heads_cli("info", head).stdout
    assert "predicts      colour and size" in printed
    assert "by category   category" in printed
    assert printed.count("shirt") == 2  # its classes, and its scores
    assert "attribute score" in printed and "macro F1" in printed


@pytest.mark.parametrize("kind", ["projection", "attributes", "baseline:knn"])
def test_machines_get_all_of_it(
    store_path: Path, tmp_path: Path, heads_cli: Invoke, kind: str
) -> None:
    what = task() if kind == "projection" else BY_CATEGORY
    options = {"epochs": None, "batch_size": None} if kind.startswith("baseline") else {}
    head = head_file(store_path, tmp_path / "h.safetensors", what, kind, **options)
    found, loaded = json_of(heads_cli("info", head, "--json")), load_head(head)
    assert found["fingerprint"] == loaded.fingerprint
    assert found["num_classes"] == loaded.info.num_classes
    assert found["num_bytes"] == head.stat().st_size
    assert found["num_parameters"] == describe_head(head).num_parameters > 0
    assert found["output"] == ("vectors" if kind == "projection" else "attributes")
    of_file = {"head", "output", "fingerprint", "num_bytes", "num_parameters", "num_classes"}
    read = HeadInfo.from_json({k: v for k, v in found.items() if k not in of_file})
    assert read == loaded.info


def test_a_blend_names_its_heads(store_path: Path, tmp_path: Path, heads_cli: Invoke) -> None:
    heads = [
        head_file(store_path, tmp_path / f"{dim}.safetensors", task(space), dim=dim)
        for space, dim in (("raw", 8), ("bits", 4))
    ]
    blend = tmp_path / "b.safetensors"
    heads_cli("blend", *heads, "-o", blend, "--how", "concat")
    printed = heads_cli("info", blend).stdout
    members = json_of(heads_cli("info", blend, "--json"))["members"]
    assert [member["spaces"][0]["name"] for member in members] == ["raw", "bits"]
    for head in heads:
        assert load_head(head).fingerprint in printed


def test_what_is_no_head(tmp_path: Path, heads_cli: Invoke) -> None:
    (tmp_path / "h.safetensors").write_text("no")
    result = heads_cli("info", tmp_path / "h.safetensors", exit_code=1)
    assert "is not a head, since it is no safetensors file" in result.stderr
    assert result.stderr.count("\n") == 1
