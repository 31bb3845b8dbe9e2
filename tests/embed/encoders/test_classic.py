"""Descriptors without weights, and TF-IDF."""

import numpy as np
from PIL import Image

from embed.encoders.registry import load_encoders
from embed.encoders.specs import parse_specs
from tests.embed.encoders.tiny_models import TITLES, encode, image_encoder


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
