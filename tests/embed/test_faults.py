"""What goes wrong around a run: disks, folders, formats, weights; and items that failed before."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from embed.errors import OutputError, SettingsError, StoreError, TooManyFailuresError
from embed.part_writer import PartWriter
from embed.parts import EncodedRows, Part, PartsFolder
from embed.run import RunSettings, run
from embed.store import SpaceInfo, Store
from embed.units import UnitResult
from tests.conftest import write_catalogue
from tests.embed.test_run import HOG, PHASH, break_images, contents, embed, interrupt_after

DISK_BYTES = 1_500_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for a megabyte and a half."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("file systems can't be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_ends_in_a_clear_error_and_heals(tmp_path: Path, small_disk: Path) -> None:
    catalogue = write_catalogue(tmp_path / "catalogue", num_products=30, num_photos=8)
    command: list[str | Path] = [sys.executable, "-m", "embed", "run", catalogue]
    command += ["-o", small_disk / "s.h5", "--image-encoder", HOG]
    done = subprocess.run(command, capture_output=True, text=True)  # vectors alone: 1.9 MB
    assert done.returncode == 1
    assert "No space left on device" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (small_disk / "s.h5").exists()
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    embed(catalogue, small_disk / "s.h5", image_encoders=(HOG,), text_encoders=())
    embed(catalogue, tmp_path / "whole.h5", image_encoders=(HOG,), text_encoders=())
    assert contents(small_disk / "s.h5") == contents(tmp_path / "whole.h5")


def test_a_full_disk_keeps_the_store_that_is_there(tmp_path: Path, small_disk: Path) -> None:
    catalogue = write_catalogue(tmp_path / "catalogue", num_products=30, num_photos=8)
    embed(catalogue, small_disk / "s.h5", image_encoders=(PHASH,), text_encoders=())
    before = contents(small_disk / "s.h5")
    with pytest.raises((OSError, OutputError), match="No space left on device"):
        embed(catalogue, small_disk / "s.h5", image_encoders=(PHASH, HOG), text_encoders=())
    assert contents(small_disk / "s.h5") == before


def test_a_folder_that_is_read_only(catalogue: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OutputError, match=r"can't make the folder .*s\.h5\.parts: Read-only"):
        embed(catalogue, small_disk / "s.h5")


def test_a_store_of_another_format_version(catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    embed(catalogue, output, image_encoders=(PHASH,), text_encoders=())
    with h5py.File(output, "a") as file:
        file.attrs["format_version"] = 2
    before = output.read_bytes()
    with pytest.raises(StoreError, match="format embedding-store version 2: this program reads"):
        embed(catalogue, output)
    assert output.read_bytes() == before


@pytest.mark.filterwarnings("ignore:.*QuickGELU.*")
def test_weights_that_changed_between_two_runs(catalogue: Path, tmp_path: Path) -> None:
    """A run stops, its weights are replaced, and it goes on: no row of the old ones stays."""
    import timm

    weights, output = tmp_path / "weights.safetensors", tmp_path / "s.h5"
    torch.manual_seed(0)
    model = timm.create_model("test_vit", pretrained=False, num_classes=0)
    save_file(model.state_dict(), weights)
    spec = (f"vit=timm:test_vit@{weights}",)
    break_images(catalogue)
    with pytest.raises(TooManyFailuresError):
        embed(catalogue, output, image_encoders=spec, text_encoders=())
    state = load_file(weights)
    save_file({name: tensor * 1.01 for name, tensor in state.items()}, weights)
    summary = embed(catalogue, output, image_encoders=spec, text_encoders=(), max_failures="3")
    assert summary.num_encoded == 9
    embed(catalogue, tmp_path / "fresh.h5", image_encoders=spec, text_encoders=(), max_failures="3")
    assert contents(output) == contents(tmp_path / "fresh.h5")


def test_failed_items_are_taken_again(catalogue: Path, tmp_path: Path) -> None:
    output, images = tmp_path / "s.h5", catalogue.parent / "images"
    originals = {name: (images / name).read_bytes() for name in ("0-0.png", "1-0.png", "2-0.png")}
    break_images(catalogue)
    embed(catalogue, output, max_failures="3")
    for name in ("0-0.png", "2-0.png"):
        (images / name).write_bytes(originals[name])
    (images / "3-0.png").unlink()  # not read again, so not missed
    summary = embed(
        catalogue,
        output,
        image_encoders=(),
        text_encoders=(),  # those of the store
        retry_failed=True,
        max_failures="1",
    )
    assert (summary.num_items, summary.num_encoded, summary.num_reused) == (11, 2, 9)
    assert [failure.id for failure in summary.failures] == ["p1-0"]
    (images / "1-0.png").write_bytes(originals["1-0.png"])
    assert embed(catalogue, output, retry_failed=True).num_items == 12
    with Store(output) as store:
        assert store.ids[:2].tolist() == ["p0-0", "p0-1"]
        assert store.failures == []


def test_there_must_be_something_to_take_again(catalogue: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--retry-failed: no store at"):
        embed(catalogue, tmp_path / "s.h5", retry_failed=True)
    embed(catalogue, tmp_path / "s.h5")
    with pytest.raises(SettingsError, match="has 0 failures"):
        embed(catalogue, tmp_path / "s.h5", retry_failed=True)


def test_failed_items_are_taken_again_by_the_same_encoders(catalogue: Path, tmp_path: Path) -> None:
    """Otherwise every run would end with a space that lacks the items which were not read."""
    break_images(catalogue)
    embed(catalogue, tmp_path / "s.h5", max_failures="3")
    with pytest.raises(SettingsError, match="no space 'more' of this encoder"):
        embed(catalogue, tmp_path / "s.h5", image_encoders=(f"more={PHASH}",), retry_failed=True)


def test_failed_items_are_taken_again_beside_the_titles_that_were_encoded(
    catalogue: Path, tmp_path: Path
) -> None:
    break_images(catalogue)
    embed(catalogue, tmp_path / "s.h5", max_failures="3")
    catalogue.write_text(catalogue.read_text().replace("thing number 1 photo 2", "a shoe"))
    with pytest.raises(StoreError, match="1 item, 'p1-2' among them, has another title"):
        embed(catalogue, tmp_path / "s.h5", retry_failed=True, max_failures="3")


def test_batches_of_a_run_that_goes_on_are_those_of_a_whole_one(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, also where an encoder rounds differently in batches of other sizes."""
    import timm

    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_vit", pretrained=False, num_classes=0).state_dict(), weights)
    settings = {
        "image_encoders": (f"vit=timm:test_vit@{weights}", PHASH),
        "batch_size": 3,
        "precision": "fp32",
    }
    embed(catalogue, tmp_path / "whole.h5", **settings)
    monkeypatch.setattr("embed.part_writer.PART_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(PartsFolder, "write", interrupt_after(1))
        with pytest.raises(OSError, match="No space left"):
            embed(catalogue, tmp_path / "s.h5", **settings)
    assert len(list((tmp_path / "s.h5.parts").glob("*.part"))) == 1
    assert embed(catalogue, tmp_path / "s.h5", **settings).num_encoded == 9
    assert contents(tmp_path / "s.h5") == contents(tmp_path / "whole.h5")


def test_parts_are_written_while_all_that_follows_is_known(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch, and then only units without any: its rows must not wait for the end of the run."""
    monkeypatch.setattr("embed.part_writer.PART_SECONDS", 0)
    reported: list[UnitResult] = []
    with PartsFolder(tmp_path / "s.h5").locked():
        with PartWriter(PartsFolder(tmp_path / "s.h5"), reported.append) as writer:
            monkeypatch.setattr("embed.part_writer.PART_SECONDS", 1e9)
            rows = EncodedRows("f", np.arange(1), np.zeros((1, 2), np.float32))
            writer.add(Part(["a"], {"image": np.zeros((1, 16), np.uint8)}, {"x": rows}))
            monkeypatch.setattr("embed.part_writer.PART_SECONDS", 0)
            writer.end_unit(UnitResult(0, {}, {}, 1, 1))
            deadline = time.monotonic() + 10
            while not reported and time.monotonic() < deadline:
                time.sleep(0.01)
            assert reported
            assert PartsFolder(tmp_path / "s.h5").names()
        PartsFolder(tmp_path / "s.h5").remove()


def test_a_batch_size_is_planned_for_the_same_encoders_and_device(tmp_path: Path) -> None:
    parts = PartsFolder(tmp_path / "s.h5")
    info = SpaceInfo("dense", "image", "x", "print", "fp32", True, 4)
    with parts.locked():
        assert parts.planned_batch_size([info], "auto") is None
        parts.plan_batch_size(512, [info], "auto")
        assert parts.planned_batch_size([info], "auto") == 512
        assert parts.planned_batch_size([info], "cpu") is None
        assert parts.planned_batch_size([replace(info, fingerprint="other")], "auto") is None
    assert not parts.path.exists()


def test_a_part_that_another_worker_has_thrown_away(tmp_path: Path) -> None:
    assert PartsFolder(tmp_path / "s.h5").read("0123.part") is None


def test_images_larger_than_allowed_fail(catalogue: Path, tmp_path: Path) -> None:
    settings = RunSettings(catalogue, tmp_path / "s.h5", (PHASH,), max_pixels=64 * 48 - 1)
    with pytest.raises(TooManyFailuresError, match="12 of 12 items can't be read"):
        run(settings)
