"""Batches that do not fit in memory are taken in pieces that do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embed.encoders.batches import double_while_faster, find_batch_size, images_per_second
from embed.encoders.lanes import Lane
from embed.encoders.memory import Pieces
from embed.encoders.registry import load_encoders
from embed.encoders.specs import parse_specs
from embed.errors import EncoderError
from tests.embed.encoders.tiny_models import (
    TITLES,
    clip_folder,
    encode,
    image_encoder,
    text_encoder,
)

CPU = torch.device("cpu")
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 12"),
    MemoryError(),
]


class Small:
    """Doubles rows, but no more than `most` at once."""

    def __init__(self, most: int, error: BaseException) -> None:
        self.most, self.error = most, error
        self.rows = torch.arange(11.0)[:, None]
        self.tried: list[int] = []

    def __call__(self, piece: slice) -> torch.Tensor:
        rows = self.rows[piece]
        self.tried.append(len(rows))
        if len(rows) > self.most:
            raise self.error
        return rows * 2


@pytest.mark.parametrize("error", ERRORS)
def test_pieces_are_halved_until_they_fit_and_stay_so(error: BaseException) -> None:
    forward, pieces = Small(3, error), Pieces("encoder 'x'", CPU)
    torch.testing.assert_close(pieces.encode(forward, 11), forward.rows * 2)
    assert forward.tried == [11, 5, 2, 2, 2, 2, 2, 1]
    assert pieces.size == 2
    forward.tried.clear()
    pieces.encode(forward, 4)
    assert forward.tried == [2, 2]


def test_a_single_item_that_does_not_fit() -> None:
    pieces = Pieces("encoder 'open_clip:huge'", CPU)
    with pytest.raises(
        EncoderError, match=r"'open_clip:huge': a batch of 1 does not fit.*cpu"
    ) as e:
        pieces.encode(Small(0, ERRORS[1]), 11)
    assert "--precision bf16" in str(e.value)
    assert "can't allocate memory" in str(e.value)


def test_other_errors_are_not_swallowed() -> None:
    pieces = Pieces("encoder 'x'", CPU)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        pieces.encode(Small(3, RuntimeError("mat1 and mat2 shapes cannot be multiplied")), 11)
    assert pieces.size is None


def test_encoders_give_the_same_vectors_in_pieces(
    tmp_path: Path, pictures: list[Image.Image]
) -> None:
    folder = clip_folder(tmp_path / "model", "clip")
    images, titles = image_encoder(f"transformers:{folder}"), text_encoder(f"transformers:{folder}")
    whole = encode(images, pictures), titles.encode(TITLES)
    images.pieces.size = titles.pieces.size = 1  # type: ignore[attr-defined]
    np.testing.assert_allclose(encode(images, pictures), whole[0], atol=1e-6)
    np.testing.assert_allclose(titles.encode(TITLES), whole[1], atol=1e-6)


class SmallLane(Lane):
    """To a device that has room for two items at a time."""

    def send(self, batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().send(batch)


def test_an_upload_that_does_not_fit_is_halved(tmp_path: Path, pictures: list[Image.Image]) -> None:
    folder = clip_folder(tmp_path / "model", "clip")
    images, titles = image_encoder(f"transformers:{folder}"), text_encoder(f"transformers:{folder}")
    whole = encode(images, pictures), titles.encode(TITLES)
    images._lane = titles._lane = SmallLane(CPU)  # type: ignore[attr-defined]
    np.testing.assert_allclose(encode(images, pictures), whole[0], atol=1e-6)
    np.testing.assert_allclose(titles.encode(TITLES), whole[1], atol=1e-6)
    assert images.pieces.size in (1, 2)  # type: ignore[attr-defined]
    assert len(pictures) > 2


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({32: 100.0, 64: 150.0, 128: 152.0}, 64),  # 1.3 % more does not pay
        ({32: 100.0, 64: 110.0, 128: 120.0, 256: None}, 128),
        ({32: None}, 32),
        ({32: 100.0, 64: 90.0}, 32),
        ({32 * 2**n: 2.0**n for n in range(6)}, 1024),  # and 2048 is not tried
    ],
)
def test_the_batch_grows_while_it_pays(rates: dict[int, float | None], expected: int) -> None:
    assert double_while_faster(lambda size: rates[size]) == expected


def test_batch_sizes_on_the_cpu_are_constant() -> None:
    images = load_encoders(parse_specs(["classic:phash"], []))
    titles = load_encoders(parse_specs([], ["tfidf"]))
    assert find_batch_size(images, "cpu") == 32
    assert find_batch_size(titles, "cpu") == 1024


def test_trying_a_size_leaves_no_trace(tmp_path: Path) -> None:
    encoder = image_encoder(f"transformers:{clip_folder(tmp_path / 'model', 'clip')}")
    rate = images_per_second([encoder], 2)  # type: ignore[list-item]
    assert rate is not None
    assert rate > 0
    forward = encoder._forward  # type: ignore[attr-defined]

    def small(pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        vectors: torch.Tensor = forward(pixels)
        return vectors

    encoder._forward = small  # type: ignore[attr-defined]
    assert images_per_second([encoder], 2) is None  # type: ignore[list-item]
    assert encoder.pieces.size is None  # type: ignore[attr-defined]
