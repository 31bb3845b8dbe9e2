"""Each kind of damage is found, and named."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from embed.errors import SettingsError
from embed.exchange.importing import ImportSettings, import_vectors
from embed.run import RunSettings, run
from embed.sources import SourceSettings
from embed.store import Store, StoreWriter
from embed.verification.sampling import Source
from embed.verification.verifying import Check, VerifySettings, verify
from tests.conftest import Invoke, json_of, write_catalogue
from tests.embed.encoders.tiny_models import open_clip_folder
from tests.embed.exchange.tiny_stores import space_info, unit_vectors


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue, a tiny model with random weights, and the store of both."""
    folder = tmp_path_factory.mktemp("verify")
    manifest = write_catalogue(folder / "catalogue", num_products=4, num_photos=3)
    model = open_clip_folder(folder / "model")
    text = (f"words=open_clip:{model}", "tfidf")
    images = ("hog=classic:color-hog", "classic:phash", f"clip=open_clip:{model}")
    run(RunSettings(manifest, folder / "s.h5", images, text, device="cpu", precision="fp16"))
    run(RunSettings(manifest, folder / "light.h5", images[:2], text[1:], device="cpu"))
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy that can be damaged; the model stays where its spec says it is."""
    shutil.copytree(original / "catalogue", tmp_path / "catalogue")
    shutil.copy(original / "s.h5", tmp_path / "s.h5")
    return tmp_path


@pytest.fixture
def light(original: Path, folder: Path) -> Path:
    """The same with a store of the encoders that take no time to load."""
    shutil.copy(original / "light.h5", folder / "s.h5")
    return folder


def verified(folder: Path, **settings: Any) -> dict[str, Check]:
    source = Source(str(folder / "catalogue/manifest.csv"))
    given: dict[str, Any] = {"source": source, "device": "cpu"}
    checks = verify(VerifySettings(folder / "s.h5", **(given | settings)))
    return {check.name: check for check in checks}


def not_ok(checks: dict[str, Check]) -> dict[str, str]:
    """What besides the checksums, which tell of any damage, has not passed."""
    others = {name: check for name, check in checks.items() if name != "checksums"}
    return {name: check.result for name, check in others.items() if check.result != "ok"}


def flip(path: Path, dataset: str, row: int, byte: int, mask: int = 0xFF) -> None:
    """Flip bits of one byte in a row of a contiguous dataset, behind the back of HDF5."""
    with h5py.File(path) as file:
        node = file[dataset]
        offset = node.id.get_offset() + row * node.shape[1] * node.dtype.itemsize + byte
    data = bytearray(path.read_bytes())
    data[offset] ^= mask
    path.write_bytes(bytes(data))


def test_a_good_store_passes(folder: Path) -> None:
    checks = verified(folder)
    assert {check.result for check in checks.values()} == {"ok"}
    names = ["format", "counts", "ids", "checksums", "hashes", "failures"]
    assert list(checks)[:6] == names
    for name in ("hog", "phash", "clip", "words", "tfidf"):
        assert {f"{name}: vectors", f"{name}: encoder", f"{name}: sample"} <= set(checks)
    assert "12 rows" in checks["clip: sample"].detail
    assert checks["images"].detail == "12 are the bytes that were encoded"
    with Store(folder / "s.h5") as store:
        assert store.space("clip").precision == "fp16"
        assert store.array("clip").dtype == np.float16


@pytest.mark.parametrize(
    ("space", "byte", "found"),
    [("clip", 1, "clip: vectors"), ("hog", 3, "hog: vectors"), ("phash", 5, "phash: sample")],
)
def test_flipped_bytes(folder: Path, space: str, byte: int, found: str) -> None:
    flip(folder / "s.h5", f"spaces/{space}", row=7, byte=byte, mask=0x7F)
    checks = verified(folder)
    assert not_ok(checks) == {found: "failed"}
    if space == "phash":
        assert checks[found].detail == "1 of 12 codes differ"
    else:
        assert "'p2-1' (row 7)" in checks[found].detail


def test_swapped_rows_are_found_by_encoding_again(folder: Path) -> None:
    with h5py.File(folder / "s.h5", "a") as file:
        vectors = file["spaces/clip"][...]
        vectors[[0, 9]] = vectors[[9, 0]]
        file["spaces/clip"][...] = vectors
    assert not_ok(verified(folder)) == {"clip: sample": "failed"}
    assert not_ok(verified(folder, sample=0)) == {}


def test_sparse_weights_are_compared_with_the_titles(light: Path) -> None:
    with h5py.File(light / "s.h5", "a") as file:
        first = file["spaces/tfidf/indptr"][3]
        file["spaces/tfidf/data"][first : first + 2] = (0.6, 0.8)
        file["spaces/tfidf/data"][first + 2 : file["spaces/tfidf/indptr"][4]] = 0
    assert not_ok(verified(light)) == {"tfidf: sample": "failed"}


def test_what_was_fitted_is_compared_with_the_titles(light: Path) -> None:
    with h5py.File(light / "s.h5", "a") as file:
        file["spaces/tfidf/idf"][0] += np.float32(1e-6)
    found = verified(light)
    assert not_ok(found) == {"tfidf: fitted": "failed"}
    assert found["tfidf: fitted"].detail == "idf differ from what the titles give"


Damage = Callable[[h5py.File], None]


def replaced(file: h5py.File, name: str, values: Any) -> None:
    attributes, dtype = dict(file[name].attrs), file[name].dtype
    del file[name]
    file.create_dataset(name, data=values, dtype=dtype)
    file[name].attrs.update(attributes)


def spoil(name: str, index: Any, value: Any) -> Damage:
    def damage(file: h5py.File) -> None:
        file[name][index] = value

    return damage


def shorten(name: str) -> Damage:
    return lambda file: replaced(file, name, file[name][:-1])


def describe(name: str, key: str, value: Any) -> Damage:
    return lambda file: file[name].attrs.modify(key, value)


def leave_out(item_id: str) -> Damage:
    def damage(file: h5py.File) -> None:
        for key in ("id", "stage", "reason"):
            replaced(file, f"failures/{key}", [item_id])

    return damage


@pytest.mark.parametrize(
    ("damage", "check", "detail"),
    [
        (spoil("items/id", 5, "p0-1"), "ids", "id 'p0-1' stands in row 1 and again in row 5"),
        (spoil("items/id", 5, ""), "ids", "the id of row 5 is empty"),
        (shorten("items/price"), "counts", "items/price has 11 rows for 12 ids"),
        (shorten("hashes/image"), "counts", "hashes/image has 11 rows"),
        (shorten("spaces/hog"), "counts", "spaces/hog has 11 rows"),
        (shorten("items/id"), "counts", "has 12 rows for 11 ids"),
        (spoil("hashes/text", (4, 0), 0), "hashes", "of 'p1-1' (row 4) does not follow"),
        (spoil("spaces/hog", (3, 0), np.nan), "hog: vectors", "'p1-0' (row 3) holds NaN"),
        (spoil("spaces/hog", (3, 0), np.inf), "hog: vectors", "'p1-0' (row 3) holds NaN"),
        (spoil("spaces/hog", (3, slice(None)), 1), "hog: vectors", "has length 44.9"),
        (describe("spaces/hog", "dim", 2019), "hog: vectors", "says 2019 dimensions"),
        (describe("spaces/hog", "precision", "fp16"), "hog: vectors", "float32 of shape"),
        (describe("spaces/phash", "dim", 80), "phash: vectors", "says 80 bits"),
        (describe("spaces/phash", "dim", 63), "phash: vectors", "has bits beyond 63"),
        (spoil("spaces/tfidf/indices", 2, 10**6), "tfidf: vectors", "has index 1000000"),
        (spoil("spaces/tfidf/indices", 2, -1), "tfidf: vectors", "has index -1"),
        (spoil("spaces/tfidf/indptr", 2, 10**6), "tfidf: vectors", "row 2 ends before it begins"),
        (spoil("spaces/tfidf/indptr", 12, 3), "tfidf: vectors", "rows end at 3"),
        (spoil("spaces/tfidf/data", 2, np.nan), "tfidf: vectors", "'p0-0' (row 0) holds NaN"),
        (spoil("spaces/tfidf/data", 2, 7), "tfidf: vectors", "'p0-0' (row 0) has length 7"),
        (shorten("spaces/tfidf/data"), "tfidf: vectors", "components"),
        (leave_out("p2-2"), "failures", "'p2-2' stands in row 8 and among those left out"),
    ],
)
def test_damage_to_the_structure(light: Path, damage: Damage, check: str, detail: str) -> None:
    with h5py.File(light / "s.h5", "a") as file:
        damage(file)
    found = verified(light, sample=0)
    assert found[check].result == "failed"
    assert detail in found[check].detail
    assert verified(light)[check].result == "failed"  # nor does encoding again stumble over it


def test_an_index_that_stands_twice(light: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embed.verification.verifying.SPARSE_ROWS_PER_BLOCK", 5)
    with h5py.File(light / "s.h5", "a") as file:
        first = file["spaces/tfidf/indptr"][7]
        file["spaces/tfidf/indices"][first + 2] = file["spaces/tfidf/indices"][first]
    found = verified(light, sample=0)
    assert not_ok(found) == {"tfidf: vectors": "failed"}
    assert "'p2-1' (row 7) has index" in found["tfidf: vectors"].detail


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_file_that_was_cut_short(light: Path, keep: float) -> None:
    data = (light / "s.h5").read_bytes()
    (light / "s.h5").write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    assert not_ok(verified(light)) == {"format": "failed"}


def test_another_version(light: Path) -> None:
    with h5py.File(light / "s.h5", "a") as file:
        file.attrs["format_version"] = 9
    assert "version 9" in verified(light)["format"].detail


def test_changed_weights(original: Path, folder: Path) -> None:
    weights = original / "model/open_clip_model.safetensors"
    before = weights.read_bytes()
    try:
        tensors = load_file(weights)
        torch.manual_seed(1)
        save_file({name: t + 0.1 * torch.randn_like(t) for name, t in tensors.items()}, weights)
        found = verified(folder)
    finally:
        weights.write_bytes(before)
    names = [f"{space}: {check}" for space in ("clip", "words") for check in ("encoder", "sample")]
    assert not_ok(found) == dict.fromkeys(names, "failed")
    assert "weights, preprocessing or library have changed" in found["clip: encoder"].detail


def test_missing_weights_are_skipped(original: Path, folder: Path, embed_cli: Invoke) -> None:
    (original / "model").rename(original / "elsewhere")
    try:
        found = verified(folder)
        arguments = ["verify", folder / "s.h5", "--source", folder / "catalogue/manifest.csv"]
        embed_cli(*arguments)
        embed_cli(*arguments, "--strict", exit_code=1)
    finally:
        (original / "elsewhere").rename(original / "model")
    assert not_ok(found) == {"clip: encoder": "skipped", "words: encoder": "skipped"}
    assert "can't be had here" in found["clip: encoder"].detail


def test_changed_and_missing_images_are_not_damage(folder: Path) -> None:
    images = folder / "catalogue/images"
    (images / "0-0.png").write_bytes((images / "1-1.png").read_bytes())
    (images / "3-2.png").unlink()
    found = verified(folder)
    assert not_ok(found) == {"images": "changed"}
    assert found["images"].detail == (
        "2 of 12 are not what was encoded: 'p0-0' has other bytes, "
        f"'p3-2' can't be read: No such file or directory: {images / '3-2.png'}"
    )
    assert "10 rows" in found["clip: sample"].detail


def test_images_above_the_limit_are_told_of(tmp_path: Path, embed_cli: Invoke) -> None:
    manifest = write_catalogue(tmp_path / "catalogue", num_products=2, num_photos=2)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
    Image.fromarray(pixels).save(manifest.parent / "images/1-0.png")
    run(RunSettings(manifest, tmp_path / "s.h5", ("classic:phash",), max_pixels=7200))
    found = verified(tmp_path, source=Source(str(manifest), max_pixels=7199))
    assert not_ok(found) == {"phash: decoding": "skipped"}
    assert found["phash: decoding"].detail == (
        "1 of 4 can't be decoded here: 'p1-0': too many pixels: 90 × 80, more than the 7,199 "
        "allowed"
    )
    assert found["phash: sample"].detail == "0 of 3 codes differ"
    assert not_ok(verified(tmp_path, source=Source(str(manifest), max_pixels=7200))) == {}
    none = verified(tmp_path, source=Source(str(manifest), max_pixels=1))
    assert not_ok(none) == {"phash: decoding": "skipped", "phash: sample": "skipped"}
    assert "'p0-1': too many" in none["phash: decoding"].detail
    assert none["phash: decoding"].detail.endswith(", …")
    arguments = ["verify", tmp_path / "s.h5", "--source", manifest, "--strict", "--max-pixels"]
    embed_cli(*arguments, 7200)
    assert "too many pixels" in embed_cli(*arguments, 7199, exit_code=1).stdout


def test_changed_titles(folder: Path) -> None:
    with h5py.File(folder / "s.h5", "a") as file:
        file["items/title"][6] = "something else"
    found = verified(folder)
    assert "'p2-0' has another title" in found["titles"].detail
    assert not_ok(found) == {"titles": "changed", "tfidf: encoder": "failed"}


def test_where_nothing_can_be_read(folder: Path) -> None:
    found = verified(folder, source=Source(columns=SourceSettings(title_column="name")))
    assert {name for name, check in found.items() if check.result == "skipped"} == {
        *("images", "hog: sample", "phash: sample", "clip: sample"),
        *("titles", "words: sample", "tfidf: encoder"),
    }
    assert "say it with --source" in found["images"].detail
    assert "--title-column" in found["titles"].detail


def test_samples(light: Path) -> None:
    assert "5 rows" in verified(light, sample=5)["hog: sample"].detail
    flip(light / "s.h5", "spaces/phash", row=7, byte=5)
    seeds = [not_ok(verified(light, sample=3, seed=seed)) == {} for seed in range(6)]
    assert len(set(seeds)) == 2  # some samples have row 7, others have not
    again = [not_ok(verified(light, sample=3, seed=seed)) == {} for seed in range(6)]
    assert seeds == again
    with pytest.raises(SettingsError, match="--sample is a number of rows from 0: found -1"):
        verified(light, sample=-1)


def test_imported_spaces_and_heads_are_not_encoded(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("id\na\nb\nc\n")
    np.save(tmp_path / "v.npy", np.array([[3.0, 4], [0, 0], [1, 0]]))
    vectors = (str(tmp_path / "v.npy"),)
    import_vectors(ImportSettings(tmp_path / "i.csv", tmp_path / "s.h5", vectors=vectors))
    found = verified(tmp_path)
    assert not_ok(found) == {"v: encoder": "skipped"}
    assert found["v: vectors"].detail.endswith("1 zero")
    assert "image: 3 not known" in found["hashes"].detail
    with StoreWriter(tmp_path / "s.h5", "", {}) as writer:
        hashes = {"image": np.zeros((3, 16), np.uint8)}
        writer.write_items(np.array(["a", "b", "c"], object), {}, hashes)
        info = replace(space_info("dense", 4), spec="head:projection(v)")
        writer.write_array("head", info, unit_vectors(3, 4))
    found = verified(tmp_path)
    assert found["head: encoder"] == Check(
        "head: encoder", "skipped", "the space comes from a head"
    )


def test_command_line(light: Path, embed_cli: Invoke) -> None:
    arguments = [
        "verify",
        light / "s.h5",
        "--source",
        light / "catalogue/manifest.csv",
        "--device",
        "cpu",
    ]
    result = json_of(embed_cli(*arguments, "--json", "--sample", 4))
    assert result["num_failed"] == 0
    assert {check["result"] for check in result["checks"]} == {"ok"}
    flip(light / "s.h5", "spaces/hog", row=7, byte=3, mask=0x7F)
    failed = embed_cli(*arguments, "--sample", 0, exit_code=1)
    assert "hog: vectors    failed   the vector of 'p2-1' (row 7)" in failed.stdout
    assert f"{light / 's.h5'}: 2 of 9 checks failed" in failed.stdout
    assert "not a store" in embed_cli("verify", __file__, exit_code=1).stdout


def test_damage_that_only_a_checksum_shows(light: Path) -> None:
    """A sign that turns in a row which is not in the sample."""
    flip(light / "s.h5", "spaces/hog", row=7, byte=3, mask=0x80)
    found = verified(light, sample=0)
    assert found["checksums"].result == "failed"
    assert found["checksums"].detail.startswith("spaces/hog: not the bytes that were written")
    assert not_ok(found) == {}
