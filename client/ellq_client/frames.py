"""Frames of data without a copy through the protobuf parser.

A data frame is a message with a lone `bytes` field: tag, length, bytes. Written and read by hand it takes a fraction of the
time; any other message goes through the generated code, and so would a data frame in another layout.
"""

from typing import TypeAlias

from ellq.v1 import compression_pb2 as pb

Data: TypeAlias = bytes | memoryview
RequestFrame: TypeAlias = pb.AnalyzeRequest | pb.CompressRequest | pb.GetCapabilitiesRequest | Data
AnswerFrame: TypeAlias = pb.AnalyzeResponse | pb.CompressResponse | memoryview

_LENGTH_DELIMITED = 2
_REQUEST_TAG = bytes([pb.CompressRequest.DATA_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])  # AnalyzeRequest has the same number
_ANSWER_TAG = bytes([pb.CompressResponse.DATA_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])


def write_request(frame: RequestFrame) -> bytes:
    """Return the serialized request frame; plain bytes become a data frame."""
    if isinstance(frame, bytes | memoryview):
        return b"".join((_REQUEST_TAG, _varint(len(frame)), frame))
    return frame.SerializeToString()


def read_analysis(serialized: bytes) -> pb.AnalyzeResponse:
    """Return one frame of an Analyze answer."""
    return pb.AnalyzeResponse.FromString(serialized)


def read_compression(serialized: bytes) -> pb.CompressResponse | memoryview:
    """Return one frame of a Compress answer; a data frame as a view of its bytes."""
    if serialized[:1] == _ANSWER_TAG:
        length, start = _read_varint(serialized, 1)
        if start + length == len(serialized):
            return memoryview(serialized)[start:]
    frame = pb.CompressResponse.FromString(serialized)
    return memoryview(frame.data) if frame.WhichOneof("frame") == "data" else frame


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
