"""Descriptors that need no weights: colour with gradients, and a perceptual hash."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.fftpack
import skimage.color
import skimage.feature
from jaxtyping import Float, UInt8
from PIL import Image

from embed.devices import num_cores
from embed.encoders.base import ImageEncoder, unit_length
from embed.encoders.specs import EncoderSpec
from embed.errors import SpecError
from embed.images import PIXELS_VERSION, ImageTransform
from embed.store import SpaceInfo

HUE_BINS, SATURATION_BINS, VALUE_BINS = 16, 4, 4
HOG_SIDE_PIXELS, HOG_CELL_PIXELS, HOG_ORIENTATIONS = 128, 16, 9


class ColorHog(ImageEncoder):
    """A colour histogram beside histograms of oriented gradients (HOG), each of unit length.

    The histogram counts pixels in HSV (16 × 4 × 4 bins) and takes square roots, so that its inner
    product is the Bhattacharyya coefficient. HOG is Dalal & Triggs, CVPR 2005, as scikit-image
    computes it on the grey image: 9 orientations, cells of 16 × 16 pixels, blocks of 2 × 2, L2-Hys.
    """

    is_parallel = True
    transform = ImageTransform(
        (HOG_SIDE_PIXELS, HOG_SIDE_PIXELS),
        (HOG_SIDE_PIXELS, HOG_SIDE_PIXELS),
        "squash",
        "bilinear",
    )

    def __init__(self, spec: EncoderSpec) -> None:
        self.name = spec.name
        blocks = HOG_SIDE_PIXELS // HOG_CELL_PIXELS - 1
        dim = HUE_BINS * SATURATION_BINS * VALUE_BINS + blocks**2 * 4 * HOG_ORIENTATIONS
        # Its threads end with the encoder, or with the process: idle ones keep neither alive.
        self._pool = ThreadPoolExecutor(num_cores(), "color-hog")
        self.info = _info(spec, "dense", dim, f"color-hog 1, pixels {PIXELS_VERSION}", "fp32")

    def encode(self, pixels: UInt8[np.ndarray, "b h w c"]) -> Float[np.ndarray, "b d"]:
        """One float32 vector of unit length an image."""
        return unit_length(np.stack(list(self._pool.map(self._describe, pixels))))

    def _describe(self, image: UInt8[np.ndarray, "h w c"]) -> Float[np.ndarray, " d"]:
        gradients = skimage.feature.hog(
            np.asarray(Image.fromarray(image).convert("L")),
            HOG_ORIENTATIONS,
            (HOG_CELL_PIXELS, HOG_CELL_PIXELS),
            (2, 2),
            "L2-Hys",
        )
        return np.concatenate(
            [_color_histogram(image), unit_length(gradients[None].astype(np.float32))[0]]
        )


class PerceptualHash(ImageEncoder):
    """The 64-bit perceptual hash of the imagehash library, as packed bits: a binary space.

    The same bits, of a whole batch at once: the low frequencies of the discrete cosine transform of
    32 × 32 grey pixels, each whether it is above their median.
    """

    # What imagehash does first: grey, then 32 × 32 by Lanczos.
    transform = ImageTransform((32, 32), (32, 32), "squash", "lanczos", color="L")

    def __init__(self, spec: EncoderSpec) -> None:
        self.name = spec.name
        self.info = _info(spec, "binary", 64, f"phash 1, pixels {PIXELS_VERSION}", "binary")

    def encode(self, pixels: UInt8[np.ndarray, "b h w c"]) -> UInt8[np.ndarray, "b bytes"]:
        """Eight bytes an image: the hash's bits in row order, first bit highest."""
        spectrum = scipy.fftpack.dct(scipy.fftpack.dct(pixels[..., 0], axis=1), axis=2)
        low = spectrum[:, :8, :8].reshape(len(pixels), 64)
        return np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)


def load(spec: EncoderSpec) -> ImageEncoder:
    """The descriptor that the spec names.

    Raises:
        SpecError: there is none of that name.
    """
    descriptors: dict[str, type[ColorHog] | type[PerceptualHash]] = {
        "color-hog": ColorHog,
        "phash": PerceptualHash,
    }
    spec.check_options(())
    if spec.model not in descriptors:
        known = " and ".join(f"classic:{name}" for name in descriptors)
        raise SpecError(f"encoder '{spec.text}': the classic descriptors are {known}")
    return descriptors[spec.model](spec)


def _color_histogram(image: UInt8[np.ndarray, "h w c"]) -> Float[np.ndarray, " bins"]:
    hsv = skimage.color.rgb2hsv(image).reshape(-1, 3)
    sizes = np.array([HUE_BINS, SATURATION_BINS, VALUE_BINS])
    hue, saturation, value = np.minimum((hsv * sizes).astype(np.int64), sizes - 1).T
    index = (hue * SATURATION_BINS + saturation) * VALUE_BINS + value
    counts = np.bincount(index, minlength=int(sizes.prod()))
    return np.asarray(np.sqrt(counts / counts.sum()), np.float32)


def _info(spec: EncoderSpec, kind: str, dim: int, version: str, precision: str) -> SpaceInfo:
    return SpaceInfo(
        kind="binary" if kind == "binary" else "dense",
        modality="image",
        spec=spec.text,
        # Its first number goes up whenever the descriptor's arithmetic changes.
        fingerprint=hashlib.blake2b(version.encode(), digest_size=16).hexdigest(),
        precision=precision,
        normalized=kind == "dense",
        dim=dim,
    )
