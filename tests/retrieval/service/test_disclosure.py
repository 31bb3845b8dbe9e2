"""What clients read of files, models that can't be loaded included: no path of this machine."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from embed.store import SpaceInfo
from retrieval.service.disclosure import folders_of_settings, shown_spec, without_folders
from retrieval.service.encoders import has_two_towers
from retrieval.service.settings import ServiceSettings
from tests.retrieval.retrieval_stores import clustered, write_store
from tests.retrieval.service.conftest import serving

HEADERS = {"X-Requested-With": "product-search"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("line 1 of /home/me/secret.jsonl is damaged", "line 1 of secret.jsonl is damaged"),
        ("no file at /a/b.h5: found '/c d/e.h5'", "no file at b.h5: found 'e.h5'"),
        ("transformers:~/models/ours, or ../../theirs", "transformers:ours, or theirs"),
        ("it lies in /a/b/", "it lies in b/"),
        ("file:///srv/a/b.csv", "file://b.csv"),
        ("/my shop/x/a.csv is gone", "a.csv is gone"),
        (
            "https://shop.example:80/a/b and s3://a/b/c",
            "https://shop.example:80/a/b and s3://a/b/c",
        ),
        ("ask /search; precision/recall of a/b/c is 1/2", None),
        ("open_clip:ViT-B-32/laion2b", None),
    ],
)
def test_paths_are_their_names(text: str, shown: str | None) -> None:
    assert without_folders(text, [Path("/my shop")]) == (text if shown is None else shown)


def test_files_in_specs_are_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "our models" / "vit").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert shown_spec("transformers:our models/vit,pool=mean") == "transformers:vit,pool=mean"
    assert shown_spec("transformers:/no where/vit") == "transformers:vit"
    assert shown_spec("open_clip:ViT-B-32@/a/w.pt") == "open_clip:ViT-B-32@w.pt"
    assert shown_spec("tfidf:analyzer=word") == "tfidf:analyzer=word"
    assert shown_spec("transformers:google/vit") == "transformers:google/vit"


def test_folders_of_all_that_is_given_are_known() -> None:
    settings = ServiceSettings(Path("/a/s.h5"), "/b/t.json", heads=(Path("/c/h"),))
    settings = replace(settings, decisions=Path("/d/d.jsonl"), image_root=Path("/e/images"))
    assert {str(each) for each in folders_of_settings(settings)} == {"/a", "/b", "/c", "/d", "/e"}


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A model whose settings are cut short."""
    folder = tmp_path / "my models" / "damaged"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": ')
    return folder


@pytest.fixture
def client(tmp_path: Path, damaged: Path) -> Iterator[httpx.Client]:
    vectors, _ = clustered(4, 3, spread=1.0)
    specs = {"gone": "transformers:/nowhere/secret/model", "damaged": f"transformers:{damaged}"}
    specs["hash"] = "classic:phash"
    spaces = {
        name: (SpaceInfo("dense", "image", spec, name, "fp32", False, 16), vectors)
        for name, spec in specs.items()
    }
    decisions = tmp_path / "my decisions" / "secret.jsonl"
    decisions.parent.mkdir()
    decisions.write_text("notes\n" * 2)
    store = write_store(tmp_path / "store.h5", spaces)
    settings = ServiceSettings(store, "0.5", "gone", decisions=decisions)
    with (
        serving(settings) as address,
        httpx.Client(base_url=address, headers=HEADERS, timeout=60) as opened,
    ):
        yield opened


def spaces_of(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """What the page is told of the spaces, once loading has failed."""
    for _ in range(1000):
        answer = client.get("/store")
        assert answer.status_code == 200, answer.text
        spaces = {each["name"]: each for each in answer.json()["spaces"]}
        if all(each["why_not"] for each in spaces.values()):
            return spaces
        time.sleep(0.02)
    raise AssertionError(spaces)


def test_models_that_can_not_be_loaded_are_told_and_nothing_else_fails(
    capfd: pytest.CaptureFixture[str], client: httpx.Client, tmp_path: Path
) -> None:
    spaces = spaces_of(client)
    assert [each["spec"] for each in spaces.values()] == [
        "transformers:model",
        "transformers:damaged",
        "classic:phash",
    ]
    for name in ("gone", "damaged"):
        assert spaces[name]["takes"] == ["id"]
    logged = capfd.readouterr().err
    assert "/nowhere/secret/model" in logged and str(tmp_path) in logged
    upload = {"image": ("a.jpg", b"\xff\xd8", "image/jpeg")}
    answers = [
        client.get("/store"),
        client.get("/match", params={"id": "r0"}),
        client.post("/search", files=upload, data={"space": "gone"}),
        client.post("/search", files=upload, data={"space": "damaged"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 409, 400, 400]
    for answer in answers:
        for secret in (str(tmp_path), "/nowhere", "my models", "my decisions"):
            assert secret not in answer.text
    assert "line 1 of secret.jsonl is damaged" in answers[1].json()["detail"]


@pytest.mark.parametrize("content", ["{", "[]", "\udcff", '{"model_type": ["clip"]}'])
def test_settings_that_can_not_be_read_are_of_no_model_with_two_towers(
    damaged: Path, content: str
) -> None:
    (damaged / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert not has_two_towers(f"transformers:{damaged}")
    assert not has_two_towers("transformers:model,mean")
