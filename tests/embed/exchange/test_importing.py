import json
import os
import pickle
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float, Shaped

from embed.errors import IdError, OutputExistsError, SettingsError, SourceError, StoreError
from embed.exchange.exporting import export_store
from embed.exchange.importing import Imported, ImportSettings, import_vectors
from embed.parts import PartsFolder
from embed.run import RunSettings, run
from embed.store import Store, StoreWriter
from tests.conftest import Invoke, json_of
from tests.embed.exchange.tiny_stores import datasets, space_info, unit_vectors, write_store

IDS = ["c", "a", "ü", "b"]


@pytest.fixture
def items(tmp_path: Path) -> Path:
    return write_items(tmp_path / "items.csv", IDS)


def write_items(path: Path, ids: list[str]) -> Path:
    lines = [f"{item_id},00{row},{row}.5" for row, item_id in enumerate(ids)]
    path.write_text("\n".join(["id,code,price", *lines]) + "\n", encoding="utf-8")
    return path


def save(path: Path, vectors: Shaped[np.ndarray, "..."]) -> str:
    np.save(path, vectors)
    return f"{path.stem}={path}"


def take(items: Path, output: Path, *vectors: str, **options: object) -> Imported:
    settings = ImportSettings(items, output, vectors=vectors, **options)  # type: ignore[arg-type]
    return import_vectors(settings)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_unit_vectors_are_kept_to_the_last_bit(tmp_path: Path, items: Path, dtype: Any) -> None:
    vectors = np.asarray(unit_vectors(4, 7), dtype)
    given = save(tmp_path / "clip.npy", vectors)
    imported = take(items, tmp_path / "s.h5", given, modalities={"clip": "text"})
    assert imported.warnings == ()
    with Store(tmp_path / "s.h5") as store:
        assert store.array("clip").dtype == dtype
        assert store.array("clip").tobytes() == vectors.tobytes()
        assert store.ids.tolist() == IDS
        assert store.column("code").tolist() == ["000", "001", "002", "003"]
        assert store.column("price").tolist() == [0.5, 1.5, 2.5, 3.5]
        info = store.space("clip")
        assert (info.spec, info.kind, info.modality) == ("imported:clip.npy", "dense", "text")
        assert (info.precision, info.normalized, info.dim) == (
            "fp16" if dtype == np.float16 else "fp32",
            True,
            7,
        )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_other_lengths_are_scaled_with_a_warning(
    tmp_path: Path, items: Path, dtype: object
) -> None:
    scale = np.array([[3.0], [1e-4], [0], [200]])
    vectors = (unit_vectors(4, 7) * scale).astype(dtype)
    imported = take(items, tmp_path / "s.h5", save(tmp_path / "v.npy", np.asfortranarray(vectors)))
    assert "vectors of space 'v' were scaled to length 1" in imported.warnings
    assert (
        "1 vectors of space 'v' are zero, that of 'ü' the first: searches refuse the space while "
        "they are among the rows" in imported.warnings
    )
    with Store(tmp_path / "s.h5") as store:
        stored = store.array("v")
        assert stored.dtype == (np.float16 if dtype == np.float16 else np.float32)
        wide = vectors.astype(np.float64)
        lengths = np.linalg.norm(wide, axis=1, keepdims=True)
        expected = wide / np.where(lengths, lengths, 1)
        np.testing.assert_allclose(stored, expected, atol=5e-4 if dtype == np.float16 else 1e-7)
    export_store(tmp_path / "s.h5", tmp_path / "out")
    again = take(items, tmp_path / "t.h5", f"v={tmp_path / 'out/v.npy'}")
    assert again.spaces["v"].fingerprint == imported.spaces["v"].fingerprint
    assert not any("scaled" in warning for warning in again.warnings)


def test_lengths_beyond_the_squares_of_float64(tmp_path: Path, items: Path) -> None:
    vectors = np.array([[3e300, 4e300], [3e-320, 0], [0, -1e200], [1e308, 1e308]])
    take(items, tmp_path / "s.h5", save(tmp_path / "v.npy", vectors))
    with Store(tmp_path / "s.h5") as store:
        half = np.sqrt(0.5)
        expected = [[0.6, 0.8], [1, 0], [0, -1], [half, half]]
        np.testing.assert_allclose(store.array("v"), np.array(expected), rtol=1e-6)


def test_bits_and_sparse_rows(tmp_path: Path, items: Path) -> None:
    codes = np.arange(8, dtype=np.uint8).reshape(4, 2)
    rows = np.array([[0, 3, 4], [0, 0, 0], [1, 0, 0], [0, 0, 2]], np.float64)
    scipy.sparse.save_npz(tmp_path / "w.npz", scipy.sparse.csr_array(rows))
    bits = save(tmp_path / "bits.npy", codes)
    imported = take(items, tmp_path / "s.h5", bits, f"w={tmp_path / 'w.npz'}")
    assert "vectors of space 'w' were scaled to length 1" in imported.warnings
    assert (
        "1 vectors of space 'w' are zero, that of 'a' the first: their score to anything is 0"
        in imported.warnings
    )
    with Store(tmp_path / "s.h5") as store:
        np.testing.assert_array_equal(store.array("bits"), codes)
        assert (store.space("bits").kind, store.space("bits").dim) == ("binary", 16)
        assert not store.space("bits").normalized
        expected = [[0, 0.6, 0.8], [0, 0, 0], [1, 0, 0], [0, 0, 1]]
        np.testing.assert_allclose(store.sparse("w").toarray(), np.array(expected), rtol=1e-6)
        assert store.sparse("w").dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_by_row_and_id(
    tmp_path: Path, items: Path, bad: float
) -> None:
    vectors = unit_vectors(4, 3)
    vectors[2, 1] = bad
    with pytest.raises(SourceError, match=r"row 2 \(counted from 0\), of item 'ü'"):
        take(items, tmp_path / "s.h5", save(tmp_path / "v.npy", vectors))
    scipy.sparse.save_npz(tmp_path / "v.npz", scipy.sparse.csr_array(vectors))
    with pytest.raises(SourceError, match=r"row 2 \(counted from 0\), of item 'ü'"):
        take(items, tmp_path / "s.h5", str(tmp_path / "v.npz"))
    assert not (tmp_path / "s.h5").exists()


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("trap"),)  # type: ignore[return-value]


def hostile(path: Path, kind: str) -> None:
    vectors = unit_vectors(4, 3)
    if kind == "objects":
        np.save(path, np.array([Trap()] * 4, object), allow_pickle=True)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Trap()))
    elif kind == "truncated":
        np.save(path, vectors)
        path.write_bytes(path.read_bytes()[:-1])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "header":
        np.save(path, vectors)
        path.write_bytes(path.read_bytes().replace(b"(4, 3)", b"(4, 3,"))
    elif kind == "huge":
        np.save(path, vectors)
        path.write_bytes(path.read_bytes().replace(b"(4, 3), }        ", b"(9999999999, 3)} "))
    else:
        shapes = {"line": vectors[0], "cube": vectors[None], "integers": vectors.astype(int)}
        np.save(path, (shapes | {"narrow": vectors[:, :0], "complex": vectors + 1j})[kind])


@pytest.mark.parametrize(
    "kind",
    ["objects", "pickle", "truncated", "empty", "header", "huge", "line", "cube", "integers",
     "narrow", "complex"],
)  # fmt: skip
def test_hostile_arrays(
    tmp_path: Path, items: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hostile(tmp_path / "v.npy", kind)
    with pytest.raises(SourceError, match=r"v\.npy (can't be read|should hold one row)"):
        take(items, tmp_path / "s.h5", "v.npy")
    assert not (tmp_path / "trap").exists()
    assert not (tmp_path / "s.h5").exists()


def test_hostile_sparse_files(tmp_path: Path, items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matrix = scipy.sparse.csr_array(unit_vectors(4, 3))
    path = tmp_path / "v.npz"
    for key, value in (("indices", matrix.indices + 7), ("indptr", matrix.indptr[::-1])):
        parts = {key: getattr(matrix, key) for key in ("data", "indices", "indptr", "shape")}
        np.savez(path, format=np.array(b"csr"), **(parts | {key: value}))
        with pytest.raises(SourceError, match="can't be read as a sparse matrix"):
            take(items, tmp_path / "s.h5", "v.npz")
    objects = np.array([Trap()], object)
    np.savez(path, format=objects, data=objects, indices=objects, indptr=objects, shape=objects)
    with pytest.raises(SourceError, match="can't be read as a sparse matrix"):
        take(items, tmp_path / "s.h5", "v.npz")
    np.savez(path, x=np.zeros(3))
    with pytest.raises(SourceError, match="can't be read as a sparse matrix"):
        take(items, tmp_path / "s.h5", "v.npz")
    path.write_bytes(b"PK")
    with pytest.raises(SourceError, match="can't be read as a sparse matrix"):
        take(items, tmp_path / "s.h5", "v.npz")
    scipy.sparse.save_npz(path, matrix.tocsc())
    with pytest.raises(SourceError, match="found csc"):
        take(items, tmp_path / "s.h5", "v.npz")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("name", ["../x", "..", "a/b", ""])
def test_names_that_lead_elsewhere(tmp_path: Path, items: Path, name: str) -> None:
    save(tmp_path / "v.npy", unit_vectors(4, 3))
    with pytest.raises(StoreError, match="a space can't be named"):
        take(items, tmp_path / "s.h5", f"{name}={tmp_path / 'v.npy'}")


def test_numbers_of_rows_must_agree(tmp_path: Path, items: Path) -> None:
    with pytest.raises(SourceError, match=r"v\.npy has 5 rows for 4 items"):
        take(items, tmp_path / "s.h5", save(tmp_path / "v.npy", unit_vectors(5, 3)))


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["a", "b", "a", "c"], "id 'a'"), (["a", "", "b", "c"], "empty id")],
)
def test_ids_must_be_told_apart(tmp_path: Path, ids: list[str], message: str) -> None:
    given = save(tmp_path / "v.npy", unit_vectors(4, 3))
    with pytest.raises(SourceError, match=message):
        take(write_items(tmp_path / "i.csv", ids), tmp_path / "s.h5", given)


def test_items_without_an_id_column(tmp_path: Path) -> None:
    pl.DataFrame({"sku": ["a", "b"]}).write_parquet(tmp_path / "i.parquet")
    given = save(tmp_path / "v.npy", unit_vectors(2, 3))
    with pytest.raises(SourceError, match="no column 'id': its columns are sku"):
        take(tmp_path / "i.parquet", tmp_path / "s.h5", given)
    take(tmp_path / "i.parquet", tmp_path / "s.h5", given, id_column="sku")


def test_nothing_is_replaced_unasked(tmp_path: Path, items: Path) -> None:
    given = save(tmp_path / "v.npy", unit_vectors(4, 3))
    output = tmp_path / "s.h5"
    take(items, output, given)
    with pytest.raises(OutputExistsError, match="exists already"):
        take(items, output, given)
    with pytest.raises(OutputExistsError, match="has a space 'v' already"):
        take(items, output, given, into=True)
    other = save(tmp_path / "v.npy", unit_vectors(4, 3, seed=1))
    take(items, output, other, into=True, force=True)
    with Store(output) as store:
        np.testing.assert_array_equal(store.array("v"), unit_vectors(4, 3, seed=1))
        assert list(store.spaces) == ["v"]


def test_settings_that_do_not_go_together(tmp_path: Path, items: Path) -> None:
    output, given = tmp_path / "s.h5", save(tmp_path / "v.npy", unit_vectors(4, 3))
    with pytest.raises(SettingsError, match="--vectors"):
        take(items, output)
    with pytest.raises(SettingsError, match="two files are named 'v'"):
        take(items, output, given, given)
    with pytest.raises(SettingsError, match="--modality w: no --vectors has this name"):
        take(items, output, given, modalities={"w": "text"})
    with pytest.raises(SettingsError, match="brings its own vectors"):
        take(tmp_path, output, given)
    with pytest.raises(SourceError, match="it is neither"):
        take(tmp_path, output)
    with pytest.raises(SourceError, match="no vectors at"):
        take(items, output, "nothing.npy")
    with pytest.raises(SourceError, match=r"vectors come in \.npy files"):
        take(items, output, "v=items.csv")


@settings(max_examples=20)
@given(data=st.data())
def test_a_join_by_id_does_not_depend_on_the_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("join")
    text = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=4)
    ids = data.draw(st.lists(text, min_size=1, max_size=12, unique=True))
    order = data.draw(st.permutations(range(len(ids))))
    vectors = unit_vectors(len(ids), 3)
    matrix = scipy.sparse.csr_array(np.eye(len(ids), dtype=np.float32))
    scipy.sparse.save_npz(folder / "w.npz", matrix[order])
    pl.DataFrame({"id": ids}, schema={"id": pl.String}).write_parquet(folder / "store.parquet")
    shuffled = pl.DataFrame({"id": [ids[row] for row in order]}, schema={"id": pl.String})
    shuffled.write_parquet(folder / "shuffled.parquet")
    first = take(folder / "store.parquet", folder / "s.h5", save(folder / "v.npy", vectors))
    again = save(folder / "again.npy", vectors[order])
    second = take(
        folder / "shuffled.parquet", folder / "s.h5", again, f"w={folder / 'w.npz'}", into=True
    )
    assert first.spaces["v"].fingerprint == second.spaces["again"].fingerprint
    with Store(folder / "s.h5") as store:
        assert store.ids.tolist() == ids
        np.testing.assert_array_equal(store.array("again"), vectors)
        assert (store.sparse("w") != matrix).nnz == 0


def test_joining_a_store_needs_every_id_of_it(tmp_path: Path, items: Path) -> None:
    take(items, tmp_path / "s.h5", save(tmp_path / "v.npy", unit_vectors(4, 3)))
    before = datasets(tmp_path / "s.h5")
    given = save(tmp_path / "w.npy", unit_vectors(4, 3))
    others = write_items(tmp_path / "others.csv", ["c", "a", "x", "b"])
    with pytest.raises(IdError, match=r"no item 'ü' \(1 of the 4 items"):
        take(others, tmp_path / "s.h5", given, into=True)
    assert datasets(tmp_path / "s.h5") == before
    more = write_items(tmp_path / "more.csv", ["x", "b", "ü", "y", "a", "c"])
    wide = save(tmp_path / "w.npy", unit_vectors(6, 3))
    imported = take(more, tmp_path / "s.h5", wide, into=True)
    assert "2 items of" in imported.warnings[0]
    assert imported.warnings[0].endswith("were left out: x, y")
    with Store(tmp_path / "s.h5") as store:
        np.testing.assert_array_equal(store.array("w"), unit_vectors(6, 3)[[5, 4, 2, 1]])
    after = datasets(tmp_path / "s.h5")
    assert {key: after[key] for key in before if key != "spaces"} == {
        key: before[key] for key in before if key != "spaces"
    }


def test_a_table_that_was_sorted_since_still_fits(tmp_path: Path) -> None:
    write_store(tmp_path / "s.h5")
    export_store(tmp_path / "s.h5", tmp_path / "out")
    path = tmp_path / "out/items.parquet"
    pl.read_parquet(path).sort("id").write_parquet(path)
    take(tmp_path / "out", tmp_path / "t.h5")
    assert datasets(tmp_path / "t.h5") == datasets(tmp_path / "s.h5")
    pl.read_parquet(path).head(5).write_parquet(path)
    with pytest.raises(SourceError, match="should hold each of 0 to 5 once"):
        take(tmp_path / "out", tmp_path / "u.h5")
    pl.read_parquet(path).drop("__row").write_parquet(path)
    with pytest.raises(SourceError, match="no column '__row'"):
        take(tmp_path / "out", tmp_path / "u.h5")


def test_an_export_without_ids(tmp_path: Path) -> None:
    write_store(tmp_path / "s.h5")
    export_store(tmp_path / "s.h5", tmp_path / "out")
    path = tmp_path / "out/items.parquet"
    pl.read_parquet(path).rename({"id": "sku"}).write_parquet(path)
    with pytest.raises(SourceError, match=r"items\.parquet has no column 'id'"):
        take(tmp_path / "out", tmp_path / "t.h5")


def test_vectors_that_were_altered_since_lose_their_encoder(tmp_path: Path) -> None:
    write_store(tmp_path / "s.h5")
    export_store(tmp_path / "s.h5", tmp_path / "out")
    altered = np.load(tmp_path / "out/head.npy")
    altered[0] = altered[1]
    np.save(tmp_path / "out/head.npy", altered)
    imported = take(tmp_path / "out", tmp_path / "t.h5")
    assert "space 'head' is not what was exported: it is taken as imported" in imported.warnings
    info = imported.spaces["head"]
    assert info.spec == "imported:head.npy"
    assert info.fingerprint != "f" * 32
    assert json.loads(info.training) == [{"group": "g"}]  # what it has seen, it has seen
    with Store(tmp_path / "t.h5") as store:
        assert store.seen("head").tolist() == [True, False] * 3
        assert store.space("single").spec == "classic:test"


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('"format_version": 1', '"format_version": 2', SourceError),
        ('"dim": 24', '"dim": "24"', SourceError),
        ('"kind": "binary"', '"kind": "exotic"', SourceError),
        ('"bits": {', '"../bits": {', StoreError),
        ('"vocabulary"', '"../../vocabulary"', StoreError),
        ('"image",', '"../image",', SourceError),
        ('"num_items": 6', '"num_items": null', SourceError),
        ("{", "", SourceError),
    ],
)
def test_a_record_is_not_taken_on_trust(
    tmp_path: Path, old: str, new: str, error: type[Exception]
) -> None:
    write_store(tmp_path / "s.h5")
    export_store(tmp_path / "s.h5", tmp_path / "out")
    record = tmp_path / "out/spaces.json"
    text = record.read_text(encoding="utf-8")
    assert old in text
    record.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(error):
        take(tmp_path / "out", tmp_path / "t.h5")
    assert not (tmp_path / "t.h5").exists()


def write_clip(folder: Path, heights: dict[str, int], digits: int = 1) -> Float[np.ndarray, "n d"]:
    """clip-retrieval's output: half precision, pandas-like tables, numbers filled up with zeros."""
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    vectors = unit_vectors(sum(heights.values()), 4).astype(np.float16)
    start = 0
    for number, height in heights.items():
        rows = range(start, start + height)
        shard = number.zfill(digits)
        np.save(folder / f"img_emb/img_emb_{shard}.npy", vectors[start : start + height])
        np.save(folder / f"text_emb/text_emb_{shard}.npy", -vectors[start : start + height])
        frame = pl.DataFrame(
            {
                "image_path": [f"images/{row}.jpg" for row in rows],
                "caption": [f"caption {row}" if row % 2 else None for row in rows],
                "width": [row if row % 3 else None for row in rows],
            }
        )
        frame.write_parquet(folder / f"metadata/metadata_{shard}.parquet")
        start += height
    return vectors


@pytest.mark.parametrize("digits", [1, 2])
def test_clip_retrievals_shards_go_by_number(tmp_path: Path, digits: int) -> None:
    vectors = write_clip(tmp_path / "clip", {str(n): n % 3 + 1 for n in range(12)}, digits)
    imported = take(tmp_path / "clip", tmp_path / "s.h5")
    assert imported.warnings == ()
    with Store(tmp_path / "s.h5") as store:
        assert store.ids.tolist() == [f"images/{row}.jpg" for row in range(len(vectors))]
        np.testing.assert_array_equal(store.array("image"), vectors)
        np.testing.assert_array_equal(store.array("text"), -vectors)
        assert store.column("caption")[:3].tolist() == ["", "caption 1", ""]
        np.testing.assert_array_equal(store.column("width")[:3], [np.nan, 1, 2])
        assert [info.modality for info in store.spaces.values()] == ["image", "text"]


def test_clip_retrievals_shards_must_fit(tmp_path: Path) -> None:
    folder, output = tmp_path / "clip", tmp_path / "s.h5"
    write_clip(folder, {"0": 2, "1": 3})
    np.save(folder / "text_emb/text_emb_1.npy", unit_vectors(2, 4).astype(np.float16))
    with pytest.raises(SourceError, match=r"text_emb_1\.npy has 2 rows and .*metadata_1.* 3"):
        take(folder, output)
    np.save(folder / "text_emb/text_emb_1.npy", unit_vectors(3, 5).astype(np.float16))
    with pytest.raises(SourceError, match="must be alike"):
        take(folder, output)
    (folder / "text_emb/text_emb_1.npy").unlink()
    with pytest.raises(SourceError, match=r"metadata_1\.parquet has no counterpart"):
        take(folder, output)
    np.save(folder / "text_emb/text_emb_01.npy", unit_vectors(3, 4).astype(np.float16))
    with pytest.raises(SourceError, match="no column 'sku'"):
        take(folder, output, id_column="sku")
    np.save(folder / "text_emb/text_emb_1.npy", unit_vectors(3, 4).astype(np.float16))
    with pytest.raises(SourceError, match="which is it"):
        take(folder, output)


def test_clip_retrievals_ids(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip", {"0": 3})
    path = tmp_path / "clip/metadata/metadata_0.parquet"
    frame = pl.read_parquet(path)
    frame.with_columns(id=pl.Series([7, 8, 9])).write_parquet(path)
    take(tmp_path / "clip", tmp_path / "s.h5")
    with Store(tmp_path / "s.h5") as store:
        assert store.ids.tolist() == ["7", "8", "9"]
        assert store.columns == ["image_path", "caption", "width"]
    frame.with_columns(id=pl.Series([7, 8, 7])).write_parquet(path)
    with pytest.raises(IdError, match="id '7' stands in row 0 and again in row 2"):
        take(tmp_path / "clip", tmp_path / "t.h5")
    frame.with_columns(id=pl.Series([7, None, 8])).write_parquet(path)
    with pytest.raises(IdError, match="'id' of row 1 is ''"):
        take(tmp_path / "clip", tmp_path / "t.h5")


def test_runs_go_on_from_an_imported_store(catalogue: Path, tmp_path: Path) -> None:
    """With the images hashed, encoders can be added; a changed item is never handed on stale."""
    output, root = tmp_path / "s.h5", catalogue.parent
    vectors = unit_vectors(12, 6)
    take(catalogue, output, save(tmp_path / "clip.npy", vectors), image_root=root)
    with Store(output) as store:
        image = (root / "images/0-0.png").read_bytes()
        assert store.content_hash[0].tobytes() == blake2b(image, digest_size=16).digest()
    settings = RunSettings(catalogue, output, ("classic:phash",), ("tfidf",))
    run(settings)
    with Store(output) as store:
        assert list(store.spaces) == ["phash", "tfidf", "clip"]
        assert store.array("clip").tobytes() == vectors.tobytes()
    (root / "images/0-0.png").write_bytes((root / "images/1-0.png").read_bytes())
    with pytest.raises(StoreError, match="space 'clip' lacks 1 item that is new or changed"):
        run(settings)


def test_without_its_images_nothing_is_claimed_of_them(catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    text = {"modalities": {"t": "text"}}
    given = (save(tmp_path / name, unit_vectors(12, 6)) for name in ("v.npy", "t.npy"))
    take(catalogue, output, *given, **text)
    with Store(output) as store:
        assert not store.modality_hash("image").any()
        title = blake2b(b"thing number 0 photo 0", digest_size=16).digest()
        assert store.modality_hash("text")[0].tobytes() == title
    run(RunSettings(catalogue, output, text_encoders=("tfidf",)))  # titles are as they were
    with pytest.raises(StoreError, match=r"of which images is not known: .*--image-root"):
        run(RunSettings(catalogue, output, ("classic:phash",)))
    with pytest.raises(SourceError, match="the image of 'p0-0' can't be read"):
        take(catalogue, output, f"v={tmp_path / 'v.npy'}", image_root=tmp_path, force=True)
    with pytest.raises(SourceError, match="no column 'photo'"):
        options = {"image_root": catalogue.parent, "image_column": "photo"}
        take(catalogue, output, f"v={tmp_path / 'v.npy'}", force=True, **options)


def test_an_exported_store_is_still_incremental(catalogue: Path, tmp_path: Path) -> None:
    settings = RunSettings(catalogue, tmp_path / "s.h5", ("hog=classic:color-hog",), ("tfidf",))
    run(settings)
    export_store(tmp_path / "s.h5", tmp_path / "out")
    take(tmp_path / "out", tmp_path / "t.h5")
    assert datasets(tmp_path / "t.h5") == datasets(tmp_path / "s.h5")
    again = RunSettings(catalogue, tmp_path / "t.h5", settings.image_encoders, ("tfidf",))
    assert run(again).num_encoded == 0


def test_an_export_of_changed_images_does_not_join(catalogue: Path, tmp_path: Path) -> None:
    output, out = tmp_path / "s.h5", tmp_path / "out"
    both = RunSettings(catalogue, output, ("hog=classic:color-hog", "classic:phash"))
    run(both)
    export_store(output, out, spaces=("hog",))
    without = replace(both, image_encoders=("classic:phash",), drop_spaces=("hog",))
    run(without)
    take(out, output, into=True)
    assert run(both).num_encoded == 0  # nothing has changed: the vectors are those of the items
    image = catalogue.parent / "images/0-1.png"
    image.write_bytes((catalogue.parent / "images/1-0.png").read_bytes())
    run(without)
    before = datasets(output)
    for force in (False, True):
        with pytest.raises(
            StoreError, match=r"the image of 'p0-1' is another.*\(1 of the 12 items"
        ):
            take(out, output, into=True, force=force)
    assert datasets(output) == before
    take(out / "items.parquet", output, f"hog={out / 'hog.npy'}", into=True)  # as somebody's


@pytest.mark.parametrize("modality", ["image", "text", "fused"])
@pytest.mark.parametrize(
    ("spec", "altered", "theirs", "ours", "is_taken"),
    [
        ("classic:x", "image", 1, 1, True),
        ("classic:x", "image", 1, 2, False),
        ("classic:x", "text", 1, 2, False),
        ("classic:x", "image", 0, 2, False),  # not known what was encoded
        ("classic:x", "image", 1, 0, True),  # not known what the item is: a run encodes it again
        ("imported:v.npy", "image", 0, 2, True),
        ("head:projection(v)", "image", 0, 2, True),
        ("head:projection(v)", "image", 1, 2, False),
        ("imported:v.npy", "text", 1, 2, False),
    ],
)
def test_hashes_of_the_same_modality_must_agree(
    tmp_path: Path, modality: str, spec: str, altered: str, theirs: int, ours: int, is_taken: bool
) -> None:
    def write(path: Path, ids: list[str], digit: int, name: str) -> None:
        hashes = {kind: np.ones((2, 16), np.uint8) for kind in ("image", "text")}
        hashes[altered][ids.index("b")] = digit
        with StoreWriter(path, "", {}) as writer:
            writer.write_items(np.array(ids, object), {}, hashes)
            info = space_info("dense", 3, modality=modality, spec=spec)
            writer.write_array(name, info, unit_vectors(2, 3))

    write(tmp_path / "s.h5", ["a", "b"], ours, "own")
    write(tmp_path / "t.h5", ["b", "a"], theirs, "v")
    export_store(tmp_path / "t.h5", tmp_path / "out")
    if is_taken or modality not in (altered, "fused"):
        imported = take(tmp_path / "out", tmp_path / "s.h5", into=True)
        assert imported.spaces["v"].fingerprint == "f" * 32
    else:
        noun = {"image": "image", "text": "title"}[altered]
        with pytest.raises(StoreError, match=f"space 'v' of .* the {noun} of 'b' is another"):
            take(tmp_path / "out", tmp_path / "s.h5", into=True)


def one_item(folder: Path, image: str) -> Path:
    frame = pl.DataFrame({"id": ["a"], "image": [image]})
    frame.write_parquet(folder / "one.parquet")
    save(folder / "v.npy", unit_vectors(1, 3))
    return folder / "one.parquet"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("OUTSIDE/secret", "lies outside the image root"),
        ("../secret", "lies outside the image root"),
        ("link", "lies outside the image root"),
        ("linked/secret", "lies outside the image root"),
        ("/dev/zero", "lies outside the image root"),
        ("pipe", "not a regular file"),
        (".", "not a regular file"),
        ("file:///etc/hostname", "is not fetched"),
        ("", "names no image"),
    ],
)
def test_images_are_read_inside_the_root_alone(tmp_path: Path, image: str, reason: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "linked").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    items = one_item(tmp_path, image.replace("OUTSIDE", str(tmp_path)))
    with pytest.raises(SourceError, match=f"item 'a' names|the image of 'a'.*{reason}"):
        take(items, tmp_path / "s.h5", f"v={tmp_path / 'v.npy'}", image_root=root)
    assert not (tmp_path / "s.h5").exists()
    if image in ("OUTSIDE/secret", "link"):
        options = {"image_root": root, "allow_outside_root": True}
        take(items, tmp_path / "s.h5", f"v={tmp_path / 'v.npy'}", **options)
        with Store(tmp_path / "s.h5") as store:
            secret = blake2b(b"secret", digest_size=16).digest()
            assert store.modality_hash("image")[0].tobytes() == secret


def test_images_are_hashed_batch_by_batch(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embed.exchange.item_hashes.ITEMS_PER_BATCH", 5)
    monkeypatch.chdir(catalogue.parent.parent)
    given = save(tmp_path / "v.npy", unit_vectors(12, 6))
    take(catalogue, tmp_path / "s.h5", given, image_root=Path(catalogue.parent.name))
    run(RunSettings(catalogue, tmp_path / "r.h5", ("classic:phash",)))
    with Store(tmp_path / "s.h5") as imported, Store(tmp_path / "r.h5") as encoded:
        hashes = imported.modality_hash("image")
        np.testing.assert_array_equal(hashes, encoded.modality_hash("image"))


@pytest.mark.parametrize("into", [False, True])
def test_a_store_that_a_run_is_writing_is_left_alone(
    tmp_path: Path, items: Path, into: bool
) -> None:
    given, output = save(tmp_path / "v.npy", unit_vectors(4, 3)), tmp_path / "s.h5"
    take(items, output, given)
    before = datasets(output)
    other = save(tmp_path / "w.npy", unit_vectors(4, 3, seed=1))
    with (
        PartsFolder(output).locked(),
        pytest.raises(StoreError, match="another run is writing"),
    ):
        take(items, output, other, into=into, force=True)
    assert datasets(output) == before
    take(items, output, other, into=into, force=True)
    assert not PartsFolder(output).path.exists()


def test_options_that_would_do_nothing(tmp_path: Path, items: Path) -> None:
    given, output = save(tmp_path / "v.npy", unit_vectors(4, 3)), tmp_path / "s.h5"
    take(items, output, given)
    export_store(output, tmp_path / "out")
    options: dict[str, object] = {
        "image_root": tmp_path,
        "image_column": "photo",
        "title_column": "name",
        "allow_outside_root": True,
    }
    for name, value in options.items():
        option = f"--{name.replace('_', '-')} does nothing here"
        with pytest.raises(SettingsError, match=f"{option}: .*keeps its own items"):
            take(items, output, given, into=True, force=True, **{name: value})
        with pytest.raises(SettingsError, match=f"{option}: .*is an exported folder"):
            take(tmp_path / "out", tmp_path / "t.h5", **{name: value})
    with pytest.raises(SettingsError, match="--id-column does nothing here"):
        take(tmp_path / "out", tmp_path / "t.h5", id_column="id")
    for name in ("image_column", "allow_outside_root"):
        with pytest.raises(SettingsError, match="only looked at with --image-root"):
            take(items, tmp_path / "t.h5", given, **{name: options[name]})
    assert not (tmp_path / "t.h5").exists()


def test_titles_of_digits_are_hashed_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("id,name\na,1.50\nb,2.5\n")
    given = save(tmp_path / "v.npy", unit_vectors(2, 3))
    options = {"modalities": {"v": "text"}, "title_column": "name"}
    take(tmp_path / "i.csv", tmp_path / "s.h5", given, **options)
    with Store(tmp_path / "s.h5") as store:
        title = blake2b(b"1.50", digest_size=16).digest()
        assert store.modality_hash("text")[0].tobytes() == title


def test_command_line(tmp_path: Path, items: Path, embed_cli: Invoke) -> None:
    given, output = save(tmp_path / "v.npy", 2 * unit_vectors(4, 3)), tmp_path / "s.h5"
    result = embed_cli(
        "import", items, "-o", output, "--vectors", given, "--modality", "v=fused", "--json"
    )
    assert json_of(result)["spaces"]["v"]["modality"] == "fused"
    assert "warning: vectors of space 'v' were scaled" in result.stderr
    joined = embed_cli("import", items, "--into", output, "--vectors", f"w={tmp_path / 'v.npy'}")
    assert "imported:v.npy" in joined.stdout
    useless = embed_cli("import", items, "--into", output, "--title-column", "name", exit_code=2)
    assert "--title-column does nothing here" in useless.stderr
    both = ["import", items, "-o", output, "--into", output, "--vectors", given]
    assert "give either -o" in embed_cli(*both, exit_code=2).stderr
    wrong = ["import", items, "-o", output, "--vectors", given, "--modality", "v=sound"]
    assert "found 'v=sound'" in embed_cli(*wrong, exit_code=2).stderr
