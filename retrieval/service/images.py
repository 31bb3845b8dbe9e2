"""The images of a store's items: where they are, and thumbnails of them, made once and kept."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any

from embed.devices import num_cores
from embed.errors import ImageError, SourceError
from embed.images import decode_reduced
from embed.sources import FetchSettings
from embed.sources.addresses import is_address, joined
from embed.sources.catalogue import Location
from embed.sources.fetching import Fetcher
from embed.sources.tars import Tar
from retrieval.service.catalogue import Catalogue
from retrieval.service.settings import ServiceSettings

EDGES = (64, 128, 256, 512, 1024, 1600)
"""The longest edges that thumbnails are made with: others are rounded up to one of these."""
FULL = EDGES[-1]
QUALITY = 85
IMAGE_COLUMN = "image"
"""Where neither a store nor its user says which column it is."""
NOT_SERVED = "the item's image is not there, or not below the root that images are served from"


@dataclass(frozen=True)
class Thumbnail:
    """A JPEG file, and a hash of it."""

    data: bytes
    tag: str


class ItemImages:
    """The images of a store's items, read only from where the store's images came from.

    `warning` says why items have no images, None where they have some.
    """

    def __init__(self, catalogue: Catalogue, settings: ServiceSettings) -> None:
        self._catalogue = catalogue
        origin = catalogue.store.images or {}
        self.column = settings.image_column or str(origin.get("column", IMAGE_COLUMN))
        if settings.image_root is not None:
            origin = {"root": str(settings.image_root.absolute())}
        self._root = str(origin.get("root", ""))
        self._shards = [str(path) for path in origin.get("shards", ())]
        self.warning = self._why_none()
        roots = self._shards or [self._root]
        self._fetcher = None if self.warning else Fetcher(roots, FetchSettings())

    def has(self, row: int) -> bool:
        """Whether an item has an image, as far as the store knows."""
        return self.warning is None and bool(self._catalogue.texts(self.column)[row])

    def read(self, row: int) -> bytes:
        """The bytes of an item's image.

        Raises:
            ImageError: there is none, it lies elsewhere, or it can't be read.
        """
        if self._fetcher is None or not self.has(row):
            raise ImageError("the item has no image")
        location = self._location(str(self._catalogue.texts(self.column)[row]))
        if location is None or is_address(location.address):
            raise ImageError(NOT_SERVED)
        try:
            return self._fetcher.read(location)
        except ImageError as error:  # which names a path of this machine
            raise ImageError(NOT_SERVED) from error

    def _location(self, image: str) -> Location | None:
        if self._shards:
            return self._members.get(image)
        return Location(joined(self._root, image))

    @cached_property
    def _members(self) -> Mapping[str, Location]:
        """Where each image lies in the shards; those of shards of one name can't be told apart."""
        found: dict[str, Location] = {}
        repeated: set[str] = set()
        for shard in self._shards:
            for name, location in _members_of(Path(shard)):
                if name in found:
                    repeated.add(name)
                found[name] = location
        return {name: place for name, place in found.items() if name not in repeated}

    def _why_none(self) -> str | None:
        if self.column not in self._catalogue.store.columns:
            return f"items have no images: the store has no column '{self.column}'"
        if not self._root and not self._shards:
            return "items have no images: the store does not say where they are; give --image-root"
        if is_address(self._root):
            return "items have no images: theirs lie on a network; give --image-root"
        missing = [path for path in (self._shards or [self._root]) if not Path(path).exists()]
        if missing:
            return f"items have no images: {Path(missing[0]).name} is gone; give --image-root"
        return None


def _members_of(shard: Path) -> Iterator[tuple[str, Location]]:
    """The files in a shard, by the names that stores give them; those before a damaged place."""
    with suppress(OSError, SourceError), shard.open("rb") as file:
        for member in Tar(shard, file).members():
            if member.is_file:
                yield (
                    f"{shard.name}/{member.name}",
                    Location(str(shard), member.offset, member.size),
                )


class Thumbnails:
    """Thumbnails of images, each made once and kept while there is room.

    What was not looked at for the longest makes room for what is new. While one is being made,
    others who want it wait for it; no more are made at once than there are cores, so that decoded
    images do not fill the memory.
    """

    def __init__(self, max_bytes: int, max_pixels: int) -> None:
        self._max_bytes, self._max_pixels = max_bytes, max_pixels
        self._kept: OrderedDict[Any, Thumbnail] = OrderedDict()
        self._making: dict[Any, Future[Thumbnail]] = {}
        self._lock = Lock()
        self._decoding = BoundedSemaphore(num_cores())
        self.num_bytes = self.num_made = self.num_found = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Any, edge: int, read: Callable[[], bytes]) -> Thumbnail:
        """The thumbnail of what `read` gives, `edge` pixels long.

        Raises:
            ImageError: what `read` raises, or the image can't be decoded.
        """
        with self._lock:
            if (key, edge) in self._kept:
                self._kept.move_to_end((key, edge))
                self.num_found += 1
                return self._kept[key, edge]
            making = self._making.get((key, edge))
            if making is None:
                own = self._making[key, edge] = Future()
        if making is not None:
            return making.result()
        return self._make((key, edge), edge, read, own)

    def _make(
        self, key: Any, edge: int, read: Callable[[], bytes], promise: "Future[Thumbnail]"
    ) -> Thumbnail:
        try:
            with self._decoding:
                made = _thumbnail(read(), edge, self._max_pixels)
            self._keep(key, made)
            promise.set_result(made)
        except BaseException as error:
            promise.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._making[key]
        return made

    def _keep(self, key: Any, made: Thumbnail) -> None:
        with self._lock:
            self.num_made += 1
            self._kept[key] = made
            self.num_bytes += len(made.data)
            while self.num_bytes > self._max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self.num_bytes -= len(dropped.data)


def edge_of(size: str) -> int:
    """The longest edge for a size: `full`, or a number of pixels, rounded up.

    Raises:
        ImageError: it is neither.
    """
    if size == "full":
        return FULL
    wanted = int(size) if size.isascii() and size.isdigit() and len(size) <= 6 else 0
    if not 1 <= wanted <= FULL:
        raise ImageError(f"size is 'full' or 1 to {FULL} pixels: found '{size[:20]}'")
    return next(edge for edge in EDGES if edge >= wanted)


def _thumbnail(data: bytes, edge: int, max_pixels: int) -> Thumbnail:
    image = decode_reduced(data, edge, max_pixels)
    file = BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    content = file.getvalue()
    return Thumbnail(content, blake2b(content, digest_size=16).hexdigest())
