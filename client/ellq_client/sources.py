"""Where weights come from: a safetensors file, or arrays in memory written as one.

A source can be read any number of times, because a failed call is repeated from the start.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeGuard

from ellq.v1.frames import FRAME_BYTES, Data, framed
from ellq_client.arrays import safetensors_header, sorted_for_file, weight_bytes
from ellq_client.errors import SourceError
from ellq_client.formats import family_of, open_format
from ellq_client.headers import Header, StoredTensor, fitting_header_length, read_header
from ellq_client.mistaken import PREFIX_BYTES
from ellq_client.packing.container import is_packed
from ellq_client.packing.source import PackedSource
from ellq_client.permissions import ORDINARY
from ellq_client.steady_file import BLOCK_BYTES, SteadyFile
from ellq_client.uris import AnyPath

WeightSource: TypeAlias = AnyPath | Mapping[str, Any]
"""The path of a .safetensors file or of another format (see formats), or arrays (numpy or torch) by name."""


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

    @property
    def permissions(self) -> int:
        """Permission bits that what is written of it gets at most: see the module permissions."""
        ...

    @property
    def header(self) -> Header:
        """What its header tells."""
        ...

    def frames(self) -> Iterator[Data]:
        """Yield the stream from its start, in pieces of at most FRAME_BYTES. Errors: SourceError."""
        ...

    def pieces(self, tensor: StoredTensor) -> Iterator[Data]:
        """Yield the bytes of one tensor, in pieces of at most FRAME_BYTES. Errors: SourceError."""
        ...


def is_folder(weights: WeightSource) -> TypeGuard[AnyPath]:
    """Return whether these weights lie in a folder. Errors: TypeError for what is neither a path nor a mapping."""
    try:
        return not isinstance(weights, Mapping) and os.path.isdir(weights)  # of a name that is too long, Path would raise
    except TypeError as error:
        told = f"weights are a path or a mapping of names to arrays, not {type(weights).__name__}; of a module its state_dict()"
        raise TypeError(told) from error


def open_source(weights: WeightSource) -> Source:
    """Return the source for what a caller may hand in. Errors: SourceError."""
    if isinstance(weights, Mapping):
        return ArraySource(weights)
    path = Path(weights)
    return open_safetensors(path) if family_of(path) is None or os.path.isdir(path) else open_format(path)


def open_safetensors(path: Path, *, name: str | None = None) -> "FileSource | PackedSource":
    """Return the source for a safetensors file, dense or packed; `name` is what to call it. Errors: SourceError."""
    source = FileSource(path, name=name)
    return PackedSource(path, name=name) if is_packed(source.header.text) else source


class FileSource:
    """A file that is whole by its header, read as it is: the server alone judges its content."""

    def __init__(self, path: Path, *, name: str | None = None) -> None:
        """Check the file; `name` is what to call it where its path is a cache's. Errors: SourceError."""
        self.path = path
        if os.path.isdir(path):  # which raises nothing for a name that is too long
            raise SourceError(f"{path} is a directory; name one .safetensors file in it")
        self._file = SteadyFile(path)
        self.name = name or path.name
        self.size_bytes = self._file.size_bytes
        self.modified_ns = self._file.modified_ns
        self.permissions = self._file.permissions
        self.header = self._checked_header()

    def frames(self) -> Iterator[Data]:
        """Yield the file in pieces, exactly as long as it was when the source was opened."""
        return self._file.pieces(0, self.size_bytes)

    def pieces(self, tensor: StoredTensor) -> Iterator[Data]:
        """Yield the tensor's bytes of the file."""
        return self._file.pieces(tensor.begin, tensor.end, BLOCK_BYTES)

    def payload(self) -> Iterator[Data]:
        """Yield all that comes behind the header. Errors: SourceError."""
        return self._file.pieces(self.header.length_bytes, self.size_bytes)

    def _checked_header(self) -> Header:
        """Return the header of a file that is whole: a torn one is told from a broken server before anything is sent."""
        name = str(self.path)
        length = fitting_header_length(self._file.head(PREFIX_BYTES), size_bytes=self.size_bytes, name=name)
        return read_header(self._file.head(length), size_bytes=self.size_bytes, name=name)


class ArraySource:
    """Arrays by name, written as safetensors bytes on the way out: no copy of the whole is made."""

    name = "arrays"
    permissions = ORDINARY

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.arrays = dict(sorted_for_file(arrays))
        text = safetensors_header(self.arrays)
        self.size_bytes = len(text) + sum(array.nbytes for array in self.arrays.values())
        self.header = read_header(text, size_bytes=self.size_bytes, name=self.name)

    def frames(self) -> Iterator[Data]:
        """Yield the header, then every array; small ones share frames."""
        return framed(chain([memoryview(self.header.text)], map(weight_bytes, self.arrays.values())))

    def pieces(self, tensor: StoredTensor) -> Iterator[Data]:
        """Yield the bytes of the array of that name."""
        view = weight_bytes(self.arrays[tensor.name])  # perhaps a copy: only once somebody takes the first piece
        for start in range(0, len(view), FRAME_BYTES):
            yield view[start : start + FRAME_BYTES]
