"""Dense safetensors bytes in, the bytes of a packed file out. Writes nothing itself."""

from collections.abc import Callable, Iterator
from functools import cached_property
from hashlib import sha256

import numpy as np

from ellq.v1.frames import Data
from ellq_client.packing.blocks import write_block
from ellq_client.packing.container import dense_tensors, packed_header, stored_bytes_max
from ellq_client.packing.entropies import PackedSizes, Tally, limit_bytes_of
from ellq_client.packing.words import BLOCK_WORDS, kind_of
from ellq_client.packing.zstd import compressor


class Packer:
    """Packs one file, a block at a time.

    The file is `opening`, all that `take` and `finish` yield, and then, over its beginning, `header()`: as long as the
    opening, but with the lengths that are known only now.
    """

    def __init__(self, header: bytes, *, name: str) -> None:
        """Take the header of the dense file, its length bytes included. Errors: ExtraMissing; SourceError for no header."""
        self._dense = header
        _, self._tensors = dense_tensors(header, name=name)
        self._lengths: list[int] = []
        """Of the parts that are finished."""
        self._entropy_bits: list[float] = []
        """Of the tensors that are finished."""
        self._compressor = compressor()
        self._pending = bytearray()
        self._begin_tensor()

    @cached_property
    def opening(self) -> bytes:
        """A header with room for any lengths. Errors: OutputError."""
        return packed_header(self._dense, self._tensors, [stored_bytes_max(tensor) for tensor in self._tensors])

    def take(self, data: Data) -> Iterator[bytes]:
        """Take the next bytes of the dense payload and yield what is to be written now."""
        rest = memoryview(data)
        while len(rest):
            yield from self._finish_tensors()
            assert self._block_bytes, "the payload is as long as the header says"
            missing = self._block_bytes - len(self._pending)
            if self._pending or len(rest) < missing:
                self._pending += rest[:missing]
                block = self._pending
            else:
                block = rest[:missing]  # a whole one, without a copy
            rest = rest[missing:]
            if len(block) == self._block_bytes:
                yield self._block(block)

    def finish(self) -> Iterator[bytes]:
        """Yield what is to be written after the last byte was taken."""
        yield from self._finish_tensors()
        assert len(self._lengths) == len(self._tensors), "all of the payload comes first"

    def header(self) -> bytes:
        """Return what belongs at the beginning of the file."""
        return packed_header(self._dense, self._tensors, self._lengths, room_bytes=len(self.opening))

    def sizes(self) -> PackedSizes:
        """Return what packing made of the file."""
        return PackedSizes(
            logical_bytes=len(self._dense) + sum(tensor.length_bytes for tensor in self._tensors),
            stored_bytes=len(self.opening) + sum(self._lengths),
            limit_bytes=limit_bytes_of(len(self._dense), self._entropy_bits),
        )

    def _begin_tensor(self) -> None:
        self._digest = sha256()
        self._stored = 0
        at_end = len(self._lengths) == len(self._tensors)
        self._missing = 0 if at_end else self._tensors[len(self._lengths)].length_bytes
        self._kind = kind_of("U8" if at_end else self._tensors[len(self._lengths)].dtype)
        self._tally = Tally(self._kind)
        self._plan_block()

    def _plan_block(self) -> None:
        """Settle how long the next block is when unpacked."""
        self._block_bytes = min(BLOCK_WORDS * self._kind.width, self._missing)

    def _block(self, dense: bytearray | memoryview) -> bytes:
        self._digest.update(dense)
        words = np.frombuffer(dense, self._kind.dtype)
        block = write_block(words, self._kind, self._compressor, self._tally)
        self._stored += len(block)
        self._missing -= len(dense)
        self._pending = bytearray()
        self._plan_block()
        return block

    def _finish_tensors(self) -> Iterator[bytes]:
        """End the tensor of which nothing is missing, and those without bytes that follow it."""
        while not self._missing and len(self._lengths) < len(self._tensors):
            digest = self._digest.digest()
            self._lengths.append(self._stored + len(digest))
            self._entropy_bits.append(self._tally.entropy_bits)
            self._begin_tensor()
            yield digest


class PackedWriter:
    """Hands a packer's bytes to whatever writes a file: `write` appends to it, `rewrite` puts bytes over its first ones."""

    def __init__(self, packer: Packer, *, write: Callable[[bytes], object], rewrite: Callable[[bytes], object]) -> None:
        """Write how the file begins."""
        self._packer, self._write, self._rewrite = packer, write, rewrite
        self._write(packer.opening)

    def take(self, data: Data) -> None:
        """Write what is packed by now."""
        for piece in self._packer.take(data):
            self._write(piece)

    def finish(self) -> PackedSizes:
        """Write what is left and the header, and return what packing made of the file."""
        for piece in self._packer.finish():
            self._write(piece)
        self._rewrite(self._packer.header())
        return self._packer.sizes()
