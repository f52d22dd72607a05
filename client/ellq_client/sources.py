"""Where weights come from: a safetensors file, or arrays in memory written as one.

A source can be read any number of times, because a failed call is repeated from the start.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ellq.v1.frames import Data
from ellq_client.arrays import safetensors_header, sorted_for_file, weight_bytes
from ellq_client.checkpoint import LENGTH_BYTES, StoredTensor, fitting_header_length, parse_header
from ellq_client.errors import SourceError

FRAME_BYTES = 2 << 20
"""Length of a data frame: below gRPC's limit of 4 MiB a message, far above what a message costs."""

WeightSource: TypeAlias = str | os.PathLike[str] | Mapping[str, Any]
"""The path of a .safetensors file, or arrays (numpy or torch) by name."""


class Source(Protocol):
    """One safetensors byte stream."""

    @property
    def name(self) -> str:
        """What a person would call it."""
        ...

    @property
    def size_bytes(self) -> int:
        """Length of the stream."""
        ...

    def head(self, length: int) -> bytes:
        """Return the first bytes of the stream. Errors: SourceError."""
        ...

    def frames(self) -> Iterator[Data]:
        """Yield the stream from its start, in pieces of at most FRAME_BYTES. Errors: SourceError."""
        ...

    def pieces(self, tensor: StoredTensor) -> Iterator[Data]:
        """Yield the bytes of one tensor, in pieces of at most FRAME_BYTES. Errors: SourceError."""
        ...


def open_source(weights: WeightSource) -> Source:
    """Return the source for what a caller may hand in. Errors: SourceError."""
    return ArraySource(weights) if isinstance(weights, Mapping) else FileSource(Path(weights))


class FileSource:
    """A file that is whole by its header, read as it is: the server alone judges its content."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise SourceError(f"{path} is a directory; name one .safetensors file in it (directories are not supported yet)")
        try:
            self._stat = path.stat()
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror}") from error
        if not stat.S_ISREG(self._stat.st_mode):
            raise SourceError(f"{path} is no ordinary file; weights are read more than once")
        self.name = path.name
        self.size_bytes = self._stat.st_size
        self._check_whole()

    def head(self, length: int) -> bytes:
        """Return the first bytes of the file."""
        try:
            with self.path.open("rb") as file:
                return file.read(length)
        except OSError as error:
            raise SourceError(f"cannot read {self.path}: {error.strerror}") from error

    def frames(self) -> Iterator[Data]:
        """Yield the file in pieces, exactly as long as it was when the source was opened."""
        return self._range(0, self.size_bytes)

    def pieces(self, tensor: StoredTensor) -> Iterator[Data]:
        """Yield the tensor's bytes of the file."""
        return self._range(tensor.begin, tensor.end)

    def _range(self, begin: int, end: int) -> Iterator[Data]:
        try:
            with self.path.open("rb") as file:
                self._check_unchanged(os.fstat(file.fileno()))
                file.seek(begin)
                remaining = end - begin
                while remaining and (data := file.read(min(FRAME_BYTES, remaining))):
                    remaining -= len(data)
                    yield data
                self._check_unchanged(os.fstat(file.fileno()))
        except OSError as error:
            raise SourceError(f"cannot read {self.path}: {error.strerror}") from error

    def _check_whole(self) -> None:
        """Tell a torn file from a broken server before anything is sent."""
        name = str(self.path)
        length = fitting_header_length(self.head(LENGTH_BYTES), size_bytes=self.size_bytes, name=name)
        parse_header(self.head(length), size_bytes=self.size_bytes, name=name)

    def _check_unchanged(self, now: os.stat_result) -> None:
        if (now.st_size, now.st_mtime_ns, now.st_ino) != (self._stat.st_size, self._stat.st_mtime_ns, self._stat.st_ino):
            raise SourceError(f"{self.path} changed while it was read")


class ArraySource:
    """Arrays by name, written as safetensors bytes on the way out: no copy of the whole is made."""

    name = "arrays"

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.arrays = dict(sorted_for_file(arrays))
        self._header = safetensors_header(self.arrays)
        self.size_bytes = len(self._header) + sum(array.nbytes for array in self.arrays.values())

    def head(self, length: int) -> bytes:
        """Return the first bytes; only ever asked for the header."""
        return self._header[:length]

    def frames(self) -> Iterator[Data]:
        """Yield the header, then every array; small ones share frames, so that a million of them are not as many messages."""
        pending = bytearray()
        for view in chain([memoryview(self._header)], map(weight_bytes, self.arrays.values())):
            start = 0
            if pending:
                start = FRAME_BYTES - len(pending)
                pending += view[:start]
                if len(pending) == FRAME_BYTES:
                    yield bytes(pending)
                    pending.clear()
            while len(view) - start >= FRAME_BYTES:
                yield view[start : start + FRAME_BYTES]
                start += FRAME_BYTES
            pending += view[start:]
        if pending:
            yield bytes(pending)

    def pieces(self, tensor: StoredTensor) -> Iterator[Data]:
        """Yield the bytes of the array of that name."""
        view = weight_bytes(self.arrays[tensor.name])
        return (view[start : start + FRAME_BYTES] for start in range(0, len(view), FRAME_BYTES))
