"""The files of a head: read as they were written, and refused where they are something else."""

import json
import pickle
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from embed.errors import HeadError, OutputExistsError, SettingsError
from embed.store import Store
from heads.features import FeatureStores
from heads.head import load_head, save_head
from heads.run import HeadFiles, train_to_files
from heads.settings import head_settings
from tests.heads.conftest import head_file, task, train


def test_a_head_is_read_as_it_was_written(store_path: Path, tmp_path: Path) -> None:
    trained = train(store_path)
    save_head(tmp_path / "h.safetensors", trained.info, trained.network)
    head = load_head(tmp_path / "h.safetensors")
    save_head(tmp_path / "again.safetensors", trained.info, trained.network)
    assert load_head(tmp_path / "again.safetensors").fingerprint == head.fingerprint
    assert head.info == trained.info
    for name, weights in trained.network.state_dict().items():
        assert torch.equal(head.network.state_dict()[name], weights)


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.safetensors"
    with pytest.raises(HeadError, match="no head at"):
        load_head(path)
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    for other in (pickle.dumps({"a": 1}), png, b"id,label\n1,shoe\n", b""):
        path.write_bytes(other)
        with pytest.raises(HeadError, match=r"since it is no safetensors file: .* wrote$"):
            load_head(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(HeadError, match="tensors of something else"):
        load_head(path)
    save_file({"a": torch.zeros(2)}, path, {"embedding-head": '{"format_version": 1}'})
    with pytest.raises(HeadError, match="format version 1: expected version 2; train it again"):
        load_head(path)


def test_a_store_in_the_place_of_a_head(store_path: Path) -> None:
    with pytest.raises(HeadError, match="looks like a store: is STORE in the place of HEAD"):
        load_head(store_path)


def test_a_cut_head_is_refused(store_path: Path, tmp_path: Path) -> None:
    path = head_file(store_path, tmp_path / "h.safetensors")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(HeadError, match="is not a head, or it is damaged"):
        load_head(path)


def test_a_head_of_the_other_kind_is_refused(store_path: Path, tmp_path: Path) -> None:
    vectors = head_file(store_path, tmp_path / "v.safetensors")
    what = task(targets=("colour",))
    attributes = head_file(store_path, tmp_path / "a.safetensors", what, "attributes")
    with pytest.raises(HeadError, match=r"makes vectors and predicts nothing.*heads apply"):
        load_head(vectors, "attributes")
    with pytest.raises(HeadError, match=r"predicts colour and makes no space.*heads predict"):
        load_head(attributes, "vectors")


def test_a_notebook_trains_into_the_same_files(store_path: Path, tmp_path: Path) -> None:
    output, settings = tmp_path / "h.safetensors", head_settings("projection", {"epochs": 2})
    with Store(store_path) as store:
        stores = FeatureStores(store)

        def run(path: Path) -> None:
            train_to_files(stores, task(), settings.kind, settings.training, path)

        run(output)
        files = HeadFiles(output)
        assert load_head(output).info.metrics["epoch"] <= 2
        assert len(files.history.read_text().splitlines()) == 2
        assert files.picture.read_bytes().startswith(b"\x89PNG")
        output.unlink()
        with pytest.raises(OutputExistsError, match=r"h\.jsonl exists already"):
            run(output)
        with pytest.raises(SettingsError, match=r"is a \.safetensors file: found -o h\.bin"):
            run(Path("h.bin"))
    assert not output.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", 7),
        ("spaces", ["raw"]),
        ("targets", "label"),
        ("training", None),
        ("num_train", "9"),
        ("metrics", {"row_f1": "high"}),
        ("classes", None),
        ("intervals", []),
        ("intervals", {"row_f1": 0.5}),
        ("details", None),
        ("members", [7]),
    ],
)
def test_json_of_another_shape_is_refused(
    store_path: Path, tmp_path: Path, field: str, value: object
) -> None:
    path = head_file(store_path, tmp_path / "h.safetensors")
    with safetensors.safe_open(path, "pt") as file:
        content = json.loads(file.metadata()["embedding-head"])
    save_file(load_file(path), path, {"embedding-head": json.dumps({**content, field: value})})
    with pytest.raises(HeadError, match=f"it is damaged: its '{field}'"):
        load_head(path)


@pytest.mark.parametrize("content", ["null", "[]", "7", "{"])
def test_what_says_nothing_of_itself_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "h.safetensors"
    save_file({"a": torch.zeros(2)}, path, {"embedding-head": content})
    with pytest.raises(HeadError, match="is not a head, or it is damaged"):
        load_head(path)
