"""Weights that the server reads and writes itself: here they are a URI, and what the server tells of them."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import accumulate, pairwise

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import Data
from ellq.v1.safetensors import LENGTH_BYTES
from ellq_client.arrivals import read_plan
from ellq_client.contract import expect
from ellq_client.errors import SourceError
from ellq_client.headers import HEADER_BYTES_MAX, Header, StoredTensor, stored_bytes
from ellq_client.permissions import ORDINARY
from ellq_client.sinks import Sink
from ellq_client.sources import Source
from ellq_client.values import TensorPlan

_BARE_ENTRY = '"":{"dtype":"","shape":[],"data_offsets":[0,0]},'
"""What a tensor takes of a header beside its name, its dtype and its shape."""


class Listing:
    """What a server tells of an object, frame by frame, and no more of it than the header of one can hold."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._manifest = pb.Manifest()
        self._plans: list[TensorPlan] = []
        self._room_bytes = 0

    def take(self, frame: pb.AnalyzeResponse) -> None:
        """Take the next frame. Errors: ProtocolError."""
        if frame.HasField("manifest"):
            expect(not self._manifest.header_bytes, "the manifest comes once, first")
            length, longest = frame.manifest.header_bytes, LENGTH_BYTES + HEADER_BYTES_MAX
            expect(LENGTH_BYTES < length <= longest, f"a header of {length} bytes; allowed are up to {longest}")
            self._manifest, self._room_bytes = frame.manifest, length
        for plan in frame.plans.plans:
            self._add(plan)

    def source(self) -> "RemoteSource":
        """Return the source when all has come. Errors: ProtocolError."""
        expect(len(self._plans) == self._manifest.tensors, "not as many plans as tensors")
        return RemoteSource(self._uri, self._manifest, self._plans)

    def _add(self, plan: pb.TensorPlan) -> None:
        expect(len(self._plans) < self._manifest.tensors, "more plans than tensors")
        self._room_bytes -= len(_BARE_ENTRY) + len(plan.name.encode()) + len(plan.dtype) + len(plan.shape)
        expect(self._room_bytes >= 0, f"its plans tell of more than a header of {self._manifest.header_bytes} bytes holds")
        self._plans.append(read_plan(plan))


class RemoteSource:
    """A safetensors object that the server reads."""

    def __init__(self, uri: str, manifest: pb.Manifest, plans: Sequence[TensorPlan]) -> None:
        """Take what the server told of it. Errors: ProtocolError."""
        self.uri = self.name = uri
        self.size_bytes = manifest.header_bytes + manifest.payload_bytes
        self.permissions = ORDINARY
        lengths = [stored_bytes(plan.dtype, plan.shape) for plan in plans]
        ends = pairwise(accumulate(lengths, initial=manifest.header_bytes))
        tensors = tuple(StoredTensor(plan.name, plan.dtype, plan.shape, *span) for plan, span in zip(plans, ends, strict=True))
        expect(sum(lengths) == manifest.payload_bytes, "the tensors of the plans do not fill the payload of the manifest")
        expect(len(manifest.header_sha256) == sha256().digest_size, "no digest of a header that only the server has read")
        self.header = Header(manifest.header_bytes, manifest.header_sha256.hex(), tensors)

    def frames(self) -> Iterator[Data]:
        """Yield nothing: the request says where the weights are."""
        return iter(())

    def pieces(self, tensor: StoredTensor) -> Iterator[Data]:
        """Refuse: the bytes are not here. Errors: SourceError."""
        raise SourceError(f"{self.uri} is read by the server alone, and this sends its tensors in another order")


class RemoteSink:
    """An object that the server writes; all or nothing is its promise, so there is nothing to do here."""

    def __init__(self, uri: str, *, replace: bool) -> None:
        self.uri, self.replace = uri, replace

    def restart(self, plans: Sequence[TensorPlan]) -> None:
        """Take the plans; the server begins anew with every attempt."""

    def write(self, data: memoryview, *, tensor: int | None) -> None:
        """Refuse bytes: the answer takes none for this sink."""
        raise AssertionError("bytes for a sink that the server fills")

    def commit(self) -> None:
        """Nothing to put anywhere: it appeared before the summary came."""

    def discard(self) -> None:
        """Nothing to remove."""


def name_places(options: pb.AnalyzeOptions | pb.CompressOptions, source: Source, sink: Sink | None) -> None:
    """Write into the options what the server reads and writes itself."""
    if isinstance(source, RemoteSource):
        options.source_uri = source.uri
    if isinstance(sink, RemoteSink) and isinstance(options, pb.CompressOptions):
        options.output_uri, options.replace_output = sink.uri, sink.replace
