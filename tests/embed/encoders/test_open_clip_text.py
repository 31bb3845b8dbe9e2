"""OpenCLIP's text towers, cut to the tokens that matter where that is exact, else left whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Int

from tests.embed.encoders.tiny_models import TITLES, open_clip_folder, text_encoder

VISION = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8}
TEXT = {"context_length": 20, "vocab_size": 60, "width": 32, "heads": 2, "layers": 2}
START, END = 58, 59


def model_of(kind: str, **text: Any) -> Any:
    import open_clip

    torch.manual_seed(0)
    options: dict[str, Any] = {"vision_cfg": VISION, "text_cfg": TEXT | text}
    if kind == "CoCa":
        options["multimodal_cfg"] = TEXT | {"mlp_ratio": 4}
        options["vision_cfg"] = VISION | {"attentional_pool": True, "output_tokens": True}
        options["text_cfg"] |= {"embed_cls": True, "output_tokens": True}
    model = getattr(open_clip, kind)(16, **options).eval()
    for parameter in model.parameters():
        parameter.data.mul_(3 if parameter.ndim > 1 else 1)
    return model


def cut_text_of(model: Any) -> Any:
    from embed.encoders.open_clip_text import CutText

    return CutText(model)


def titles_of_lengths(*lengths: int) -> Int[torch.Tensor, "n 20"]:
    generator = torch.Generator().manual_seed(1)
    text = torch.zeros(len(lengths), 20, dtype=torch.int64)
    for row, length in enumerate(lengths):
        words = torch.randint(1, START, (length - 2,), generator=generator)
        text[row, :length] = torch.tensor([START, *words.tolist(), END])
    return text


@pytest.mark.parametrize("kind", ["CLIP", "CustomTextCLIP"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pool_type": "eos", "eos_id": END},
        {"proj_bias": True, "norm_kwargs": {"eps": 1e-6}},
        {"ls_init_value": 0.1, "proj_type": "none"},
        {"qk_norm": True, "scale_attn": True},
    ],
)
@torch.inference_mode()
def test_cut_titles_give_the_same_vectors(kind: str, settings: Any) -> None:
    model, text = model_of(kind, **settings), titles_of_lengths(2, 5, 9)
    cut_text = cut_text_of(model)
    needed = cut_text.num_needed(text)
    assert needed.tolist() == [2, 5, 9]
    full = torch.nn.functional.normalize(model.encode_text(text), dim=1)
    cut = torch.nn.functional.normalize(cut_text.encode(text[:, :9]), dim=1)
    torch.testing.assert_close(cut, full, atol=1e-6, rtol=0)
    # The library's tensors are as they were.
    torch.testing.assert_close(cut_text_of(model).encode(text), model.encode_text(text))


@torch.inference_mode()
def test_titles_without_an_end_are_pooled_where_the_library_pools() -> None:
    model = model_of("CustomTextCLIP", pool_type="eos", eos_id=END)
    text = titles_of_lengths(4, 8)
    text[1, 7] = 1
    assert cut_text_of(model).num_needed(text).tolist() == [4, 1]
    torch.testing.assert_close(cut_text_of(model).encode(text[:, :4]), model.encode_text(text))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("CLIP", {"no_causal_mask": True}),
        ("CustomTextCLIP", {"no_causal_mask": True, "pool_type": "last"}),
        ("CustomTextCLIP", {"pool_type": "last"}),
        ("CustomTextCLIP", {"pool_type": "first"}),
        ("CustomTextCLIP", {"no_causal_mask": True, "pool_type": "eos", "eos_id": END}),
        ("CoCa", {}),
    ],
)
@torch.inference_mode()
def test_other_towers_are_not_cut(kind: str, settings: Any) -> None:
    model, text = model_of(kind, **settings), titles_of_lengths(2, 5, 9)
    assert cut_text_of(model).num_needed(text).tolist() == [20, 20, 20]
    torch.testing.assert_close(cut_text_of(model).encode(text), model.encode_text(text))


@pytest.mark.parametrize("kind", ["CLIP", "CustomTextCLIP"])
@pytest.mark.parametrize("settings", [{}, {"pool_type": "eos", "eos_id": END}])
@torch.inference_mode()
def test_encoding_never_waits_for_the_device(kind: str, settings: Any) -> None:
    model, text = model_of(kind, **settings), titles_of_lengths(2, 5, 9)
    cut_text = cut_text_of(model)
    # On this device nothing has a value: reading one, as waiting for a GPU would, is an error.
    model.to("meta")
    assert cut_text.num_needed(text).tolist() == [2, 5, 9]
    assert cut_text.encode(text[:, :9].to("meta")).shape == (3, 16)


def test_the_encoder_runs_on_fewer_positions(tmp_path: Path) -> None:
    encoder = text_encoder(f"open_clip:{open_clip_folder(tmp_path / 'model')}")
    tokens = encoder._tokenize(TITLES)  # type: ignore[attr-defined]
    assert tokens.lengths.max() < 20
    shapes = [tuple(tokens.take([row])["text"].shape) for row in range(len(TITLES))]
    assert shapes == [(1, length) for length in tokens.lengths]
    alone = np.concatenate([encoder.encode([title]) for title in TITLES])
    np.testing.assert_allclose(encoder.encode(TITLES), alone, atol=1e-5)
