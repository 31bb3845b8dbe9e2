"""Pictures of several proportions."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    result = []
    for width, height in ((90, 60), (61, 97), (48, 48), (200, 71)):
        coarse = generator.integers(0, 256, (9, 9, 3), np.uint8)
        result.append(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return result
