"""From what a server sends of a tensor to the tensor's bytes: what was sent there need not come back."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import Data, framed
from ellq.v1.safetensors import COMPRESSIBLE_DTYPES, DTYPE_BITS
from ellq_client.contract import ExpectedBytes
from ellq_client.errors import ProtocolError
from ellq_client.headers import StoredTensor
from ellq_client.sources import Source
from ellq_client.steady_file import BLOCK_BYTES

_WHOLE = (pb.DELIVERY_UNSPECIFIED, pb.DELIVERY_WHOLE)

Reader: TypeAlias = Callable[[memoryview], Iterator[memoryview]]
"""Takes the next bytes that came, perhaps none, and yields the bytes of the tensor that they tell."""


class ArrivingTensor:
    """The bytes of one tensor on their way from the data frames to where they are wanted."""

    def __init__(self, payload: pb.Payload, source: Source, stored: StoredTensor) -> None:
        """Take what the report says of them. Errors: ProtocolError."""
        self.complete = False
        self._name = stored.name
        self._arriving = arriving_bytes(stored, payload.delivery)
        self._doubt = "" if payload.delivery in _WHOLE else ", or the weights changed since they were sent"
        self._read = reader_of(payload.delivery, source, stored)
        self._bytes = ExpectedBytes(payload.length_bytes, payload.sha256.hex())

    def take(self, data: memoryview, write: Callable[[memoryview], None]) -> memoryview:
        """Take what belongs here, write what that tells of the tensor, and return the rest of the data.

        Errors: ProtocolError for bytes without their digest, SourceError, those of `write`.
        """
        if self.complete:
            return data
        mine, rest = data[: self._arriving], data[self._arriving :]
        self._arriving -= len(mine)
        for piece in self._read(mine):
            write(self._bytes.take(piece))
        if not self._arriving:
            self._bytes.check(self._name, doubt=self._doubt)
            self.complete = True
        return rest


def arriving_bytes(stored: StoredTensor, delivery: pb.Delivery) -> int:
    """Return how much of the data frames is a tensor's. Errors: ProtocolError for what cannot come of this tensor."""
    if delivery in _WHOLE:
        return stored.length_bytes
    if delivery == pb.DELIVERY_AS_SENT:
        return 0
    if delivery != pb.DELIVERY_MASK or stored.dtype not in COMPRESSIBLE_DTYPES:
        raise ProtocolError(f"the server delivers {stored.name!r} ({stored.dtype}) in a way that this version does not know")
    return -(-stored.length_bytes // DTYPE_BITS[stored.dtype])  # a bit for each weight


def reader_of(delivery: pb.Delivery, source: Source, stored: StoredTensor) -> Reader:
    """Return what reads a tensor that is delivered like this. It reads the source again: SourceError."""
    if delivery == pb.DELIVERY_AS_SENT:
        return lambda data: map(memoryview, source.pieces(stored))
    if delivery == pb.DELIVERY_MASK:
        return Mask(source.pieces(stored), itemsize=DTYPE_BITS[stored.dtype] // 8).take
    return lambda data: iter((data,) if data else ())


class Mask:
    """Puts zeros into weights where a mask has none. Holds a block of the weights and a frame of the mask at a time."""

    def __init__(self, pieces: Iterator[Data], *, itemsize: int) -> None:
        """Take the weights, of `itemsize` bytes each, in pieces of any length."""
        # all but the last are covered by whole bytes of the mask
        self._blocks = framed(map(memoryview, pieces), BLOCK_BYTES)
        self._block = memoryview(b"")
        self._mask = bytearray()
        self._words = np.dtype(f"u{itemsize}")

    def take(self, data: memoryview) -> Iterator[memoryview]:
        """Take the next bytes of the mask and yield the weights that they cover, each view before the next overwrites it."""
        self._mask += data
        room = np.empty(BLOCK_BYTES // self._words.itemsize, self._words)
        while (needed := self._needed_bytes()) and needed <= len(self._mask):
            mask, weights = np.frombuffer(self._mask[:needed], np.uint8), np.frombuffer(self._block, self._words)
            del self._mask[:needed]
            self._block = memoryview(b"")
            kept = np.unpackbits(mask, count=len(weights), bitorder="little")
            yield np.multiply(weights, kept, out=room[: len(weights)], dtype=self._words).data.cast("B")

    def _needed_bytes(self) -> int:
        """Return the length of the mask of the next block; 0 when there is none."""
        if not self._block:
            self._block = memoryview(next(self._blocks, b""))
        return -(-len(self._block) // (8 * self._words.itemsize))
