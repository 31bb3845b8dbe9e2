"""Resizing of pixels, with antialiasing: as Pillow does it, and faster where torch can."""

from functools import cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from embed.images import Interpolation

# Rounding must not take the last pixel off where torch multiplies edge and scale again.
_A_LITTLE = 1e-6


def resize(
    pixels: UInt8[np.ndarray, "h w c"],
    size: tuple[int, int],
    interpolation: Interpolation,
    extent: tuple[float, float],
) -> UInt8[np.ndarray, "to_h to_w c"]:
    """Pixels of `size`, (width, height), of one or three channels; contiguous.

    `extent` is how many columns and rows the picture fills: less than there are where decoding at
    a fraction of the size had to round up. Bilinear and bicubic differ from Pillow's by at most
    one level.
    """
    if interpolation in ("bilinear", "bicubic") and _torch_is_fast():
        return _resize_by_torch(pixels, size, interpolation, extent)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    method = Image.Resampling[interpolation.upper()]
    resized = image.resize(size, method, (0.0, 0.0, *extent))
    return np.asarray(resized).reshape(size[1], size[0], -1)


@cache
def _torch_is_fast() -> bool:
    """Whether torch has its vector code for bytes; without it, it is slower than Pillow."""
    import torch

    return torch.backends.cpu.get_cpu_capability().startswith("AVX")


def _resize_by_torch(
    pixels: UInt8[np.ndarray, "h w c"],
    size: tuple[int, int],
    interpolation: Interpolation,
    extent: tuple[float, float],
) -> UInt8[np.ndarray, "to_h to_w c"]:
    """In the thread that calls, without the GIL, and without a copy.

    torch's vector code for one image of bytes runs in the calling thread: no OpenMP team is made,
    however many cores there are. So threads need not be limited here; and they could not be:
    `torch.set_num_threads` holds for the thread that calls it *and* for every thread that uses
    torch for the first time afterwards, which may be the one that runs the model.
    """
    import torch
    from torch.nn import functional

    # The batch axis comes first, then the permutation: the other way round, torch takes the
    # strides for those of planes and makes planes.
    batch = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    scales = ((size[1] + _A_LITTLE) / extent[1], (size[0] + _A_LITTLE) / extent[0])
    resized = functional.interpolate(
        batch,
        scale_factor=scales,
        mode=interpolation,
        antialias=True,
        recompute_scale_factor=False,
    )
    return np.ascontiguousarray(resized.permute(0, 2, 3, 1)[0].numpy())
