import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse

from embed.errors import OutputExistsError, SettingsError, StoreError
from embed.exchange.exporting import Format, export_store
from embed.exchange.importing import ImportSettings, import_vectors
from embed.store import Store, StoreWriter
from tests.conftest import Invoke, json_of
from tests.embed.exchange.tiny_stores import IDS, datasets, space_info, unit_vectors, write_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "s.h5")


def test_other_programs_read_what_is_written(store: Path, tmp_path: Path) -> None:
    exported = export_store(store, tmp_path / "out")
    assert list(exported.spaces) == ["single", "half", "bits", "wörter.x", "head"]
    with Store(store) as opened:
        for name in ("single", "half", "bits", "head"):
            saved = np.load(tmp_path / "out" / f"{name}.npy")
            assert saved.dtype == opened.array(name).dtype
            np.testing.assert_array_equal(saved, opened.array(name))
        matrix = scipy.sparse.load_npz(tmp_path / "out/wörter.x.npz")
        assert isinstance(matrix, scipy.sparse.csr_array)
        assert (matrix != opened.sparse("wörter.x")).nnz == 0
    items = pl.read_parquet(tmp_path / "out/items.parquet")
    assert items.columns == ["id", "title", "count", "price", "_row", "__row"]
    assert items["id"].to_list() == IDS
    assert items["title"].to_list()[:3] == ["1", "2", "007"]
    assert items["__row"].to_list() == list(range(6))
    record = json.loads((tmp_path / "out/spaces.json").read_text(encoding="utf-8"))
    space = record["spaces"]["half"]
    assert (space["kind"], space["modality"], space["precision"]) == ("dense", "text", "fp16")


def test_a_round_trip_changes_nothing(store: Path, tmp_path: Path) -> None:
    before, path = datasets(store), store
    for turn in range(2):
        export_store(path, tmp_path / f"out{turn}")
        path = tmp_path / f"t{turn}.h5"
        imported = import_vectors(ImportSettings(tmp_path / f"out{turn}", path))
        assert imported.warnings == ()
        assert datasets(path) == before
    first, second = (tmp_path / f"out{turn}" for turn in range(2))
    names = sorted(file.relative_to(first) for file in first.rglob("*") if file.is_file())
    assert len(names) == 13
    assert [(first / name).read_bytes() for name in names if name.suffix != ".npz"] == [
        (second / name).read_bytes() for name in names if name.suffix != ".npz"
    ]


def test_blocks_are_joined_in_order(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embed.exchange.record.BLOCK_BYTES", 40)
    monkeypatch.setattr("embed.exchange.exporting.ROWS_PER_BLOCK", 2)
    export_store(store, tmp_path / "out")
    import_vectors(ImportSettings(tmp_path / "out", tmp_path / "t.h5"))
    assert datasets(tmp_path / "t.h5") == datasets(store)


def test_a_folder_is_there_whole_or_not_at_all(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_store(store, tmp_path / "out", spaces=("bits",))
    with pytest.raises(OutputExistsError, match="out exists already"):
        export_store(store, tmp_path / "out")
    with pytest.raises(StoreError, match="no space 'x'"):
        export_store(store, tmp_path / "out", spaces=("x",), force=True)
    damaged = tmp_path / "damaged.h5"
    with StoreWriter(damaged, "", {}) as writer:  # its second space can't be read
        writer.write_items(np.array(["a"], object), {}, {"image": np.zeros((1, 16), np.uint8)})
        writer.write_array("a", space_info("dense", 2), np.eye(1, 2, dtype=np.float32))
        writer.write_array("b", space_info("sparse", 2), np.eye(1, 2, dtype=np.float32))
    with pytest.raises(KeyError):
        export_store(damaged, tmp_path / "out", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.h5", "out", "s.h5"]
    assert (tmp_path / "out/bits.npy").is_file()
    export_store(store, tmp_path / "out", spaces=("half",), force=True)
    assert not (tmp_path / "out/bits.npy").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.h5", "out", "s.h5"]


def test_force_replaces_nothing_but_an_export(store: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"x")
    with pytest.raises(OutputExistsError, match="holds no export"):
        export_store(store, tmp_path / "photos", force=True)
    assert (tmp_path / "photos/a.jpg").exists()


@pytest.mark.parametrize("foreign", ["spaces.json", "metadata/notes.txt", "metadata/a.parquet"])
def test_what_looks_like_an_export_is_kept(store: Path, tmp_path: Path, foreign: str) -> None:
    path = tmp_path / "photos" / foreign
    path.parent.mkdir(parents=True)
    path.write_text('{"spaces": ["mine"]}')
    with pytest.raises(OutputExistsError, match="holds no export"):
        export_store(store, tmp_path / "photos", force=True)
    assert path.exists()


@pytest.mark.parametrize("layout", ["folder", "clip-retrieval"])
@pytest.mark.parametrize("foreign", ["notes.txt", "mine/a.jpg", "INSIDE/mine.npy", "link"])
def test_what_lies_in_an_export_besides_is_kept(
    store: Path, tmp_path: Path, layout: Format, foreign: str
) -> None:
    out = tmp_path / "out"
    export_store(store, out, spaces=("single",), layout=layout)
    path = out / foreign.replace("INSIDE", "hashes" if layout == "folder" else "img_emb")
    if foreign == "link":
        path.symlink_to(tmp_path)
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    with pytest.raises(OutputExistsError, match="which is no part of the export in it"):
        export_store(store, out, spaces=("single",), layout=layout, force=True)
    assert path.exists()
    path.unlink()
    if not foreign.startswith("mine/"):
        export_store(store, out, spaces=("single",), layout=layout, force=True)


def test_a_whole_export_is_replaced(store: Path, tmp_path: Path) -> None:
    export_store(store, tmp_path / "out")
    export_store(store, tmp_path / "out", spaces=("single",), layout="clip-retrieval", force=True)
    export_store(store, tmp_path / "out", force=True)
    assert (tmp_path / "out/wörter.x.vocabulary.parquet").exists()
    assert not (tmp_path / "out/metadata").exists()


def test_clip_retrievals_layout(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s.h5", "", {}) as writer:
        columns = {
            "title": np.array(["x", "y"], object),
            "image": np.array(["1.jpg", "2.jpg"], object),
            "price": np.array([1.0, 2.0]),
        }
        hashes = {"image": np.zeros((2, 16), np.uint8)}
        writer.write_items(np.array(["p", "q"], object), columns, hashes)
        writer.write_array("i", space_info("dense", 4), unit_vectors(2, 4))
        writer.write_array("t", space_info("dense", 4, modality="text"), unit_vectors(2, 4, 1))
        writer.write_array("u", space_info("dense", 4), unit_vectors(2, 4, 2))
    out = tmp_path / "out"
    with pytest.raises(SettingsError, match="'i' and 'u' are both image; choose one with --space"):
        export_store(tmp_path / "s.h5", out, layout="clip-retrieval")
    export_store(tmp_path / "s.h5", out, spaces=("i", "t"), layout="clip-retrieval")
    np.testing.assert_array_equal(np.load(out / "img_emb/img_emb_0.npy"), unit_vectors(2, 4))
    np.testing.assert_array_equal(np.load(out / "text_emb/text_emb_0.npy"), unit_vectors(2, 4, 1))
    metadata = pl.read_parquet(out / "metadata/metadata_0.parquet")
    assert set(metadata.columns) == {"id", "image_path", "caption", "price"}
    assert metadata["image_path"].to_list() == ["1.jpg", "2.jpg"]
    import_vectors(ImportSettings(out, tmp_path / "t.h5"))
    with Store(tmp_path / "t.h5") as store:
        assert store.ids.tolist() == ["p", "q"]
        assert {name: info.modality for name, info in store.spaces.items()} == {
            "image": "image",
            "text": "text",
        }


def test_spaces_without_a_place_in_clip_retrieval(store: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'bits' is binary"):
        export_store(store, tmp_path / "out", spaces=("bits",), layout="clip-retrieval")
    assert not (tmp_path / "out").exists()


def test_command_lines(store: Path, tmp_path: Path, embed_cli: Invoke) -> None:
    out = tmp_path / "out"
    result = json_of(embed_cli("export", store, "-o", out, "--json"))
    assert (result["folder"], result["num_items"]) == (str(out), 6)
    assert result["spaces"]["bits"]["dim"] == 24
    assert "exists already" in embed_cli("export", store, "-o", out, exit_code=1).stderr
    only = embed_cli("export", store, "-o", out, "--space", "half", "--force")
    assert "half" in only.stdout
    assert "bits" not in only.stdout
    back = json_of(embed_cli("import", out, "-o", tmp_path / "t.h5", "--json"))
    assert list(back["spaces"]) == ["half"]
    embed_cli("import", out, "-o", tmp_path / "t.h5", exit_code=1)
    embed_cli("import", out, exit_code=2)
