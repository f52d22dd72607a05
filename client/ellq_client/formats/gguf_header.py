"""The header of a GGUF file, walked without trust: it may claim anything, and costs no more than its bytes.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The walk is our own because a library that reads every
metadata array into memory, element by element, can be kept busy for ever by twelve bytes that claim 2**60 elements.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from ellq_client.errors import SourceError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_MOST_DIMENSIONS = 8
_ALIGNMENT_KEY = b"general.alignment"
_DEFAULT_ALIGNMENT = 32


@dataclass(frozen=True)
class GgufTensor:
    """One tensor as the header describes it."""

    name: str
    shape: tuple[int, ...]
    """Slowest axis first, as numpy counts; the file has it the other way round."""
    kind: int
    """The number of its ggml type."""
    begin: int
    """First byte, from the start of the file."""


def read_header(file: BinaryIO, *, size_bytes: int, name: str) -> tuple[GgufTensor, ...]:
    """Return the tensors of a file, read from its start. Errors: SourceError naming the file and what is wrong."""
    walk = _Walk(file, size_bytes, name)
    if walk.take(4) != _MAGIC:
        raise SourceError(f"{name} is no GGUF file: it does not begin with {_MAGIC.decode()}")
    version = walk.number("<I")
    if version not in _VERSIONS:
        raise SourceError(f"{name}: GGUF version {version:#x}; little-endian versions 2 and 3 can be read")
    tensors, pairs = walk.number("<Q"), walk.number("<Q")
    alignment = _DEFAULT_ALIGNMENT
    for _ in range(pairs):
        key, kind = walk.text(), walk.number("<I")
        if key == _ALIGNMENT_KEY and kind == _UINT32:
            alignment = walk.number("<I")
        else:
            walk.skip(kind)
    if alignment < 1 or alignment & (alignment - 1):
        raise SourceError(f"{name}: general.alignment is {alignment}; it must be a power of two")
    told = [walk.tensor() for _ in range(tensors)]
    data_begin = -(-walk.place // alignment) * alignment
    return tuple(GgufTensor(one.name, one.shape, one.kind, data_begin + one.begin) for one in told)


class _Walk:
    """A place in a file that moves forward and never beyond its end."""

    def __init__(self, file: BinaryIO, size_bytes: int, name: str) -> None:
        self.place = 0
        self._file = file
        self._size_bytes = size_bytes
        self._name = name

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        self._advance(length)
        data = self._file.read(length)
        if len(data) < length:
            raise SourceError(f"{self._name} became shorter while it was read")
        return data

    def pass_over(self, length: int) -> None:
        """Leave out the next bytes."""
        self._advance(length)
        self._file.seek(length, os.SEEK_CUR)

    def _advance(self, length: int) -> None:
        if length > self._size_bytes - self.place:
            told = f"{length} bytes at {self.place} do not exist, it has {self._size_bytes}"
            raise SourceError(f"{self._name} is no whole GGUF file: {told}")
        self.place += length

    def number(self, form: str) -> int:
        """Return the next unsigned number."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> bytes:
        """Return the next string."""
        return self.take(self.number("<Q"))

    def skip(self, kind: int) -> None:
        """Go over a value of metadata."""
        count = 1
        if kind == _ARRAY:
            kind, count = self.number("<I"), self.number("<Q")
        if kind in _SCALAR_BYTES:
            self.pass_over(_SCALAR_BYTES[kind] * count)
        elif kind == _STRING:
            for _ in range(count):  # each takes eight bytes at least, so a false count ends at the end of the file
                self.pass_over(self.number("<Q"))
        else:
            raise SourceError(f"{self._name}: metadata of type {kind} at {self.place} cannot be read")

    def tensor(self) -> GgufTensor:
        """Return the next tensor; its offset still counts from where the data begin."""
        try:
            name = self.text().decode()
        except UnicodeDecodeError as error:
            raise SourceError(f"{self._name}: a tensor's name is not UTF-8") from error
        dimensions = self.number("<I")
        if dimensions > _MOST_DIMENSIONS:
            raise SourceError(f"{self._name}: tensor {name!r} has {dimensions} axes; allowed are {_MOST_DIMENSIONS}")
        shape = tuple(reversed([self.number("<Q") for _ in range(dimensions)]))
        return GgufTensor(name, shape, self.number("<I"), self.number("<Q"))
