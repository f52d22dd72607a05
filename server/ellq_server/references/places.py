"""Where the weights of one call come from and where they go: over the call itself, or by reference."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import Data
from ellq_server.admission import Place
from ellq_server.metrics import Metrics
from ellq_server.references.contract import Readable, Writable
from ellq_server.references.doors import Doors
from ellq_server.references.reading import pieces_of
from ellq_server.references.storing import stored_away
from ellq_server.refusals import InvalidRequest
from ellq_server.replies import Response


@dataclass(frozen=True, kw_only=True)
class Places:
    """Open for as long as the call."""

    chunks: AsyncIterator[Data]
    """The safetensors stream."""
    patience_seconds: float
    """How long a store may take for the next chunk before that is told as its own failure; 0 for data frames."""
    _output: Writable | None
    _output_scheme: str
    _metrics: Metrics

    def stored_away(self, frames: AsyncGenerator[Response | Data], place: Place) -> AsyncGenerator[Response | Data]:
        """Return what the caller gets; the rest goes into the output."""
        if self._output is None:
            return frames
        return stored_away(frames, self._output, place, self._metrics.written_bytes.labels(self._output_scheme).inc)


@asynccontextmanager
async def opened(
    doors: Doors,
    options: pb.AnalyzeOptions | pb.CompressOptions,
    data: AsyncIterator[Data],
    metrics: Metrics,
    *,
    data_came: bool,
) -> AsyncGenerator[Places]:
    """Open what the options name; `data` are the data frames of the call, if any came.

    Errors: ReferenceRefused, StoreUnavailable; InvalidRequest (UNEXPECTED_DATA).
    """
    if options.source_uri and data_came:
        message = "more than options and moments came although options.source_uri says where the weights are"
        raise InvalidRequest(message, reason="UNEXPECTED_DATA", field="data")
    output_uri, replace = "", False
    if isinstance(options, pb.CompressOptions):
        output_uri, replace = options.output_uri, options.replace_output
    async with (
        doors.source(options.source_uri) as source,
        doors.output(output_uri, source_uri=options.source_uri, replace=replace) as output,
    ):
        places = partial(Places, _output=output, _output_scheme=output_uri.partition(":")[0], _metrics=metrics)
        if source is None:
            yield places(chunks=data, patience_seconds=0.0)
            return
        async with aclosing(_read(source, options.source_uri, metrics)) as chunks:
            with _named(options.source_uri):
                yield places(chunks=chunks, patience_seconds=doors.patience_seconds)


@contextmanager
def _named(uri: str) -> Generator[None]:
    """Say of which object it is what is said of data: nobody sent any."""
    try:
        yield
    except InvalidRequest as refusal:
        if refusal.field == "data":
            refusal.field = "options.source_uri"
            refusal.args = (f"{refusal.field} {uri}: {refusal}",)
        raise


def _read(source: Readable, uri: str, metrics: Metrics) -> AsyncGenerator[Data]:
    return pieces_of(source, metrics.read_bytes.labels(uri.partition(":")[0]).inc)
