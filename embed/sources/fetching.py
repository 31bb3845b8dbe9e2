"""From where an image is to its bytes, without leaving the folders that it may come from."""

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from embed.errors import ImageError, SourceError
from embed.sources.addresses import is_address, is_fetched, refusal
from embed.sources.catalogue import Location
from embed.sources.remote import RemoteFiles

# A pipe without a writer would wait for ever without O_NONBLOCK; files are none the wiser.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True)
class FetchSettings:
    """How images are fetched; a time limit is for one image, all of its retries included."""

    allow_outside_root: bool = False
    retries: int = 3
    timeout_seconds: float = 30.0
    max_bytes: int = 512 * 2**20


class Fetcher:
    """Reads images; one for all threads of a process.

    A local file is read only if it lies in one of the roots, or is one, after every symbolic link
    has been followed, unless `allow_outside_root`; and only if it is a regular file.
    """

    def __init__(self, roots: Sequence[str], settings: FetchSettings) -> None:
        self._settings = settings
        local = [root for root in roots if not is_address(root)]
        self._roots = frozenset(os.path.realpath(root) for root in local)
        self._shown_roots = local[0] + (", …" if len(local) > 1 else "") if local else "(none)"
        self._remote = RemoteFiles(settings.retries, settings.timeout_seconds)
        # Items of one folder come one after the other; following links takes a while.
        self._real_folder = lru_cache(maxsize=4096)(os.path.realpath)
        self._is_inside = lru_cache(maxsize=4096)(self._has_root_above)

    def read(self, location: Location) -> bytes:
        """The bytes of an image.

        Raises:
            ImageError: it can't be read, lies elsewhere or is too large; the message says why.
        """
        try:
            if is_address(location.address):
                return self._fetch(location)
            return self._read_file(location)
        except OSError as error:
            raise ImageError(f"{_reason(error)}: {location.address}") from error

    def _fetch(self, location: Location) -> bytes:
        if not is_fetched(location.address):
            raise ImageError(refusal(location.address))
        try:
            return self._remote.read(location.address, self._settings.max_bytes)
        except SourceError as error:  # what the protocol needs is not installed
            raise ImageError(str(error)) from error

    def _read_file(self, location: Location) -> bytes:
        descriptor = self._open(location.address)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("not a regular file (a pipe, a device, a folder)")
            offset = location.offset or 0
            size = status.st_size if location.size is None else location.size
            self._check_size(size)
            data = _read_fully(descriptor, offset, size)
            if location.size is not None and len(data) < size:
                raise ImageError(f"{location.address} is shorter than when it was indexed")
            return data
        finally:
            os.close(descriptor)

    def _open(self, path: str) -> int:
        """A descriptor of the file, once it is known to lie inside the roots."""
        folder, name = os.path.split(path)
        real_path = os.path.join(self._real_folder(folder), name)  # noqa: PTH118 (speed)
        self._check_inside(real_path, path)
        try:
            return os.open(real_path, _FLAGS)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EMLINK):  # a symbolic link
                raise
        target = os.path.realpath(real_path)
        self._check_inside(target, path)
        return os.open(target, _FLAGS)

    def _check_inside(self, real_path: str, path: str) -> None:
        is_root = real_path in self._roots  # a shard
        if self._settings.allow_outside_root or is_root or self._is_inside(_folder(real_path)):
            return
        raise ImageError(
            f"{path} lies outside the image root {self._shown_roots}: allow it with "
            f"--allow-outside-root, or name another --image-root"
        )

    def _has_root_above(self, folder: str) -> bool:
        while folder not in self._roots and folder != _folder(folder):
            folder = _folder(folder)
        return folder in self._roots

    def _check_size(self, size: int) -> None:
        if size > self._settings.max_bytes:
            raise ImageError(too_large(self._settings.max_bytes, size))


def _folder(path: str) -> str:
    return os.path.dirname(path)  # noqa: PTH120 (Path takes ten times as long)


def too_large(max_bytes: int, size: int | None = None) -> str:
    """Why an image is refused for its size."""
    found = f"{size:,} bytes" if size is not None else "more"
    return f"too large: at most {max_bytes:,} bytes are read, found {found}"


def _read_fully(descriptor: int, offset: int, size: int) -> bytes:
    """`size` bytes from `offset`; fewer where the file ends before."""
    chunks = []
    while size > 0:
        chunk = os.pread(descriptor, size, offset)
        if not chunk:
            break
        chunks.append(chunk)
        offset, size = offset + len(chunk), size - len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _reason(error: OSError) -> str:
    if error.errno == errno.ENXIO:
        return "not a regular file (a socket)"
    return error.strerror or str(error)
