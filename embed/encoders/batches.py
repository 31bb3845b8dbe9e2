"""How many items are best encoded at once."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from embed.encoders.registry import Encoders

if TYPE_CHECKING:
    from embed.encoders.torch_encoders import TorchImageEncoder

# On two cores, ViT-B-32 in bf16 gave 32, 33, 35 and 38 images a second in batches of 8, 16, 32 and
# 64: more than 32 gains little, and takes twice the memory.
IMAGES_PER_BATCH = 32
TITLES_PER_BATCH = 1024
MOST_IMAGES_PER_BATCH = 1024
LEAST_GAIN = 1.03
TIMED_BATCHES = 3


def find_batch_size(encoders: Encoders, device: str) -> int:
    """Items a batch: a constant on the CPU; on a GPU the size from which more gains nothing.

    Titles alone are batched anew by their tokens, so their number matters little.
    """
    if not encoders.image:
        return TITLES_PER_BATCH
    if not device.startswith("cuda"):
        return IMAGES_PER_BATCH
    from embed.encoders.torch_encoders import TorchImageEncoder

    towers = [encoder for encoder in encoders.image if isinstance(encoder, TorchImageEncoder)]
    if not towers:
        return IMAGES_PER_BATCH
    return double_while_faster(lambda size: images_per_second(towers, size))


def double_while_faster(rate: Callable[[int], float | None]) -> int:
    """The last size whose doubling still paid: `rate` is items a second, None out of memory."""
    size = IMAGES_PER_BATCH
    fastest = rate(size)
    while fastest is not None and size < MOST_IMAGES_PER_BATCH:
        found = rate(2 * size)
        if found is None or found < fastest * LEAST_GAIN:
            break
        size, fastest = 2 * size, found
    return size


def images_per_second(towers: Sequence["TorchImageEncoder"], size: int) -> float | None:
    """The rate at which all towers encode batches of that size; None where one does not fit.

    What a tower learnt from running out of memory here is forgotten again.
    """
    before = [tower.pieces.size for tower in towers]
    _encode_batches(towers, size, 1)  # kernels are chosen and memory is taken at the first
    started = time.perf_counter()
    _encode_batches(towers, size, TIMED_BATCHES)
    seconds = time.perf_counter() - started
    fits = [tower.pieces.size for tower in towers] == before
    for tower, pieces in zip(towers, before, strict=True):
        tower.pieces.size = pieces
    return TIMED_BATCHES * size / seconds if fits else None


def _encode_batches(towers: Sequence["TorchImageEncoder"], size: int, count: int) -> None:
    for tower in towers:
        pixels = np.zeros((size, *tower.transform.crop_to, 3), np.uint8)
        waits = [tower.start(pixels) for _ in range(count)]
        for wait in waits:
            wait()
