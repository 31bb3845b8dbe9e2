"""A store of vectors at random whose images and titles can be searched for, for serve.py."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from benchmarks.serve_clients import WORDS, photo
from embed.decoding import read_pixels
from embed.encoders.classic import PerceptualHash
from embed.encoders.specs import EncoderSpec
from embed.encoders.tfidf import TfIdf
from embed.store import SpaceInfo, StoreWriter
from heads.features import SpaceReference
from heads.head import Head, load_head, save_head
from heads.info import HeadInfo
from heads.projection.bodies import BodySettings, make_body

DIM = 512
BLOCK_ROWS = 10_000


def write_store(folder: Path, num_rows: int) -> tuple[Path, Path]:
    """A store with vectors at random, and the head that images pass through."""
    generator = np.random.default_rng(0)
    hashing = PerceptualHash(EncoderSpec.parse("phash=classic:phash", "image"))
    head = _head(folder / "head.safetensors", hashing.info)
    codes = generator.integers(0, 256, (num_rows, 8)).astype(np.uint8)
    codes[0] = hashing.encode(read_pixels(photo(), {hashing.transform})[hashing.transform][None])[0]
    titles = [" ".join(generator.choice(WORDS, 6)) for _ in range(num_rows)]
    path = folder / "store.h5"
    with StoreWriter(path, "", {}) as writer:
        ids = np.array([f"item {row}" for row in range(num_rows)], object)
        columns = {"title": np.array(titles, object), "code": np.arange(num_rows)}
        writer.write_items(ids, columns, {"image": np.zeros((num_rows, 16), np.uint8)})
        writer.write_array("phash", hashing.info, codes)
        _write_drawn(writer, head, codes)
        tfidf = TfIdf(EncoderSpec.parse("tfidf", "text")).fit_encode(titles)
        writer.write_sparse("tfidf", tfidf.info, tfidf.vectors, tfidf.fitted)
    return path, folder / "head.safetensors"


def _head(path: Path, hashing: SpaceInfo) -> Head:
    """A head that was never trained."""
    torch.manual_seed(0)
    settings = BodySettings(dim=DIM)
    reference = SpaceReference("phash", hashing.fingerprint, hashing.dim)
    info = HeadInfo("projection", (reference,), (), (), vars(settings), {}, 0, 0, {})
    save_head(path, info, make_body(hashing.dim, settings))
    return load_head(path)


def _write_drawn(writer: StoreWriter, head: Head, codes: UInt8[np.ndarray, "n 8"]) -> None:
    """The space that the head makes of the hashes."""
    made = SpaceInfo(
        "dense", "image", "head:projection(phash)", head.fingerprint, "fp16", True, DIM
    )
    space = writer.create_array("drawn", made, (len(codes), DIM), np.float16)
    bits = np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1
    units = torch.from_numpy(bits / np.float32(np.sqrt(bits.shape[1])))
    with torch.no_grad():
        for start in range(0, len(codes), BLOCK_ROWS):
            block = units[start : start + BLOCK_ROWS]
            space[start : start + BLOCK_ROWS] = head.network(block).numpy()
