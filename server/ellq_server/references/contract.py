"""What can be read by reference, and what can be written: one contract for every kind of store."""

from dataclasses import dataclass
from typing import Protocol

from ellq.v1.frames import Data


@dataclass(frozen=True)
class Stored:
    """What was written."""

    uri: str
    length_bytes: int
    sha256: bytes
    """Of all bytes, as they were handed to the store."""
    etag: str
    """What the store calls this version of the object; empty for files."""


class Readable(Protocol):
    """One version of an object, however often and in whatever order it is read."""

    @property
    def size_bytes(self) -> int:
        """Length of this version."""
        ...

    async def read(self, begin: int, end: int) -> Data:
        """Return exactly these bytes. Errors: ReferenceRefused (OBJECT_CHANGED, ...), StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class Writable(Protocol):
    """An object under way. Nobody sees it before `finish`."""

    def memory_bytes(self, size_bytes: int) -> int:
        """Return the memory that an object of this size takes, beyond that of any call."""
        ...

    async def begin(self, size_bytes: int) -> None:
        """Start to write an object of exactly this size. Errors: ReferenceRefused (OUTPUT_EXISTS, ...), StoreUnavailable."""
        ...

    async def write(self, data: Data) -> None:
        """Append bytes. Errors: ReferenceRefused, StoreUnavailable."""
        ...

    async def finish(self) -> Stored:
        """Let the object appear in one instant, in place of the one before it where that is wanted. Errors: as of `begin`."""
        ...

    async def abort(self) -> None:
        """Leave nothing behind; harmless after `finish`."""
        ...
