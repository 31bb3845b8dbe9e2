"""Everything that there is to choose of the service."""

from dataclasses import dataclass
from pathlib import Path

from retrieval.search.plans import MEMORY_BYTES


@dataclass(frozen=True)
class UploadLimits:
    """What a client may send: bytes of a request, pixels of an image, characters of a title."""

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000
    max_characters: int = 10_000


@dataclass(frozen=True)
class ServiceSettings:
    """What is served.

    Attributes:
        store: the store.
        threshold: a file of `retrieval tune-threshold`, or a score; None leaves all open.
        space: what is searched with a score, or with nothing; None takes every space.
        label: the column that says which items truly match; None takes the threshold's, if any.
        heads: projections, which query vectors pass through too, and one attribute head.
        image_root: the folder that images lie below; None takes where the store's came from.
        image_column: the column with the paths of the images; None takes what the store says.
        title_column: the column with the titles.
        neighbours: a file of `retrieval neighbours`, which saves the join of all items.
        decisions: the file of people's decisions; None takes STORE.decisions.jsonl.
        reviewer: who decides, where the page is not told.
        memory_bytes: what a search of all items may hold.
        device: where encoders and large products run.
        thumbnail_bytes: how much of thumbnails is kept.
        limits: what clients may send.
    """

    store: Path
    threshold: str | None = None
    space: str | None = None
    label: str | None = None
    heads: tuple[Path, ...] = ()
    image_root: Path | None = None
    image_column: str | None = None
    title_column: str = "title"
    neighbours: Path | None = None
    decisions: Path | None = None
    reviewer: str = "reviewer"
    memory_bytes: int = MEMORY_BYTES
    device: str = "auto"
    thumbnail_bytes: int = 256 * 2**20
    limits: UploadLimits = UploadLimits()
