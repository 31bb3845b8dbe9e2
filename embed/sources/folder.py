"""A folder of images: its files are the items, their folders the labels."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from embed.errors import SourceError
from embed.images import SUFFIXES
from embed.sources.blocks import Blocks
from embed.sources.table import ID, Table
from embed.wording import agreeing, counted

OTHER_IMAGES = frozenset((".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".raw"))


def read_folder(folder: Path, scratch: Path) -> Table:
    """Every image below the folder, in the order of its path; the parent folder is the label.

    Raises:
        SourceError: there is none; a folder can't be read; a name is not UTF-8.
    """
    blocks = Blocks(scratch / "blocks", str(folder), (ID, "image", "label"))
    passed_over, num_images = _PassedOver(), 0
    for path in _images(folder, "", passed_over):
        num_images += 1
        label = path.rpartition("/")[0].rpartition("/")[2]
        blocks.add({ID: path, "image": path, "label": label})
    if not num_images:
        raise SourceError(f"no image below {folder}: {_advice(folder)}")
    root = str(folder.absolute())
    return Table(
        str(folder), blocks.scan(), "image", None, root, (root,), tuple(passed_over.warnings())
    )


def holds_images(folder: Path) -> bool:
    """Whether there is an image somewhere below the folder."""
    return any(True for _ in _images(folder, "", _PassedOver()))


@dataclass
class _PassedOver:
    """What a folder holds that could have been meant, but was not read."""

    images: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def warnings(self) -> Iterator[str]:
        if self.images:
            yield (
                f"{counted(len(self.images), 'image')} in formats that are not read "
                f"{agreeing(len(self.images), 'were')} passed over: {self.images[0]}, …"
            )
        if self.links:
            yield (
                f"{len(self.links)} symbolic links to folders were not followed: {self.links[0]}, …"
            )


def _images(folder: Path, prefix: str, passed_over: _PassedOver) -> Iterator[str]:
    """Paths from the top, sorted by their parts; one folder at a time is in memory."""
    try:
        with os.scandir(folder / prefix) as entries:
            listed = sorted((entry.name, entry.is_dir(), entry.is_symlink()) for entry in entries)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
        raise SourceError(f"a folder can't be read: {reason}") from error
    for name, is_folder, is_link in listed:
        path = prefix + name
        if is_folder and is_link:
            passed_over.links.append(path)
        elif is_folder:
            yield from _images(folder, f"{path}/", passed_over)
        elif not name.startswith("."):
            suffix = PurePosixPath(name).suffix.lower()
            if suffix in SUFFIXES:
                yield path
            elif suffix in OTHER_IMAGES:
                passed_over.images.append(path)


def _advice(folder: Path) -> str:
    if any(folder.glob("*.tar")):
        return f"for the tar shards in it, give a pattern: '{folder}/*.tar'"
    return f"looked for files that end in {', '.join(sorted(SUFFIXES))}"
