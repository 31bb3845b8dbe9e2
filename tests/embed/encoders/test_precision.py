"""On a CPU with bf16 units, `auto` is what each encoder's vectors allow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embed.devices import has_bf16_units
from embed.encoders import probes
from embed.encoders.precision import settle
from embed.encoders.runtime import Runtime
from tests.embed.encoders.tiny_models import clip_folder, image_encoder

CPU = torch.device("cpu")
OPEN = Runtime(CPU, "fp32", or_bf16=True)


def module_of(weights: list[list[float]]) -> torch.nn.Linear:
    module = torch.nn.Linear(2, 2, bias=False)
    module.weight.data = torch.tensor(weights)
    module.register_buffer("fine", torch.tensor([1.0009765625]), persistent=False)
    return module


def settled(module: torch.nn.Linear, runtime: Runtime = OPEN) -> Runtime:
    inputs = torch.tensor([[1.0, 1.0], [1.0, 0.5]])

    def encode(other: Runtime) -> torch.Tensor:
        dtype = torch.bfloat16 if other.precision == "bf16" else torch.float32
        assert module.weight.dtype == dtype
        with torch.inference_mode():
            vectors: torch.Tensor = module(inputs.to(dtype)).float()
        return vectors

    return settle(runtime, module, encode)


def test_what_bf16_holds_is_bf16() -> None:
    assert settled(module_of([[1.0, 2.0], [3.0, 4.0]])) == Runtime(CPU, "bf16")


def test_what_bf16_loses_is_fp32() -> None:
    """The differences that make the vector lie below bf16's 8 bits."""
    assert settled(module_of([[1.001, -1.0], [1.002, -1.0]])) == Runtime(CPU, "fp32")


def test_vectors_that_are_not_finite_mean_fp32() -> None:
    assert settled(module_of([[float("nan"), 1.0], [1.0, 1.0]])).precision == "fp32"


def test_the_module_is_left_as_it_was() -> None:
    module: Any = module_of([[1.001, 2.002], [3.003, 4.004]])
    settled(module)
    assert module.weight.tolist() == torch.tensor([[1.001, 2.002], [3.003, 4.004]]).tolist()
    assert module.fine.tolist() == [1.0009765625]  # a buffer that no checkpoint holds


def test_a_named_precision_is_not_probed() -> None:
    def encode(_: Runtime) -> torch.Tensor:
        pytest.fail("nothing has to be encoded")

    for precision in ("fp32", "bf16", "fp16"):
        runtime = Runtime.choose("cpu", precision)
        assert settle(runtime, module_of([[1.0, 1.0], [1.0, 1.0]]), encode) is runtime


def test_auto_on_the_cpu_asks_for_bf16_units() -> None:
    runtime = Runtime.choose("cpu", "auto")
    assert runtime == Runtime(CPU, "fp32", or_bf16=has_bf16_units())


def test_auto_is_part_of_the_fingerprint_and_the_same_again(tmp_path: Path) -> None:
    folder = clip_folder(tmp_path / "model", "clip")
    first, again = (image_encoder(f"transformers:{folder}", "auto") for _ in range(2))
    named = image_encoder(f"transformers:{folder}", first.info.precision)
    assert first.info.precision == ("bf16" if has_bf16_units() else "fp32")
    assert first.info == again.info == named.info


def test_mobilenet_stays_in_fp32(shared: Path) -> None:
    """The least cosine of its bf16 vectors of 3,017 photographs is .9972."""
    weights = shared / "models" / "mobilenetv2_100.safetensors"
    assert image_encoder(f"timm:mobilenetv2_100@{weights}", "auto").info.precision == "fp32"


def test_probes_are_like_photographs_and_always_the_same() -> None:
    drawn = probes.draw_photographs(96, 128)
    assert drawn.shape == (probes.NUM_IMAGES, 96, 128, 3)
    np.testing.assert_array_equal(drawn, probes.draw_photographs(96, 128))
    assert 40 < drawn.std() < 80  # neither flat nor black and white
    spectrum = np.abs(np.fft.rfft2(drawn.mean(axis=3))).mean(axis=0)
    assert spectrum[2:6, 2:6].mean() > 10 * spectrum[20:40, 20:40].mean()
