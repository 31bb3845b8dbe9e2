"""What an uncompressed tar file holds, and where: headers are read, the rest is passed over."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from embed.errors import SourceError


@dataclass(frozen=True)
class Member:
    """A file in a tar: its name, and where its bytes are. Links and devices have none."""

    name: str
    is_file: bool
    offset: int
    size: int


@dataclass
class Tar:
    """An opened tar file."""

    path: Path
    file: BinaryIO
    has_end: bool = True

    def members(self) -> Iterator[Member]:
        """Everything in it but folders, in order.

        `has_end` is False afterwards where it stops without the mark that ends a tar.

        Raises:
            SourceError: it is no tar, is compressed, is damaged or ends too early.
        """
        try:
            with tarfile.open(fileobj=self.file, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # or all stay in memory
                    if not info.isdir():
                        is_file = info.isreg() and not info.issparse()
                        yield Member(info.name, is_file, info.offset_data, info.size)
                self._check_end(tar.offset)
        except (tarfile.TarError, OSError, ValueError) as error:
            raise SourceError(_unreadable(self.path, str(error))) from error

    def read(self, member: Member, max_bytes: int) -> bytes:
        """The bytes of a small member.

        Raises:
            SourceError: it holds more than `max_bytes`, or the tar ends before it does.
        """
        if member.size > max_bytes:
            raise SourceError(
                f"{self.path}: {member.name} holds {member.size:,} bytes of text: "
                f"at most {max_bytes:,} are read"
            )
        data = os.pread(self.file.fileno(), member.size, member.offset)
        if len(data) < member.size:
            raise SourceError(_unreadable(self.path, f"it ends within {member.name}"))
        return data

    def _check_end(self, offset: int) -> None:
        """A damaged header ends the members as the end does: look at what is there."""
        block = os.pread(self.file.fileno(), tarfile.BLOCKSIZE, offset)
        self.has_end = bool(block)
        if block.strip(b"\0") or 0 < len(block) < tarfile.BLOCKSIZE:
            raise SourceError(_unreadable(self.path, f"no valid header at byte {offset:,}"))


def _unreadable(path: Path, reason: str) -> str:
    return (
        f"{path} can't be read as a tar ({reason}): it is damaged, compressed or was not copied "
        f"whole; copy or write it again, uncompressed, or leave it out of the pattern"
    )
