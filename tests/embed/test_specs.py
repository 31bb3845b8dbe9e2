from pathlib import Path

import pytest

from embed.encoders.registry import load_encoders
from embed.encoders.specs import EncoderSpec, parse_specs
from embed.errors import EncoderError, SpecError, WeightsNotFoundError


def test_a_spec_is_read() -> None:
    spec = EncoderSpec.parse("clip=open_clip:ViT-L-14-336/openai@/a,b/w.pt", "image")
    assert (spec.name, spec.family, spec.model) == ("clip", "open_clip", "ViT-L-14-336/openai")
    assert spec.weights == Path("/a,b/w.pt")
    assert spec.text == "open_clip:ViT-L-14-336/openai@/a,b/w.pt"
    assert EncoderSpec.parse("tfidf:ngrams=1-2,min_df=2", "text").options == {
        "ngrams": "1-2",
        "min_df": "2",
    }


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("classic:color-hog", "color-hog"),
        ("tfidf:min_df=2", "tfidf"),
        ("open_clip:ViT-H-14/laion2b_s32b_b79k", "ViT-H-14_laion2b_s32b_b79k"),
        ("timm:mobilenetv2_100@../models/m.safetensors", "mobilenetv2_100"),
        ("transformers:/models/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
    ],
)
def test_a_space_is_named_after_its_model(given: str, name: str) -> None:
    modality = "text" if given.startswith("tfidf") else "image"
    assert EncoderSpec.parse(given, modality).name == name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("clip:ViT", "'clip' is not a family of image encoders: they are open_clip"),
        ("tfidf", "'tfidf' is not a family of image encoders"),
        ("classic:sift", "classic:color-hog and classic:phash"),
        ("classic:phash,bits=9", "has no option 'bits'"),
        ("timm:mobilenetv2_10@x", "near it: .*mobilenetv2_1"),
        ("timm:mobilenetv2_100@x,crop_pct=3", "crop_pct is above 0 and at most 1"),
        ("open_clip:ViT-B-33/openai", "near it: .*ViT-B-32"),
        ("open_clip:ViT-B-32/opanai", "it has openai"),
        ("open_clip:ViT-B-32", "say which weights"),
        ("classic:color-hog@file", "need no weights: write classic:color-hog"),
        ("my space=classic:phash", "found 'my space'"),
        ("..=classic:phash", r"not dots alone: found '\.\.'"),
        ("=classic:phash", "found ''"),
    ],
)
def test_specs_that_are_refused(given: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        load_encoders(parse_specs([given.replace("@x", f"@{tmp_path}/x")], []))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("timm:mobilenetv2_100@nowhere.safetensors", "no weights file at nowhere.safetensors"),
        ("open_clip:ViT-B-32@nowhere.pt", "no weights file at nowhere.pt"),
        ("transformers:./nowhere", "there is no folder ./nowhere"),
        ("transformers:bert-base-uncased", "no folder bert-base-uncased; .* written OWNER/NAME"),
    ],
)
def test_missing_files_are_named(given: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        load_encoders(parse_specs([given], []))


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\0" * 100)
    for spec in ("timm:mobilenetv2_100@", "open_clip:ViT-S-32@"):
        with pytest.raises(EncoderError, match="encoder"):
            load_encoders(parse_specs([f"{spec}{tmp_path}/w.safetensors"], []))


def test_two_spaces_of_one_name_are_refused() -> None:
    with pytest.raises(SpecError, match="two encoders are named 'phash'"):
        parse_specs(["classic:phash", "phash=classic:color-hog"], [])


def test_a_folder_of_open_clip_takes_no_weights(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a folder brings its own weights"):
        load_encoders(parse_specs([f"open_clip:{tmp_path}@w.pt"], []))


def test_tfidf_takes_no_model() -> None:
    with pytest.raises(SpecError, match="found 'char_wb': options are written tfidf:analyzer="):
        EncoderSpec.parse("tfidf:char_wb", "text")


def test_home_and_at_signs_in_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "u@h").mkdir()
    spec = EncoderSpec.parse("transformers:~/u@h", "image")
    assert (spec.folder, spec.weights, spec.name) == (tmp_path / "u@h", None, "u_h")
    timm = EncoderSpec.parse("timm:mobilenetv2_100@~/w.safetensors", "image")
    assert timm.weights == tmp_path / "w.safetensors"
    assert EncoderSpec.parse("open_clip:~/nowhere", "image").folder is None


@pytest.mark.parametrize("options", ["ngrams=x", "binary=maybe", "analyzer=syllable", "size=3"])
def test_tfidf_options_are_checked(options: str) -> None:
    with pytest.raises(SpecError, match="encoder 'tfidf:"):
        load_encoders(parse_specs([], [f"tfidf:{options}"]))


def test_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network: the address of the hub leads nowhere, and the cache is empty."""
    import huggingface_hub
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.hf_api.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        huggingface_hub.HfApi,
        "__init__",
        lambda self: setattr(self, "endpoint", "http://127.0.0.1:9"),
    )
    monkeypatch.setattr(huggingface_hub.HfApi, "token", None, raising=False)
    monkeypatch.setattr(huggingface_hub.HfApi, "_build_hf_headers", lambda self, **kwargs: {})
    with pytest.raises(WeightsNotFoundError) as caught:
        load_encoders(parse_specs(["open_clip:ViT-H-14/laion2b_s32b_b79k"], []))
    message = str(caught.value)
    assert "ViT-H-14/laion2b_s32b_b79k" in message  # what was wanted
    assert str(tmp_path) in message  # where it was looked for
    assert "classic:color-hog" in message  # what needs none
    assert "@WEIGHTS_FILE" in message
