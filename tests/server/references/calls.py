"""Calls by reference, made of nothing but the generated stub."""

from dataclasses import dataclass

import grpc

from ellq.v1 import compression_pb2 as pb
from tests.server.wire import HALF, Answer, Caller, Refusal, gather, read_refusal


@dataclass(frozen=True)
class ByReference:
    """Calls that name where the weights are, to one server."""

    caller: Caller

    def compress(self, source: str = "", output: str = "", *, data: bytes = b"", **options: object) -> Answer:
        wanted = pb.CompressOptions(**{"rule": HALF, "replace_output": True, **options}, source_uri=source, output_uri=output)
        frames = [pb.CompressRequest(options=wanted)]
        frames += [pb.CompressRequest(data=data[start : start + (1 << 20)]) for start in range(0, len(data), 1 << 20)]
        return self.caller.compress_frames(frames)

    def analyze(self, source: str, **options: object) -> Answer:
        wanted = pb.AnalyzeOptions(**options, source_uri=source)
        return gather(self.caller.stub.Analyze(iter([pb.AnalyzeRequest(options=wanted)]), timeout=60))

    def refused(self, *places: str, **options: object) -> Refusal:
        """Compress what must be refused, and check that the server holds nothing of it any more."""
        try:
            self.compress(*places, **options)
        except grpc.RpcError as error:
            admission = self.caller.server._admission
            assert (admission.calls, admission.reserved_bytes) == (0, 0)
            return read_refusal(error)
        raise AssertionError("the call was not refused")
