"""`embed doctor` on a small catalogue: every step is measured, and nothing is left behind."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from embed.doctor.examination import Diagnosis, DoctorSettings, Step, encoders_together, examine
from embed.errors import SettingsError, SourceError
from embed.sources import SourceSettings
from tests.conftest import Invoke, json_of


@pytest.fixture
def vit(tmp_path: Path) -> str:
    """The spec of a tiny vision transformer with random weights."""
    import timm

    torch.manual_seed(0)
    model = timm.create_model("test_vit", pretrained=False, num_classes=0)
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    return f"vit=timm:test_vit@{tmp_path / 'vit.safetensors'}"


def diagnosis(**rates: float) -> Diagnosis:
    steps = tuple(Step(name.replace("_", " "), rate) for name, rate in rates.items())
    return Diagnosis(10, 0, steps, True, ceiling=50.0, end_to_end=40.0, settings={})


def test_what_follows_from_the_rates() -> None:
    found = diagnosis(decode=200.0, encode_a=70.0, write=9000.0)
    assert found.bottleneck == "encode a"
    assert found.share_of_ceiling == pytest.approx(0.8)


def test_encoders_count_together() -> None:
    encoding = [Step("encode a", 100.0), Step("encode b", 100.0)]
    together = encoders_together(encoding)
    assert together == Step("encoders together", 50.0)
    steps = (Step("decode", 80.0), *encoding, together)
    found = Diagnosis(10, 0, steps, True, ceiling=30.0, end_to_end=30.0, settings={})
    assert found.bottleneck == "encoders together"  # though none of them is slower than decoding


def test_every_step_is_measured(catalogue: Path, vit: str, tmp_path: Path) -> None:
    (catalogue.parent / "images/0-0.png").write_bytes(b"not an image")
    (catalogue.parent / "images/1-0.png").unlink()
    before = sorted(tmp_path.rglob("*"))
    found = examine(DoctorSettings(str(catalogue), (vit, "classic:phash"), seconds=0.5))
    names, ending = [step.name for step in found.steps], ("encoders together", "write")
    assert names == ["read", "decode", "copy", "encode vit", "encode phash", *ending]
    assert all(step.items_per_second > 0 for step in found.steps)
    assert (found.num_sampled, found.num_unreadable) == (12, 2)
    assert found.end_to_end > 0
    encoding = [step for step in found.steps if step.name.startswith("encode ")]
    assert encoders_together(encoding) in found.steps
    in_turn = [found.steps[1], *encoding]
    assert found.ceiling == pytest.approx(1 / sum(1 / s.items_per_second for s in in_turn))
    assert sorted(tmp_path.rglob("*")) == before


def test_readers_and_encoders_that_take_turns(catalogue: Path, vit: str) -> None:
    found = examine(DoctorSettings(str(catalogue), (vit,), seconds=0.5, device="cpu"))
    rates = {step.name: step.items_per_second for step in found.steps}
    assert found.counts_decoding
    assert found.ceiling == pytest.approx(1 / (1 / rates["decode"] + 1 / rates["encode vit"]))
    assert set(found.settings) == {"--device", "--batch-size", "--precision", "--workers"}


def test_the_command_line(catalogue: Path, vit: str, embed_cli: Invoke) -> None:
    arguments = ("doctor", catalogue, "--image-encoder", vit, "--seconds", "1")
    result = json_of(embed_cli(*arguments, "--json"))
    assert result["bottleneck"] in {step["name"] for step in result["steps"]}
    table = embed_cli(*arguments).stdout
    assert "the most that decoding and encoding in turn could reach here" in table
    assert "settings that suit it: --device cpu --batch-size" in table


def test_encoders_that_learn_from_all_titles(catalogue: Path, vit: str, embed_cli: Invoke) -> None:
    with pytest.raises(SettingsError, match="tfidf learns from all titles at a run's end"):
        examine(DoctorSettings(str(catalogue), text_encoders=("tfidf",)))
    arguments = ("--image-encoder", vit, "--text-encoder", "tfidf:min_df=1", "--seconds", "1")
    table = embed_cli("doctor", catalogue, *arguments).stdout
    assert "left out: tfidf:min_df=1" in table
    assert "encode tfidf" not in table


def test_the_largest_image_is_that_of_the_run(catalogue: Path, embed_cli: Invoke) -> None:
    arguments = ("doctor", catalogue, "--image-encoder", "classic:phash", "--max-pixels")
    found = embed_cli(*arguments, 64 * 48 - 1, "--seconds", "1", exit_code=1)
    assert "none of 12 images of the sample can be decoded" in found.stderr


def test_what_it_can_not_examine(catalogue: Path) -> None:
    with pytest.raises(SettingsError, match="name the encoders that are to run"):
        examine(DoctorSettings(str(catalogue)))
    with pytest.raises(SettingsError, match="one device is examined at a time"):
        examine(DoctorSettings(str(catalogue), ("classic:phash",), device="cpu,cpu"))
    columns = SourceSettings(image_column="picture")
    with pytest.raises(SourceError, match="no column 'picture' for the image encoders"):
        examine(DoctorSettings(str(catalogue), ("classic:phash",), columns=columns))
    for image in (catalogue.parent / "images").iterdir():
        image.write_bytes(b"not an image")
    with pytest.raises(SourceError, match="none of 12 images of the sample can be decoded"):
        examine(DoctorSettings(str(catalogue), ("classic:phash",), seconds=0.5))
