"""A small store with every kind of space, and all that can be said of a store."""

from pathlib import Path

import h5py
import numpy as np
import scipy.sparse
from jaxtyping import Float

from embed.store import Failure, SpaceInfo, StoreWriter

IDS = ["b", "a", "ü/ñ", "商品 7", "e\u0301", "🜁"]


def space_info(kind: str, dim: int, **fields: object) -> SpaceInfo:
    precision = {"binary": "binary"}.get(kind, "fp32")
    values: dict[str, object] = {
        "kind": kind,
        "modality": "image",
        "spec": "classic:test",
        "fingerprint": "f" * 32,
        "precision": precision,
        "normalized": kind != "binary",
        "dim": dim,
    }
    return SpaceInfo(**(values | fields))  # type: ignore[arg-type]


def unit_vectors(num_rows: int, dim: int, seed: int = 0) -> Float[np.ndarray, "n d"]:
    vectors = np.random.default_rng(seed).standard_normal((num_rows, dim)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def write_store(path: Path) -> Path:
    generator = np.random.default_rng(0)
    n = len(IDS)
    hashes = {m: generator.integers(0, 256, (n, 16), np.uint8) for m in ("image", "text")}
    columns = {
        "title": np.array(["1", "2", "007", "", "é", "x\ny"], object),
        "count": np.array([1, -(2**60), 3, 4, 5, 6]),
        "price": np.array([1.5, np.nan, np.inf, -0.0, 5e-324, 1e300]),
        "_row": np.array(list("zyxwvu"), object),
    }
    with StoreWriter(path, "a test", {"python": "3", "numpy": "2"}) as writer:
        writer.write_items(np.array(IDS, object), columns, hashes)
        single = unit_vectors(n, 5)
        writer.write_array("single", space_info("dense", 5), single)
        half = space_info("dense", 5, precision="fp16", modality="text")
        writer.write_array("half", half, single.astype(np.float16))
        codes = generator.integers(0, 256, (n, 3), np.uint8)
        writer.write_array("bits", space_info("binary", 24), codes)
        rows = np.zeros((n, 4), np.float32)
        rows[np.arange(n) % 6 != 3, 1], rows[0, :2] = 1, (0.6, 0.8)
        fitted = {
            "vocabulary": np.array(["u", "v", "ß", "w w"], object),
            "idf": np.array([1, 1.1, 2, 3], np.float32),
        }
        words = space_info("sparse", 4, modality="text", spec="tfidf")
        writer.write_sparse("wörter.x", words, scipy.sparse.csr_array(rows), fitted)
        head = space_info("dense", 5, spec="head:projection(single)", training='[{"group": "g"}]')
        writer.write_array("head", head, single[:, ::-1].copy())
        writer.write_seen("head", np.arange(n) % 2 == 0)
        writer.write_failures([Failure("gone", "decode", "truncated")])
    return path


def datasets(path: Path) -> dict[str, tuple[str, list[int], object]]:
    """Everything in a store's file but when and by which command it was made."""
    found: dict[str, tuple[str, list[int], object]] = {}

    def note(name: str, node: h5py.Dataset | h5py.Group) -> None:
        attributes = {key: str(value) for key, value in node.attrs.items()}
        if isinstance(node, h5py.Dataset):
            values = node[...]
            text = values.dtype.kind == "O"
            data = [bytes(v) for v in values] if text else values.tobytes()
            found[name] = (str(node.dtype), list(node.shape), (data, attributes))
        else:
            found[name] = ("group", [], (list(node), attributes))

    with h5py.File(path) as file:
        file.visititems(note)
        found["versions"] = (str(file.attrs["versions"]), [], None)
    return found
