"""Where the weights of one call come from and where they go: over the call itself, or by reference."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import Data
from ellq_server.admission import Admission
from ellq_server.metrics import Metrics
from ellq_server.references.contract import Readable, Writable
from ellq_server.references.delivery import delivered
from ellq_server.references.doors import Doors
from ellq_server.references.reading import pieces_of
from ellq_server.refusals import InvalidRequest
from ellq_server.replies import Response


@dataclass(frozen=True)
class Places:
    """Open for as long as the call."""

    chunks: AsyncIterator[Data]
    """The safetensors stream."""
    patience_seconds: float
    """How long a store may take for the next chunk before that is told as its own failure; 0 for data frames."""
    _output: Writable | None
    _output_scheme: str
    _metrics: Metrics

    def delivered(self, frames: AsyncGenerator[Response | Data], admission: Admission) -> AsyncGenerator[Response | Data]:
        """Return what the caller gets; the rest goes into the output."""
        if self._output is None:
            return frames
        return delivered(frames, self._output, admission, self._metrics.written_bytes.labels(self._output_scheme).inc)


@asynccontextmanager
async def opened(
    doors: Doors,
    options: pb.AnalyzeOptions | pb.CompressOptions,
    data: AsyncIterator[Data],
    metrics: Metrics,
    *,
    more: bool,
) -> AsyncGenerator[Places]:
    """Open what the options name; `data` are the data frames of the call. Beside a source there must not be `more` frames.

    Errors: ReferenceRefused, StoreUnavailable; InvalidRequest (UNEXPECTED_DATA).
    """
    output_uri = options.output_uri if isinstance(options, pb.CompressOptions) else ""
    async with (
        doors.source(options.source_uri) as source,
        doors.output(output_uri, source_uri=options.source_uri) as output,
    ):
        scheme = output_uri.partition(":")[0]
        if source is None:
            yield Places(data, 0.0, output, scheme, metrics)
            return
        if more:
            message = "more than options and moments came although options.source_uri says where the weights are"
            raise InvalidRequest(message, reason="UNEXPECTED_DATA", field="data")
        async with aclosing(_read(source, options.source_uri, metrics)) as chunks:
            yield Places(chunks, doors.patience_seconds, output, scheme, metrics)


def _read(source: Readable, uri: str, metrics: Metrics) -> AsyncGenerator[Data]:
    return pieces_of(source, metrics.read_bytes.labels(uri.partition(":")[0]).inc)
