"""Frames of data without a copy through the protobuf parser.

A data frame is a message with a lone `bytes` field: tag, length, bytes. Written and read by hand it takes a fraction of the
time (docs/performance.md); any other message goes through the generated code, and so would a data frame in another layout.
What is on the wire is protobuf all the same: either side may be anybody's.
"""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

from ellq.v1 import compression_pb2 as pb

Data: TypeAlias = bytes | memoryview

FRAME_BYTES = 2 << 20
"""Length of a data frame: below gRPC's default limit of 4 MiB, far above what a message costs (docs/performance.md)."""

Frame = TypeVar("Frame", bound=Message)

_LENGTH_DELIMITED = 2


class Codec(Generic[Frame]):
    """Reads and writes the frames of one message class, whose field `data` holds bytes."""

    def __init__(self, message: type[Frame]) -> None:
        """Take the class; its data field is one of the first fifteen, so that the tag is one byte."""
        self._message = message
        self._tag = bytes([message.DESCRIPTOR.fields_by_name["data"].number << 3 | _LENGTH_DELIMITED])

    def write(self, frame: Frame | Data) -> bytes:
        """Return the serialized frame; plain bytes become a data frame."""
        if isinstance(frame, bytes | memoryview):
            return b"".join((self._tag, _varint(len(frame)), frame))
        return frame.SerializeToString()

    def read(self, serialized: bytes) -> Frame | memoryview:
        """Return one frame; a data frame as a view of its bytes. Errors: google.protobuf.message.DecodeError."""
        if serialized[:1] == self._tag:
            length, start = _read_varint(serialized, 1)
            if start + length == len(serialized):
                return memoryview(serialized)[start:]
        frame = self._message.FromString(serialized)
        return memoryview(frame.data) if frame.WhichOneof("frame") == "data" else frame  # pyright: ignore


ANALYZE_REQUEST = Codec(pb.AnalyzeRequest)
COMPRESS_REQUEST = Codec(pb.CompressRequest)
COMPRESS_RESPONSE = Codec(pb.CompressResponse)


def framed(payloads: Iterable[memoryview], frame_bytes: int = FRAME_BYTES) -> Iterator[Data]:
    """Yield the bytes of all payloads in frames; small payloads share them, so that a million are not as many messages.

    Every frame but the last has `frame_bytes`. Only what shares a frame is copied.
    """
    pending = bytearray()
    for payload in payloads:
        start = 0
        if pending:
            start = frame_bytes - len(pending)
            pending += payload[:start]
            if len(pending) == frame_bytes:
                yield bytes(pending)
                pending.clear()
        while len(payload) - start >= frame_bytes:
            yield payload[start : start + frame_bytes]
            start += frame_bytes
        pending += payload[start:]
    if pending:
        yield bytes(pending)


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _read_varint(serialized: bytes, start: int) -> tuple[int, int]:
    """Return the number at `start` and where it ends; a negative length when the bytes end first."""
    number = shift = 0
    for position in range(start, min(start + 10, len(serialized))):
        number |= (serialized[position] & 0x7F) << shift
        if serialized[position] <= 0x7F:
            return number, position + 1
        shift += 7
    return -1, start
