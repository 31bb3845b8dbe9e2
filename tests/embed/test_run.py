"""The whole of `embed run` on small real catalogues: what it stores, and how it survives."""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embed.decoding import read_pixels
from embed.errors import OutputError, StoreError, TooManyFailuresError
from embed.files import replacing
from embed.images import ImageTransform, decode_image
from embed.parts import PartsFolder
from embed.run import RunSettings, run
from embed.store import Failure, Store, StoreWriter
from embed.summary import RunSummary
from tests.conftest import Invoke, json_of

HOG, PHASH = "hog=classic:color-hog", "classic:phash"


def embed(source: Path, output: Path, **settings: object) -> RunSummary:
    defaults: dict[str, object] = {"image_encoders": (HOG, PHASH), "text_encoders": ("tfidf",)}
    return run(RunSettings(source, output, **(defaults | settings)))  # type: ignore[arg-type]


def contents(path: Path) -> dict[str, object]:
    """Everything in a store but when and by which command it was made."""
    with Store(path) as store:
        arrays = {"ids": store.ids, "hash": store.content_hash}
        arrays |= {name: store.column(name) for name in store.columns}
        for name, info in store.spaces.items():
            sparse = info.kind == "sparse"
            arrays[f"space {name}"] = store.sparse(name).toarray() if sparse else store.array(name)
        result: dict[str, object] = {key: values.tolist() for key, values in arrays.items()}
        return result | {"spaces": store.spaces, "failures": store.failures}


def test_a_store_holds_the_catalogue(catalogue: Path, tmp_path: Path) -> None:
    summary = embed(catalogue, tmp_path / "s.h5")
    assert (summary.num_items, summary.num_encoded, summary.num_reused) == (12, 12, 0)
    with Store(tmp_path / "s.h5") as store:
        assert store.ids[:2].tolist() == ["p0-0", "p0-1"]
        assert store.columns == ["image", "title", "label", "price", "code"]
        assert store.column("code")[3] == "001"
        assert store.column("price").dtype == np.float64
        assert {name: info.kind for name, info in store.spaces.items()} == {
            "hog": "dense",
            "phash": "binary",
            "tfidf": "sparse",
        }
        np.testing.assert_allclose(np.linalg.norm(store.array("hog"), axis=1), 1, atol=1e-6)
        assert "thing" in store.fitted("tfidf")["vocabulary"]
    assert [path.name for path in tmp_path.iterdir() if "s.h5" in path.name] == ["s.h5"]


def test_hashes_are_of_the_bytes_that_were_encoded(catalogue: Path, tmp_path: Path) -> None:
    from hashlib import blake2b

    embed(catalogue, tmp_path / "s.h5", text_encoders=())
    image = (catalogue.parent / "images/0-0.png").read_bytes()
    with Store(tmp_path / "s.h5") as store:
        assert store.content_hash[0].tobytes() == blake2b(image, digest_size=16).digest()


def test_rows_are_not_swapped(catalogue: Path, tmp_path: Path) -> None:
    """Each row's vector is that of its own picture, with many threads and odd batches."""
    from embed.encoders.classic import PerceptualHash
    from embed.encoders.specs import EncoderSpec

    embed(catalogue, tmp_path / "s.h5", batch_size=5, num_workers=4)
    encoder = PerceptualHash(EncoderSpec.parse(PHASH, "image"))
    with Store(tmp_path / "s.h5") as store:
        for row, name in enumerate(store.column("image")):
            image = decode_image((catalogue.parent / name).read_bytes())
            expected = encoder.encode(encoder.transform.apply(image)[None])[0]
            np.testing.assert_array_equal(store.array("phash")[row], expected)


def test_every_image_is_decoded_once(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transforms: list[Collection[ImageTransform]] = []

    def counting(data: bytes, wanted: Collection[ImageTransform], max_pixels: int) -> object:
        transforms.append(wanted)
        return read_pixels(data, wanted, max_pixels)

    monkeypatch.setattr("embed.pipeline.read_pixels", counting)
    embed(catalogue, tmp_path / "s.h5")
    assert [len(wanted) for wanted in transforms] == [2] * 12


def test_running_again_encodes_only_what_is_new_or_changed(catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    embed(catalogue, output)
    before = contents(output)
    again = embed(catalogue, output)
    assert (again.num_encoded, again.num_reused) == (0, 12)
    assert contents(output) == before
    Image.new("RGB", (30, 30), "red").save(catalogue.parent / "images/1-1.png")
    changed = embed(catalogue, output)
    assert (changed.num_encoded, changed.num_reused) == (1, 11)
    embed(catalogue, tmp_path / "fresh.h5")
    assert contents(output) == contents(tmp_path / "fresh.h5")


def test_a_new_encoder_only_adds_its_space(catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    embed(catalogue, output, image_encoders=(HOG,), text_encoders=())
    summary = embed(catalogue, output, image_encoders=(PHASH,), text_encoders=("tfidf",))
    assert list(summary.spaces) == ["phash", "tfidf", "hog"]
    embed(catalogue, tmp_path / "fresh.h5")
    fresh, added = contents(tmp_path / "fresh.h5"), contents(output)
    for key in ("ids", "hash", "space hog", "space phash", "space tfidf"):
        assert added[key] == fresh[key], key
    kept = embed(catalogue, output)  # both known: nothing to encode
    assert kept.num_encoded == 0


def test_another_fingerprint_encodes_all_again(catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    embed(catalogue, output, image_encoders=("x=classic:color-hog",))
    summary = embed(catalogue, output, image_encoders=("x=classic:phash",))
    assert summary.num_encoded == 12
    assert summary.spaces["x"].kind == "binary"


def test_spaces_that_a_run_does_not_name(catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    embed(catalogue, output, image_encoders=(HOG, PHASH), text_encoders=())
    lines = catalogue.read_text().splitlines()
    catalogue.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    embed(catalogue, output, image_encoders=(PHASH,), text_encoders=())  # another order: carried
    with Store(output) as store:
        assert store.ids[0] == "p3-2"
    embed(catalogue, tmp_path / "fresh.h5", text_encoders=())
    assert contents(output)["space hog"] == contents(tmp_path / "fresh.h5")["space hog"]
    shutil.copy(catalogue.parent / "images/0-0.png", catalogue.parent / "images/new.png")
    catalogue.write_text(catalogue.read_text() + "new,images/new.png,thing,product-9,1,000\n")
    with pytest.raises(StoreError, match="space 'hog' lacks 1 item that is new or changed"):
        embed(catalogue, output, image_encoders=(PHASH,), text_encoders=())
    dropped = embed(catalogue, output, image_encoders=(PHASH,), drop_spaces=("hog",))
    assert "hog" not in dropped.spaces


def test_what_a_head_has_seen_is_kept_by_row(catalogue: Path, tmp_path: Path) -> None:
    """Labels that are edited after training must not turn training rows into unseen ones."""
    output = tmp_path / "s.h5"
    embed(catalogue, output, image_encoders=(HOG,), text_encoders=())
    seen = np.arange(12) < 5
    with Store(output) as store, StoreWriter(output, "", {}) as writer:
        writer.copy_items(store)
        writer.copy_space(store, "hog")
        info = replace(store.space("hog"), spec="head:projection(hog)")
        writer.write_array("head", info, store.array("hog"))
        writer.write_seen("head", seen)
    lines = catalogue.read_text().replace("product-", "renamed-").splitlines()
    catalogue.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    embed(catalogue, output, image_encoders=(HOG,), text_encoders=())
    with Store(output) as store:
        assert store.column("label")[0] == "renamed-3"
        np.testing.assert_array_equal(store.seen("head"), seen[::-1])
        assert not store.seen("hog").any()


def test_items_that_the_source_no_longer_has(catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    embed(catalogue, output)
    lines = catalogue.read_text().splitlines()
    catalogue.write_text("\n".join([lines[0], *lines[3:]]) + "\n")
    summary = embed(catalogue, output)
    assert summary.num_items == 12
    assert "2 items that the source no longer has stay" in summary.warnings[0]
    with Store(output) as store:
        assert store.ids[-2:].tolist() == ["p0-0", "p0-1"]
        assert store.column("code")[-1] == "000"
    with pytest.raises(StoreError, match=r"no longer in the source.*--prune"):
        embed(catalogue, output, image_encoders=(HOG, PHASH, "other=classic:phash"))
    assert embed(catalogue, output, prune=True).num_items == 10


def break_images(catalogue: Path) -> None:
    images = catalogue.parent / "images"
    (images / "0-0.png").write_bytes(b"")
    (images / "1-0.png").write_bytes((images / "1-0.png").read_bytes()[:60])
    (images / "2-0.png").unlink()


def test_failures_are_recorded_and_counted(catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    break_images(catalogue)
    with pytest.raises(TooManyFailuresError, match=r"3 of 12 .*--max-failures 3") as caught:
        embed(catalogue, output)
    assert "p0-0: the file is empty (0 bytes)" in str(caught.value)
    assert not output.exists()
    listing = (tmp_path / "s.h5.parts/failures.csv").read_text()
    assert "p2-0,read,No such file or directory: " in listing
    summary = embed(catalogue, output, max_failures="25%")
    assert (summary.num_items, summary.num_encoded) == (9, 0)  # nothing was lost
    with Store(output) as store:
        assert [(f.id, f.stage) for f in store.failures] == [
            ("p0-0", "decode"),
            ("p1-0", "decode"),
            ("p2-0", "read"),
        ]
        assert isinstance(store.failures[0], Failure)
        assert "p0-0" not in store.ids
    assert not (tmp_path / "s.h5.parts").exists()


def test_a_catalogue_of_failures_makes_no_store(catalogue: Path, tmp_path: Path) -> None:
    shutil.rmtree(catalogue.parent / "images")
    with pytest.raises(TooManyFailuresError, match="Is --image-root right"):
        embed(catalogue, tmp_path / "s.h5", max_failures="100%")


def interrupt_after(num_parts: int) -> Callable[[PartsFolder, object], None]:
    """A stand-in for `PartsFolder.write` that dies after some parts, as a full disk would."""
    write = PartsFolder.write
    written: list[object] = []

    def failing(self: PartsFolder, part: object) -> None:
        if len(written) == num_parts:
            raise OSError(28, "No space left on device")
        written.append(part)
        write(self, part)  # type: ignore[arg-type]

    return failing


def test_a_full_disk_loses_nothing(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embed.part_writer.PART_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(PartsFolder, "write", interrupt_after(2))
        with pytest.raises(OSError, match="No space left"):
            embed(catalogue, tmp_path / "s.h5", batch_size=2)
    assert not (tmp_path / "s.h5").exists()
    summary = embed(catalogue, tmp_path / "s.h5", batch_size=2)
    assert summary.num_encoded == 12 - 4


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_part_is_encoded_again(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr("embed.part_writer.PART_SECONDS", 0)
    break_images(catalogue)
    with pytest.raises(TooManyFailuresError):
        embed(catalogue, tmp_path / "s.h5", batch_size=3)
    part = sorted((tmp_path / "s.h5.parts").glob("*.part"))[0]
    data = bytearray(part.read_bytes())
    if damage == "cut":
        del data[-10:]
    else:
        data[-10] ^= 1
    part.write_bytes(data)
    summary = embed(catalogue, tmp_path / "s.h5", batch_size=3, max_failures="3")
    assert summary.num_encoded == 3
    embed(catalogue, tmp_path / "fresh.h5", batch_size=3, max_failures="3")
    assert contents(tmp_path / "s.h5") == contents(tmp_path / "fresh.h5")


def test_a_second_run_on_the_same_store_is_refused(catalogue: Path, tmp_path: Path) -> None:
    with (
        PartsFolder(tmp_path / "s.h5").locked(),
        pytest.raises(StoreError, match=r"another run is writing .*s\.h5"),
    ):
        embed(catalogue, tmp_path / "s.h5")


def test_a_run_that_is_killed_again_and_again(large_catalogue: Path, tmp_path: Path) -> None:
    """SIGKILL at random moments: the sealed store is that of a run which was never killed."""
    code = (
        "import embed.part_writer; embed.part_writer.PART_SECONDS = 0.05; "
        "from embed.cli import main; main(prog_name='embed')"
    )
    # Neither needs torch, whose import would take most of the time.
    encoders = (PHASH, f"b={PHASH}")
    embed(large_catalogue, tmp_path / "whole.h5", image_encoders=encoders, batch_size=8)
    arguments = ["run", str(large_catalogue), "--text-encoder", "tfidf", "--batch-size", "8"]
    for encoder in encoders:
        arguments += ["--image-encoder", encoder]
    command = [sys.executable, "-c", code, *arguments]
    generator = random.Random(0)
    num_killed = num_with_parts = 0
    for _ in range(2):
        process = subprocess.Popen(
            [*command, "-o", tmp_path / "killed.h5"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        folder = tmp_path / "killed.h5.parts"
        num_before = len(list(folder.glob("*.part")))
        while process.poll() is None and len(list(folder.glob("*.part"))) <= num_before:
            time.sleep(0.01)  # let each run get somewhere first
        time.sleep(generator.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        num_killed += process.wait() == -signal.SIGKILL
        num_with_parts += folder.is_dir()
    assert num_killed >= 1
    assert num_with_parts >= 1
    subprocess.run([*command, "-o", tmp_path / "killed.h5"], check=True, capture_output=True)
    assert contents(tmp_path / "killed.h5") == contents(tmp_path / "whole.h5")
    assert not (tmp_path / "killed.h5.parts").exists()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("f.txt", "old")]


def test_command_line(catalogue: Path, tmp_path: Path, embed_cli: Invoke) -> None:
    output = tmp_path / "s.h5"
    encoders = ["--image-encoder", HOG, "--text-encoder", "tfidf"]
    result = json_of(embed_cli("run", catalogue, "-o", output, *encoders, "--json"))
    assert (result["num_items"], result["num_failures"], result["num_encoded"]) == (12, 0, 12)
    assert set(result) >= {"seconds", "items_per_second", "num_reused"}
    space = result["spaces"]["hog"]
    assert set(space) == {"kind", "dim", "modality", "spec", "fingerprint"}
    assert (space["kind"], space["dim"], space["spec"]) == ("dense", 2020, "classic:color-hog")
    info = json_of(embed_cli("info", output, "--json"))
    assert info["spaces"] == result["spaces"]
    assert "hog" in embed_cli("info", output).stdout
    table = embed_cli("run", catalogue, "-o", output, *encoders)
    assert "0 encoded, 12 reused" in table.stdout


def test_configuration_file(catalogue: Path, tmp_path: Path, embed_cli: Invoke) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(f"image-encoder: [{HOG}]\noutput: {tmp_path / 's.h5'}\nmax-failures: 1\n")
    result = json_of(embed_cli("run", catalogue, "--config", config, "--json"))
    assert list(result["spaces"]) == ["hog"]
    other = json_of(
        embed_cli(
            "run", catalogue, "--config", config, "-o", tmp_path / "t.h5", "--image-encoder", PHASH,
            "--json",
        )
    )  # fmt: skip
    assert list(other["spaces"]) == ["phash"]  # the command line wins
    config.write_text("image_encoders: x\n")
    failed = embed_cli("run", catalogue, "--config", config, "-o", "x.h5", exit_code=2)
    assert "no option is named 'image_encoders': did you mean image-encoder?" in failed.stderr
    config.write_text("zzz: x\n")
    failed = embed_cli("run", catalogue, "--config", config, "-o", "x.h5", exit_code=2)
    assert "no option is named 'zzz': they are allow-outside-root" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "message", "exit_code"),
    [
        (["--image-encoder", "clip"], "'clip' is not a family of image encoders", 2),
        (["--image-encoder", HOG, "--batch-size", "0"], "--batch-size is at least 1: found 0", 2),
        (["--image-encoder", HOG, "--batch-size", "many"], "--batch-size is auto or a number", 2),
        (["--image-encoder", HOG, "--max-failures", "few"], "--max-failures is a number", 2),
        (["--image-encoder", HOG, "--image-column", "photo"], "no column 'photo'", 1),
        (["--text-encoder", "tfidf", "--title-column", "name"], "with --title-column", 1),
        (["--image-encoder", HOG, "--drop-space", "x"], "--drop-space x", 1),
        (["--image-encoder", HOG, "--id-column", "sku"], "with --id-column", 1),
    ],
)
def test_a_users_mistakes_are_one_line(
    catalogue: Path,
    tmp_path: Path,
    embed_cli: Invoke,
    arguments: list[str],
    message: str,
    exit_code: int,
) -> None:
    output = tmp_path / "s.h5"
    result = embed_cli("run", catalogue, "-o", output, *arguments, exit_code=exit_code)
    assert message in result.stderr
    assert not output.exists()
    if result.stderr.startswith("error: "):  # our own; click shows the usage as well
        assert result.stderr.count("\n") == 1


def test_a_stale_part_never_wins(catalogue: Path, tmp_path: Path) -> None:
    """A picture is replaced between two runs that do not seal: its newest vector is sealed."""
    output, picture = tmp_path / "s.h5", catalogue.parent / "images/0-0.png"
    original = picture.read_bytes()
    (catalogue.parent / "images/3-2.png").unlink()
    for color in ("red", "blue"):
        Image.new("RGB", (30, 30), color).save(picture)
        with pytest.raises(TooManyFailuresError):
            embed(catalogue, output)
    picture.write_bytes(original)
    embed(catalogue, output, max_failures="1")
    embed(catalogue, tmp_path / "fresh.h5", max_failures="1")
    assert contents(output) == contents(tmp_path / "fresh.h5")


def test_parts_that_vanish_before_sealing_are_not_sealed_as_nothing(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_everything(*arguments: object) -> None:
        for path in (tmp_path / "s.h5.parts").glob("*.part"):
            path.write_bytes(path.read_bytes()[:-1])

    with monkeypatch.context() as patch:
        patch.setattr("embed.run.check_failures", lose_everything)
        with pytest.raises(StoreError, match="space 'hog' lacks 12 items: parts were damaged"):
            embed(catalogue, tmp_path / "s.h5")
    assert embed(catalogue, tmp_path / "s.h5").num_encoded == 12


def test_parts_of_another_encoder_are_kept(catalogue: Path, tmp_path: Path) -> None:
    output, picture = tmp_path / "s.h5", catalogue.parent / "images/0-0.png"
    data = picture.read_bytes()
    picture.unlink()
    with pytest.raises(TooManyFailuresError):
        embed(catalogue, output, image_encoders=(HOG,))
    picture.write_bytes(data)
    summary = embed(catalogue, output, image_encoders=(PHASH,))
    assert "finished rows of hog from a run that did not end are kept" in summary.warnings[0]
    assert embed(catalogue, output, image_encoders=(HOG, PHASH)).num_encoded == 1
    assert not (tmp_path / "s.h5.parts").exists()


def test_a_store_with_failures_takes_a_new_encoder(catalogue: Path, tmp_path: Path) -> None:
    (catalogue.parent / "images/0-0.png").unlink()
    output = tmp_path / "s.h5"
    embed(catalogue, output, image_encoders=(HOG,), max_failures="1")
    summary = embed(catalogue, output, image_encoders=(PHASH,), max_failures="1")
    assert list(summary.spaces) == ["phash", "tfidf", "hog"]


def test_titles_alone_are_counted(catalogue: Path, tmp_path: Path) -> None:
    first = embed(catalogue, tmp_path / "s.h5", image_encoders=())
    again = embed(catalogue, tmp_path / "s.h5", image_encoders=())
    assert (first.num_encoded, first.num_reused) == (12, 0)
    assert (again.num_encoded, again.num_reused) == (0, 12)


def test_what_a_killed_writer_left_is_removed(catalogue: Path, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leftover = tmp_path / f".s.{dead.pid}-0a1b2c3d.tmp.h5"
    running = tmp_path / ".s.1-0a1b2c3d.tmp.h5"
    leftover.write_bytes(b"x")
    running.write_bytes(b"x")
    embed(catalogue, tmp_path / "s.h5")
    assert (leftover.exists(), running.exists()) == (False, True)


def test_a_folder_that_cannot_be_written(catalogue: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't make the folder"):
        embed(catalogue, tmp_path / "file" / "s.h5")


def test_a_title_that_changed_is_not_sealed_beside_the_vector_of_the_old_one(
    catalogue: Path, tmp_path: Path
) -> None:
    """Though the run at hand encodes images alone."""
    output = tmp_path / "s.h5"
    embed(catalogue, output, image_encoders=(PHASH,))
    catalogue.write_text(catalogue.read_text().replace("thing number 1 photo 2", "a shoe"))
    with pytest.raises(StoreError, match="space 'tfidf' lacks 1 item that is new or changed"):
        embed(catalogue, output, image_encoders=(PHASH,), text_encoders=())
    embed(catalogue, output, image_encoders=(PHASH,), text_encoders=("tfidf",))


def test_an_image_that_was_replaced_is_not_sealed_beside_the_vector_of_the_old_one(
    catalogue: Path, tmp_path: Path
) -> None:
    """Though the run at hand encodes titles alone, and so reads no image."""
    output = tmp_path / "s.h5"
    embed(catalogue, output, image_encoders=(PHASH,))
    embed(catalogue, output, image_encoders=())
    catalogue.write_text(
        catalogue.read_text().replace("p1-2,images/1-2.png", "p1-2,images/0-0.png")
    )
    with pytest.raises(StoreError, match="space 'phash' lacks 1 item that is new or changed"):
        embed(catalogue, output, image_encoders=())


def test_files_that_were_renamed_are_told_by_their_bytes(catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    embed(catalogue, output)
    (catalogue.parent / "images/1-2.png").rename(catalogue.parent / "images/renamed.png")
    catalogue.write_text(catalogue.read_text().replace("images/1-2.png", "images/renamed.png"))
    assert embed(catalogue, output, image_encoders=(PHASH,)).num_encoded == 0


def test_a_store_that_is_replaced_during_a_run_does_not_lend_it_wrong_vectors(
    catalogue: Path, tmp_path: Path
) -> None:
    """Whoever opened the old one goes on reading the old one."""
    output = tmp_path / "s.h5"
    embed(catalogue, output)
    with Store(output) as store:
        expected = np.array(store.array("hog"))
        embed(catalogue, output, image_encoders=(PHASH,), drop_spaces=("hog",))
        np.testing.assert_array_equal(store.array("hog"), expected)


def test_items_that_can_no_longer_be_read_are_told(catalogue: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.h5"
    embed(catalogue, output)
    (catalogue.parent / "images/1-2.png").unlink()
    summary = embed(catalogue, output, max_failures="1")
    assert "1 item that the store had before can't be read now" in summary.warnings[0]
