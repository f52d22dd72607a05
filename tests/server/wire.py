"""A caller made of nothing but the generated stub: it sends whatever a test wants sent."""

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import grpc
import numpy as np
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

from ellq.v1 import compression_pb2 as pb
from ellq.v1 import compression_pb2_grpc as pb_grpc

NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int32": "I32",
    "uint32": "U32",
    "int16": "I16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
}

HALF = pb.Rule(scope=pb.SCOPE_NEURON, fraction=pb.FractionRule(pruned_ratio=0.5))


def stream_of(tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """Serialise without the library under test or the safetensors library."""
    header, payload = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        span = [len(payload), len(payload) + len(raw)]
        header[name] = {"dtype": NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": span}
        payload += raw
    return with_header(json.dumps(header).encode(), payload)


def with_header(text: bytes, payload: bytes = b"") -> bytes:
    """Put any header text before any payload."""
    return struct.pack("<Q", len(text)) + text + payload


@dataclass
class Answer:
    """All frames of one answer."""

    kinds: list[str] = field(default_factory=list)
    manifest: pb.Manifest = field(default_factory=pb.Manifest)
    plans: dict[str, pb.TensorPlan] = field(default_factory=dict)
    reports: dict[str, pb.TensorReport] = field(default_factory=dict)
    neurons: list[pb.NeuronReports] = field(default_factory=list)
    data: bytes = b""
    summary: pb.Summary = field(default_factory=pb.Summary)


@dataclass(frozen=True)
class Refusal:
    """What a client learns from a refused call."""

    code: grpc.StatusCode
    message: str
    reason: str
    field: str
    retry_after: float | None


class Caller:
    """Calls one server."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.stub = pb_grpc.CompressionServiceStub(self.channel)

    def compress(
        self,
        stream: bytes,
        rule: pb.Rule = HALF,
        *,
        chunk: int = 1 << 20,
        moments: Iterable[pb.Moments] = (),
        **options: object,
    ) -> Answer:
        frames = [pb.CompressRequest(options=pb.CompressOptions(rule=rule, **options))]
        frames += [pb.CompressRequest(moments=one) for one in moments]
        return self.compress_frames(frames + [pb.CompressRequest(data=data) for data in cut(stream, chunk)])

    def compress_frames(self, frames: Iterable[pb.CompressRequest], **call: object) -> Answer:
        return gather(self.stub.Compress(iter(frames), timeout=120, **call))

    def analyze(self, stream: bytes, *, chunk: int = 1 << 20, moments: Iterable[pb.Moments] = (), **options: object) -> Answer:
        frames = [pb.AnalyzeRequest(options=pb.AnalyzeOptions(**options))]
        frames += [pb.AnalyzeRequest(moments=one) for one in moments]
        frames += [pb.AnalyzeRequest(data=data) for data in cut(stream, chunk)]
        return gather(self.stub.Analyze(iter(frames), timeout=120))

    def refused(self, *arguments: object, **options: object) -> Refusal:
        """Compress what must be refused."""
        try:
            self.compress(*arguments, **options)
        except grpc.RpcError as error:
            return read_refusal(error)
        raise AssertionError("the call was not refused")


def cut(stream: bytes, chunk: int) -> Iterator[bytes]:
    return (stream[start : start + chunk] for start in range(0, len(stream), chunk))


def gather(frames: Iterable[pb.AnalyzeResponse | pb.CompressResponse]) -> Answer:
    answer, data = Answer(), bytearray()
    for frame in frames:
        kind = frame.WhichOneof("frame")
        answer.kinds.append(kind)
        match kind:
            case "manifest":
                answer.manifest = frame.manifest
            case "plans":
                answer.plans |= {plan.name: plan for plan in frame.plans.plans}
            case "reports":
                answer.reports |= {report.name: report for report in frame.reports.reports}
            case "neurons":
                answer.neurons.append(frame.neurons)
            case "data":
                data += frame.data
            case "summary":
                answer.summary = frame.summary
    answer.data = bytes(data)
    return answer


def read_refusal(error: grpc.RpcError) -> Refusal:
    metadata = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        unpack(detail, info, bad, retry)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    assert info.domain == "ellq.v1"
    assert len(metadata["grpc-status-details-bin"]) < 8192
    field = bad.field_violations[0].field if bad.field_violations else ""
    retry_after = float(metadata["retry-after"]) if "retry-after" in metadata else None
    return Refusal(error.code(), error.details(), info.reason, field, retry_after)


def unpack(detail: Any, *candidates: object) -> None:
    assert any(detail.Unpack(candidate) for candidate in candidates), detail.type_url
