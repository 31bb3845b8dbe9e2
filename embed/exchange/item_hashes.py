"""The hashes that a store keeps of its items, taken from what the items are now."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from jaxtyping import Shaped, UInt8

from embed.errors import ImageError, SourceError
from embed.sources import Fetcher, FetchSettings, Location
from embed.sources.addresses import joined
from embed.store import HASH_BYTES, content_digest

ITEMS_PER_BATCH = 1024  # whose results are awaited at a time: there may be millions


def unknown_hashes(num_items: int) -> UInt8[np.ndarray, "n 16"]:
    """Zeros, which say that it is not known what was encoded."""
    return np.zeros((num_items, HASH_BYTES), np.uint8)


def text_hashes(titles: Shaped[np.ndarray, " n"]) -> UInt8[np.ndarray, "n 16"]:
    """The hash of each title."""
    return _stacked(content_digest(str(title).encode()) for title in titles)


def image_hashes(
    ids: Sequence[str], images: Shaped[np.ndarray, " n"], root: str, settings: FetchSettings
) -> UInt8[np.ndarray, "n 16"]:
    """The hash of each image's bytes; `images` are paths that start from `root`, or addresses.

    As in a run, only regular files inside the root are read, unless the settings allow others.

    Raises:
        SourceError: an image that can't be read, or lies elsewhere; the message names its item.
    """
    hashes = unknown_hashes(len(ids))
    digest = partial(_image_digest, Fetcher([root], settings), root)
    with ThreadPoolExecutor(thread_name_prefix="reader") as pool:
        for start in range(0, len(ids), ITEMS_PER_BATCH):
            batch = slice(start, start + ITEMS_PER_BATCH)
            hashes[batch] = _stacked(pool.map(digest, ids[batch], images[batch]))
    return hashes


def _image_digest(fetcher: Fetcher, root: str, item_id: str, image: object) -> bytes:
    if image == "":
        raise SourceError(f"item '{item_id}' names no image: with --image-root each item needs one")
    try:
        return content_digest(fetcher.read(Location(joined(root, str(image)))))
    except ImageError as error:
        raise SourceError(
            f"the image of '{item_id}' can't be read: {image}: {error}; is --image-root right?"
        ) from error


def _stacked(digests: Iterable[bytes]) -> UInt8[np.ndarray, "n 16"]:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, HASH_BYTES)
