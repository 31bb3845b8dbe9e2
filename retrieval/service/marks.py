"""What the files of a service look like from outside, which changes when they are replaced."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retrieval.service.settings import ServiceSettings


@dataclass(frozen=True)
class Mark:
    """A file's place on the disk, when it was written, and its bytes."""

    device: int
    inode: int
    written_ns: int
    num_bytes: int

    def is_same_file(self, other: "Mark") -> bool:
        """Whether the file is still the one that it was, whatever is in it."""
        return (self.device, self.inode) == (other.device, other.inode)


Marks = Mapping[Path, Mark | None]


def marks_of(settings: ServiceSettings) -> Marks:
    """The marks of the store and of all files that are read with it; None where there is none."""
    given = [Path(settings.threshold)] if settings.threshold else []
    more = [settings.neighbours] if settings.neighbours else []
    return {path: _mark(path) for path in (settings.store, *given, *settings.heads, *more)}


def _mark(path: Path) -> Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return Mark(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
