"""A file that is read more than once and must be the same each time."""

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ellq.v1.frames import FRAME_BYTES
from ellq_client.errors import SourceError
from ellq_client.permissions import permissions_of

BLOCK_BYTES = 1 << 18
"""Length of what is read of a file to be worked on: it stays in the cache until that is done."""


class SteadyFile:
    """An ordinary file, as it was when this was made. Errors: SourceError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._stat = path.stat()
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror}") from error
        if not stat.S_ISREG(self._stat.st_mode):
            raise SourceError(f"{path} is no ordinary file; weights are read more than once")
        self.size_bytes = self._stat.st_size
        self.modified_ns = self._stat.st_mtime_ns
        """When the file was last modified, in nanoseconds of the file system's clock."""
        self.permissions = permissions_of(self._stat)
        """Its permission bits."""

    def head(self, length: int) -> bytes:
        """Return the first bytes."""
        try:
            with open(self.path, "rb", opener=_without_waiting) as file:
                return file.read(length)
        except OSError as error:
            raise SourceError(f"cannot read {self.path}: {error.strerror}") from error

    @contextmanager
    def opened(self) -> Generator[BinaryIO]:
        """Open the file for whatever only reads; every error of the system in there is told as one of reading this file.

        What changed before or meanwhile is refused.
        """
        try:
            with open(self.path, "rb", opener=_without_waiting) as file:
                self._check(os.fstat(file.fileno()))
                yield file
                self._check(os.fstat(file.fileno()))
        except OSError as error:
            raise SourceError(f"cannot read {self.path}: {error.strerror}") from error

    def pieces(self, begin: int, end: int, piece_bytes: int = FRAME_BYTES) -> Iterator[bytes]:
        """Yield a range of the file, in pieces of at most `piece_bytes`."""
        with self.opened() as file:
            file.seek(begin)
            remaining = end - begin
            while remaining and (data := file.read(min(piece_bytes, remaining))):
                remaining -= len(data)
                yield data

    def read(self, begin: int, end: int) -> memoryview:
        """Return a range of the file. It is not mapped: a file that becomes shorter would then end the process."""
        with self.opened() as file:
            file.seek(begin)
            return memoryview(file.read(end - begin))

    def check_unchanged(self) -> None:
        """Refuse a file that is not what it was."""
        try:
            self._check(self.path.stat())
        except OSError as error:
            raise SourceError(f"cannot read {self.path}: {error.strerror}") from error

    def _check(self, now: os.stat_result) -> None:
        if (now.st_size, now.st_mtime_ns, now.st_ino) != (self._stat.st_size, self._stat.st_mtime_ns, self._stat.st_ino):
            raise SourceError(f"{self.path} changed while it was read")


def _without_waiting(path: str, flags: int) -> int:
    """Open a path; a pipe that stands there by now would else be waited for, and its writer may never come."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
