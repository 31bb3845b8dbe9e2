"""`embed encoders`: what there is, and whether its weights are here, with nothing loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from embed.encoders.listing import SHOWN, ListedEncoder, list_encoders
from embed.encoders.published import _package_folder, _tables, published_models
from embed.encoders.specs import DEFAULT_IMAGE_SPECS
from embed.errors import SpecError
from tests.conftest import Invoke, json_of


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and an empty home folder."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "hub"


def add_snapshot(cache: Path, repository: str, *names: str, config: object = None) -> None:
    folder = cache / f"models--{repository.replace('/', '--')}" / "snapshots" / "0123abcd"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))


def found(search: str) -> ListedEncoder:
    return next(encoder for encoder in list_encoders(search) if search in encoder.spec)


def test_the_table_is_that_of_the_library() -> None:
    import open_clip

    ours = [(model.arch, model.tag) for model in published_models()]
    assert ours == [
        pair for pair in open_clip.list_pretrained() if pair[0] in open_clip.list_models()
    ]
    for model in published_models():
        settings = open_clip.get_pretrained_cfg(model.arch, model.tag)
        config = open_clip.get_model_config(model.arch)
        assert settings["hf_hub"].startswith(model.repository)
        assert model.dim == config["embed_dim"]
        assert model.tokens == config["text_cfg"].get("context_length", 77)


@pytest.mark.parametrize(
    "laid_out", ["_TABLE = {}", "_PRETRAINED = {**_TABLE}", "def broken(", None]
)
def test_a_library_laid_out_in_another_way_is_imported(
    tmp_path: Path, laid_out: str | None
) -> None:
    if laid_out is not None:
        (tmp_path / "constants.py").write_text("HF_WEIGHTS_NAME = HF_SAFE_WEIGHTS_NAME = 'x'\n")
        (tmp_path / "pretrained.py").write_text(f"{laid_out}\n")
    assert _tables(tmp_path) == _tables(_package_folder())


def test_the_short_list_names_published_models() -> None:
    assert set(SHOWN) <= {f"{model.arch}/{model.tag}" for model in published_models()}


def test_defaults_come_first_and_all_are_more(cache: Path) -> None:
    encoders = list_encoders()
    assert tuple(encoder.spec for encoder in encoders[:2]) == DEFAULT_IMAGE_SPECS
    assert encoders[0] == ListedEncoder(
        DEFAULT_IMAGE_SPECS[0], ("image", "text"), 1024, (224, 224), 77, "to fetch"
    )
    assert [encoder.spec for encoder in encoders[-3:]] == [
        "classic:color-hog",
        "classic:phash",
        "tfidf",
    ]
    assert len(list_encoders(everything=True)) > 10 * len(encoders)


def test_weights_in_the_cache_are_found(cache: Path) -> None:
    repository = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
    add_snapshot(cache, repository, "open_clip_config.json")
    assert found("ViT-H-14/laion2b_s32b_b79k").weights == "to fetch"  # no weights among its files
    folder = next(cache.glob("*/snapshots/*"))
    (folder / "open_clip_model.safetensors").symlink_to(folder / "gone")
    assert found("ViT-H-14/laion2b_s32b_b79k").weights == "to fetch"  # a download that broke off
    (folder / "gone").write_bytes(b"x")
    assert found("ViT-H-14/laion2b_s32b_b79k").weights == "here"
    assert found("ViT-L-14-336/openai").weights == "to fetch"


def test_cached_models_of_timm_and_transformers_are_listed(cache: Path) -> None:
    timm_config = {
        "architecture": "resnet18",
        "num_features": 512,
        "pretrained_cfg": {"tag": "a1_in1k", "input_size": [3, 224, 288]},
    }
    add_snapshot(cache, "timm/resnet18.a1_in1k", "model.safetensors", config=timm_config)
    text_config = {"model_type": "bert", "hidden_size": 384, "max_position_embeddings": 512}
    names = ("model.safetensors", "tokenizer.json")
    add_snapshot(cache, "someone/small-text", *names, config=text_config)
    towers = {
        "model_type": "clip",
        "projection_dim": 512,
        "vision_config": {"image_size": 224},
        "text_config": {"max_position_embeddings": 77},
    }
    add_snapshot(cache, "someone/towers", "pytorch_model.bin", config=towers)
    add_snapshot(cache, "someone/no-weights", config=towers)
    listed = [e for e in list_encoders() if e.spec.startswith(("timm:", "transformers:"))]
    assert listed == [
        ListedEncoder("transformers:someone/small-text", ("text",), 384, None, 512, "here"),
        ListedEncoder(
            "transformers:someone/towers", ("image", "text"), 512, (224, 224), 77, "here"
        ),
        ListedEncoder("timm:resnet18.a1_in1k", ("image",), 512, (224, 288), None, "here"),
    ]


def test_the_classic_dimensions_are_true() -> None:
    from embed.encoders.registry import load_encoders
    from embed.encoders.specs import parse_specs

    specs = ["classic:color-hog", "classic:phash"]
    for encoder in load_encoders(parse_specs(specs, [])).image:
        listed = found(encoder.info.spec)
        assert (listed.dim, listed.pixels) == (encoder.info.dim, encoder.transform.crop_to)


def test_a_word_that_no_spec_holds() -> None:
    with pytest.raises(SpecError, match="no encoder's spec holds 'nothing-like-it'"):
        list_encoders("nothing-like-it")


def test_the_command(cache: Path, embed_cli: Invoke) -> None:
    content = json_of(embed_cli("encoders", "ViT-L-14-336/OPENAI", "--json"))
    assert content["encoders"] == [
        {
            "spec": "open_clip:ViT-L-14-336/openai",
            "modalities": ["image", "text"],
            "dim": 768,
            "input": {"pixels": [336, 336], "tokens": 77},
            "weights": "to fetch",
            "default": True,
        }
    ]
    table = embed_cli("encoders").stdout
    assert "open_clip:ViT-H-14/laion2b_s32b_b79k (default)" in table
    assert "224 × 224 pixels, 77 tokens" in table
    assert "holds 'zzz'" in embed_cli("encoders", "zzz", exit_code=2).stderr


def test_listing_imports_no_model_library() -> None:
    code = (
        "import sys; from embed.encoders.listing import list_encoders; list_encoders()\n"
        "heavy = {'torch', 'open_clip', 'timm', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
