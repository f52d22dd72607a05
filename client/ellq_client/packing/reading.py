"""A packed file, read as the dense one that it stands for. Nothing in it is trusted."""

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np

from ellq_client.checkpoint import Checkpoint
from ellq_client.counting import counted
from ellq_client.errors import SourceError
from ellq_client.headers import StoredTensor
from ellq_client.packing.blocks import LENGTH, overhead_bytes, read_block
from ellq_client.packing.container import DIGEST_BYTES, blocks_of, describe, is_packed
from ellq_client.packing.entropies import PackedSizes, Tally, limit_bytes_of
from ellq_client.packing.words import BLOCK_WORDS, Words, kind_of
from ellq_client.packing.zstd import decompressor


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a safetensors file, packed or dense, as the dense one. Errors: SourceError, ExtraMissing."""
    checkpoint = Checkpoint(path)
    if not is_packed(checkpoint.header):
        return checkpoint
    with checkpoint:
        return PackedCheckpoint(path)


class PackedCheckpoint(Checkpoint):
    """An open packed file whose header, tensors and bytes are those of the dense one. Errors: SourceError, ExtraMissing."""

    def __init__(self, path: Path) -> None:
        """Open the file and check what its header says."""
        self.path = path
        self._decompressor = decompressor()
        self._container = Checkpoint(path)
        try:
            self._description = describe(self._container)
        except BaseException:
            self._container.__exit__()
            raise
        self.header, self.size_bytes = self._description.header, self._description.size_bytes
        self.tensors = self._description.tensors
        self._begins = [tensor.begin for tensor in self.tensors]
        self._checked: set[int] = set()
        """Places of tensors whose digest holds."""
        self._offsets: tuple[int, list[int]] = (-1, [])
        self._block: tuple[int, int, Words] = (-1, -1, np.zeros(0, np.uint8))

    def words(self, place: int) -> Iterator[Words]:
        """Yield the words of a tensor, block by block, and check their digest in the end."""
        tensor = self.tensors[place]
        digest = sha256()
        for number in range(blocks_of(tensor)):
            words = self._cached_block(place, number)
            digest.update(words.view(np.uint8).data)
            yield words
        with self._told(tensor):
            self._check_end(place)
            if digest.digest() != self._stored_digest(place):
                raise SourceError("its bytes do not have their digest")
        self._checked.add(place)

    def payload(self) -> Iterator[memoryview]:
        """Yield the bytes of all tensors, and check every digest."""
        for place in range(len(self.tensors)):
            for words in self.words(place):
                yield words.view(np.uint8).data

    def read(self, begin: int, length: int) -> bytearray:
        """Return bytes of the dense file. Of a tensor that is read for the first time all is decoded, to check its digest."""
        data = bytearray(length)
        view = memoryview(data)
        end = begin + length
        filled = max(min(len(self.header), end) - begin, 0)
        view[:filled] = self.header[begin : begin + filled]
        first = max(bisect_right(self._begins, begin) - 1, 0)
        for place in range(first, bisect_left(self._begins, end)):
            self._fill(view, begin, place)
        if end > self.size_bytes:
            raise SourceError(f"{self.path} ends early: {length} bytes at {begin} do not exist")
        return data

    def digest(self, begin: int, end: int) -> str:
        """Return the SHA-256 of a range, in hexadecimal; that of a tensor is held against the file's own."""
        starting = range(bisect_left(self._begins, begin), bisect_right(self._begins, begin))
        place = next((one for one in starting if self.tensors[one].end == end), None)
        if place is None:
            return super().digest(begin, end)
        for _ in self.words(place):
            pass
        return self._stored_digest(place).hex()

    def sizes(self) -> PackedSizes:
        """Read everything, check every digest, and return what packing made of it."""
        bits = [self._entropy_bits(place) for place in range(len(self.tensors))]
        return PackedSizes(self.size_bytes, self._container.size_bytes, limit_bytes_of(len(self.header), bits))

    def __exit__(self, *_: object) -> None:
        self._container.__exit__()

    def _entropy_bits(self, place: int) -> float:
        tally = Tally(kind_of(self.tensors[place].dtype))
        for words in self.words(place):
            tally.count(words)
        return tally.entropy_bits

    def _check(self, place: int) -> None:
        """Check the digest of a tensor, unless that was done."""
        if place not in self._checked:
            for _ in self.words(place):
                pass

    def _fill(self, view: memoryview, begin: int, place: int) -> None:
        """Copy what a range that begins there has of a tensor."""
        self._check(place)
        tensor = self.tensors[place]
        block_bytes = BLOCK_WORDS * kind_of(tensor.dtype).width
        first, last = max(begin, tensor.begin), min(begin + len(view), tensor.end)
        while first < last:
            number, within = divmod(first - tensor.begin, block_bytes)
            piece = self._cached_block(place, number).view(np.uint8).data[within : within + last - first]
            view[first - begin : first - begin + len(piece)] = piece
            first += len(piece)

    def _cached_block(self, place: int, number: int) -> Words:
        if self._block[:2] != (place, number):
            self._block = (place, number, self._read_block(place, number))
        return self._block[2]

    def _read_block(self, place: int, number: int) -> Words:
        tensor = self.tensors[place]
        kind = kind_of(tensor.dtype)
        with self._told(tensor):
            begin, length = self._place_of(place, number)
            count = min(tensor.length_bytes // kind.width - number * BLOCK_WORDS, BLOCK_WORDS)
            if LENGTH.size + length > count * kind.width + overhead_bytes(kind):
                raise SourceError(
                    f"block {number} of {counted(count, 'word')} has {counted(length, 'byte')}, more than they take plain"
                )
            return read_block(memoryview(self._container.read(begin, length)), count, kind, self._decompressor)

    def _place_of(self, place: int, number: int) -> tuple[int, int]:
        """Return where a block lies, without its length, and how long it is. The lengths of a tensor's blocks are a chain."""
        part = self._description.parts[place]
        if self._offsets[0] != place:
            self._offsets = (place, [part.begin])
        offsets = self._offsets[1]
        while len(offsets) < number + 2:
            (length,) = LENGTH.unpack(self._container.read(offsets[-1], LENGTH.size))
            offsets.append(offsets[-1] + LENGTH.size + length)
            if offsets[-1] > part.end - DIGEST_BYTES:
                raise SourceError(f"block {len(offsets) - 2} of {length} bytes leads out of it")
        begin = offsets[number] + LENGTH.size
        return begin, offsets[number + 1] - begin

    def _check_end(self, place: int) -> None:
        tensor, part = self.tensors[place], self._description.parts[place]
        blocks = blocks_of(tensor)
        end = sum(self._place_of(place, blocks - 1)) if blocks else part.begin
        if end != part.end - DIGEST_BYTES:
            raise SourceError(f"after its last block: {counted(part.end - DIGEST_BYTES - end, 'byte')}")

    def _stored_digest(self, place: int) -> bytes:
        part = self._description.parts[place]
        return bytes(self._container.read(part.end - DIGEST_BYTES, DIGEST_BYTES))

    @contextmanager
    def _told(self, tensor: StoredTensor) -> Generator[None]:
        try:
            yield
        except SourceError as error:
            raise SourceError(f"{self.path} is damaged: packed tensor {tensor.name!r}: {error}") from error
