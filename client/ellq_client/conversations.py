"""What is said to a server, in which order, and what is made of the answer: the heart that both clients share.

A conversation is a generator that does no network I/O. It yields actions; whoever drives it performs each one and sends back
what came of it, or throws in the error:

    Open      start a call; nothing comes back
    RECEIVE   the next frame of the answer comes back; None when it is over
    Wait      let some time pass; nothing comes back
    Deliver   hand a finished report to the caller; nothing comes back
    Together  hold several conversations at once; their results come back

It returns the result. Reading the source and writing the output happen inside, between two actions.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ellq.v1 import compression_pb2 as pb
from ellq_client.actions import RECEIVE, Action, Deliver, Event, Method, Open, Upload, Wait
from ellq_client.answers import Answer
from ellq_client.contract import expect, expect_kind
from ellq_client.enclosures import Enclosures
from ellq_client.errors import DeadlineExceeded, EllqError, InvalidRequest, ProtocolError
from ellq_client.fitting import fitted
from ellq_client.frames import RequestFrame
from ellq_client.mirror import mirror
from ellq_client.outputs import open_sink
from ellq_client.packed_sink import PackedSink
from ellq_client.references import Listing, RemoteSource, name_places
from ellq_client.reordering import LastLayerFirst
from ellq_client.requests import Request
from ellq_client.results import Analysis, Compression, analysis_of, compression_of
from ellq_client.retrying import RETRIED, Deadline, Patience
from ellq_client.rules import ErrorBudget
from ellq_client.sinks import ArraySink, Sink
from ellq_client.sources import Source
from ellq_client.values import Capabilities, TensorReport

Value = TypeVar("Value")

SKETCH_PASSES = 16
"""More passes than a double has digits to resolve: a server that asks for another one is broken."""


def analyze(source: Source, request: Request, enclosures: Enclosures, patience: Patience) -> Generator[Action, Event, Analysis]:
    """Analyse the weights."""
    request = fitted(request, source, enclosures)
    options = pb.AnalyzeRequest(options=request.analyze_options(network=enclosures.network))
    call = _Call("Analyze", options, source, enclosures, neurons=request.neurons)
    answer = yield from _persist(call.attempt, Deadline(patience))
    return analysis_of(answer, request, source)


def compress(
    source: Source, output: Path | None, request: Request, enclosures: Enclosures, patience: Patience, *, replace_output: bool
) -> Generator[Action, Event, Compression]:
    """Compress the weights into a file, or into memory without an output. Whatever ends it early leaves nothing behind."""
    sink = open_sink(source, output, request.encoding, replace=replace_output)
    request = fitted(request, source, enclosures)
    try:
        answer = yield from compress_into(sink, source, request, enclosures, patience)
        sink.commit()
        arrays = sink.arrays() if isinstance(sink, ArraySink) else None
        packed = sink.sizes if isinstance(sink, PackedSink) else None
        return compression_of(answer, request, source, output=output, weights=arrays, packed=packed)
    finally:
        sink.discard()


def compress_into(
    sink: Sink, source: Source, request: Request, enclosures: Enclosures, patience: Patience
) -> Generator[Action, Event, Answer]:
    """Fill the sink with the compressed weights, in as many calls as that takes. The caller commits or discards."""
    task = Task(source, request, enclosures, Deadline(patience))
    answer = yield from task.at_once(sink)
    return (yield from task.by_sketch(sink)) if answer is None else answer


def describe(uri: str, deadline: Deadline) -> Generator[Action, Event, RemoteSource]:
    """Ask what is in an object that the server reads; no weights are read for it."""
    options = pb.AnalyzeRequest(options=pb.AnalyzeOptions(source_uri=uri, plans_only=True))

    def attempt(timeout_seconds: float) -> Generator[Action, Event, RemoteSource]:
        yield Open("Analyze", Upload(options), timeout_seconds)
        listing = Listing(uri)
        while (frame := (yield RECEIVE)) is not None:
            listing.take(expect_kind(pb.AnalyzeResponse, frame, "no answer to Analyze"))
        return listing.source()

    return (yield from _persist(attempt, deadline))


def capabilities(patience: Patience) -> Generator[Action, Event, Capabilities]:
    """Ask what the server can do."""

    def attempt(timeout_seconds: float) -> Generator[Action, Event, Capabilities]:
        yield Open("GetCapabilities", Upload(pb.GetCapabilitiesRequest()), timeout_seconds)
        answer = expect_kind(pb.GetCapabilitiesResponse, (yield RECEIVE), "no answer to GetCapabilities")
        return mirror(Capabilities, answer)

    return (yield from _persist(attempt, Deadline(patience)))


@dataclass(frozen=True)
class Task:
    """What is to be done to which weights, over as many calls as it takes."""

    source: Source
    request: Request
    enclosures: Enclosures
    deadline: Deadline

    def at_once(self, sink: Sink) -> Generator[Action, Event, Answer | None]:
        """Compress in one call; return None where that takes a sketch, which the request can have."""
        try:
            return (yield from self.compress(sink, sketch=None))
        except InvalidRequest as refusal:
            if refusal.reason != "SKETCH_REQUIRED" or not self.request.can_sketch:
                raise
        return None

    def by_sketch(self, sink: Sink) -> Generator[Action, Event, Answer]:
        """Compress in as many calls as it takes where one is not enough."""
        sketch = yield from self.sketch()
        return (yield from self.compress(sink, sketch=sketch))

    def compress(self, sink: Sink, *, sketch: pb.Sketch | None) -> Generator[Action, Event, Answer]:
        """Compress into the sink by this sketch, which is final."""
        options = pb.CompressRequest(options=self.request.compress_options(sketch, self.enclosures.network))
        call = _Call("Compress", options, self.source, self.enclosures, sink=sink, neurons=self.request.neurons)
        return (yield from _persist(call.attempt, self.deadline))

    def sketch(self) -> Generator[Action, Event, pb.Sketch]:
        """Measure in as many passes as global scope needs, for weights that one pass of this server cannot hold together."""
        sketch = None
        for number in range(SKETCH_PASSES):
            summary = yield from self.measure(self._first_source() if number == 0 else self.source, previous=sketch)
            expect(summary.HasField("sketch"), "no sketch in the summary, though one was asked for")
            sketch = summary.sketch
            if sketch.final:
                return sketch
        raise ProtocolError(f"the sketch is not final after {SKETCH_PASSES} passes")

    def measure(self, source: Source, *, previous: pb.Sketch | None) -> Generator[Action, Event, pb.Summary]:
        """Make one of these passes, and return its summary, in which the sketch is."""
        asked = self.request.analyze_options(pb.SketchOptions(previous=previous), self.enclosures.network)
        options = pb.AnalyzeRequest(options=asked)
        call = _Call("Analyze", options, source, self.enclosures, neurons=False, deliver=False)
        return (yield from _persist(call.attempt, self.deadline)).summary

    def _first_source(self) -> Source:
        """Return the source in the order of the first pass: an error budget walks back from the outputs."""
        network = self.enclosures.network
        if network is None or not isinstance(self.request.rule, ErrorBudget):
            return self.source
        return LastLayerFirst(self.source, network.topology)


def _persist(
    attempt: Callable[[float], Generator[Action, Event, Value]], deadline: Deadline
) -> Generator[Action, Event, Value]:
    """Make one attempt in the time that is left, and again while that can help."""
    number = 1
    while True:
        try:
            return (yield from attempt(deadline.remaining_seconds()))
        except DeadlineExceeded as refusal:
            if not deadline.over:
                raise  # somebody on the way has less patience
            raise DeadlineExceeded(deadline.told()) from refusal.__cause__
        except RETRIED as refusal:
            yield Wait(deadline.delay_after(refusal, attempt=number))
            number += deadline.counts(refusal)


@dataclass(frozen=True)
class _Call:
    """One call and what it has delivered over all its attempts, so that nothing is delivered twice."""

    method: Method
    options: pb.AnalyzeRequest | pb.CompressRequest
    source: Source
    enclosures: Enclosures
    sink: Sink | None = None
    neurons: bool = field(kw_only=True)
    deliver: bool = True
    delivered: list[TensorReport] = field(default_factory=list[TensorReport])

    def attempt(self, timeout_seconds: float) -> Generator[Action, Event, Answer]:
        """Upload the source and take the whole answer."""
        answer = Answer(self.source, sink=self.sink, neurons=self.neurons)
        name_places(self.options.options, self.source, self.sink)
        upload = Upload(self.options, self.source, self._enclosed)
        yield Open(self.method, upload, timeout_seconds)
        try:
            while (frame := (yield RECEIVE)) is not None:
                assert not isinstance(frame, pb.GetCapabilitiesResponse | tuple)
                for report in answer.take(frame):
                    yield from self._deliver(report)
                if not isinstance(frame, memoryview) and frame.HasField("manifest"):
                    self._check_heeded(frame.manifest)
            answer.finish()
        except EllqError as error:
            if upload.failure is not None:  # the cause; what the server made of the torn stream is a consequence
                raise upload.failure from error
            raise
        return answer

    def _check_heeded(self, manifest: pb.Manifest) -> None:
        """Refuse a server that would cut a shard as if none came before it."""
        options = self.options.options
        counted = sum(options.sketch.bins.weights_before) if isinstance(options, pb.CompressOptions) else 0
        if manifest.weights_before != counted:
            who, shard = f"a server of version {manifest.version or 'unknown'}", self.source.name
            told = f"{who} does not heed that {counted} weights lie in the shards before {shard}, so it would keep too many"
            raise ProtocolError(f"{told}; one threshold over shards needs newer servers, all of them")

    def _enclosed(self) -> Iterator[RequestFrame]:
        for moments in self.enclosures.moments():
            yield type(self.options)(moments=moments)

    def _deliver(self, report: TensorReport) -> Generator[Action, Event, None]:
        if report.tensor < len(self.delivered):
            expect(report == self.delivered[report.tensor], f"the repeated call tells something else of {report.name!r}")
        elif self.deliver:
            self.delivered.append(report)
            yield Deliver(report)
