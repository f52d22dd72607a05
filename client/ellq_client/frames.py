"""What goes up and what comes down, frame by frame."""

from typing import TypeAlias

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import ANALYZE_REQUEST, COMPRESS_RESPONSE, Data

RequestFrame: TypeAlias = pb.AnalyzeRequest | pb.CompressRequest | pb.GetCapabilitiesRequest | Data
AnswerFrame: TypeAlias = pb.AnalyzeResponse | pb.CompressResponse | memoryview


def write_request(frame: RequestFrame) -> bytes:
    """Return the serialized request frame; plain bytes become a data frame, which has one layout in all requests."""
    return ANALYZE_REQUEST.write(frame) if isinstance(frame, bytes | memoryview) else frame.SerializeToString()


def read_analysis(serialized: bytes) -> pb.AnalyzeResponse:
    """Return one frame of an Analyze answer."""
    return pb.AnalyzeResponse.FromString(serialized)


def read_compression(serialized: bytes) -> pb.CompressResponse | memoryview:
    """Return one frame of a Compress answer; a data frame as a view of its bytes."""
    return COMPRESS_RESPONSE.read(serialized)
