"""Image processors are understood or refused."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from embed.encoders.image_processors import read_preprocessing
from embed.encoders.specs import EncoderSpec
from embed.errors import EncoderError


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
