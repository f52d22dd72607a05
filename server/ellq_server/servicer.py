"""The three methods of the contract, as thin as they can be."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass

import grpc
import structlog
from google.protobuf.message import DecodeError

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import ANALYZE_REQUEST, COMPRESS_REQUEST, COMPRESS_RESPONSE, Data
from ellq_kernels.contract import DeviceLost
from ellq_server.admission import RETRY_AFTER_SECONDS, Place
from ellq_server.bridge import run_in_thread
from ellq_server.bunches import events_ahead
from ellq_server.call import Event, House, answer
from ellq_server.capabilities import capabilities_of
from ellq_server.incoming import Incoming, RequestFrame
from ellq_server.logs import log, request_id_of
from ellq_server.metrics import SERVICE, Metrics
from ellq_server.references.doors import Doors
from ellq_server.references.places import Places, opened
from ellq_server.refusals import (
    Busy,
    Defect,
    Draining,
    EllqError,
    InvalidRequest,
    TruncatedStream,
    code_of,
    message_of,
    metadata_of,
    shorten,
)
from ellq_server.replies import Replies, Response
from ellq_server.requests import Received, Request, read_analyze, read_compress
from ellq_server.stopwatch import Stopwatch
from ellq_server.wire_values import rule_to_wire
from ellq_server.workbench import Outcome

Context = grpc.aio.ServicerContext


@dataclass(frozen=True)
class CompressionServicer:
    """Serves the contract. Keeps nothing between calls."""

    house: House
    doors: Doors
    metrics: Metrics
    threads: Executor
    idle_seconds: float
    on_device_lost: Callable[[], None]
    """Told, in the event loop, that no call will be answered here any more."""

    async def Analyze(self, request_iterator: AsyncIterator[RequestFrame], context: Context) -> None:
        """Measure."""
        await self._serve(request_iterator, context, read_analyze, pb.AnalyzeResponse)

    async def Compress(self, request_iterator: AsyncIterator[RequestFrame], context: Context) -> None:
        """Measure, compress, certify."""
        await self._serve(request_iterator, context, read_compress, pb.CompressResponse)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods, with codecs that hand data on without a copy."""
        stream = grpc.stream_stream_rpc_method_handler
        methods = {
            "Analyze": stream(self.Analyze, ANALYZE_REQUEST.read, pb.AnalyzeResponse.SerializeToString),
            "Compress": stream(self.Compress, COMPRESS_REQUEST.read, COMPRESS_RESPONSE.write),
            "GetCapabilities": grpc.unary_unary_rpc_method_handler(
                self.GetCapabilities, pb.GetCapabilitiesRequest.FromString, pb.GetCapabilitiesResponse.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))

    async def GetCapabilities(self, request: pb.GetCapabilitiesRequest, context: Context) -> pb.GetCapabilitiesResponse:
        """Tell what this server can do."""
        return capabilities_of(self.house, self.doors)

    async def _serve(
        self,
        requests: AsyncIterator[RequestFrame],
        context: Context,
        read: Callable[[pb.AnalyzeOptions, Received], Request] | Callable[[pb.CompressOptions, Received], Request],
        response: type[Response],
    ) -> None:
        request_id = request_id_of(context.invocation_metadata())
        structlog.contextvars.bind_contextvars(request_id=request_id, method=response.DESCRIPTOR.name.removesuffix("Response"))
        stopwatch = Stopwatch(self.metrics.observe_stage)
        with self._told(context, request_id, stopwatch), self.house.admission.call() as place, ExitStack() as held:
            incoming = Incoming(requests, idle_seconds=self.idle_seconds)
            options = await incoming.options()
            moments = await incoming.moments(self.house.limits.moments_bytes, place, held)
            request = await self._read(read, options, moments)
            data = incoming.data(self.metrics.received_bytes.inc)
            async with opened(self.doors, options, data, self.metrics, data_came=incoming.data_came) as places:
                replies = Replies(response, request, request_id, stopwatch, by_reference=bool(options.source_uri))
                await self._answer(request, replies, places, place, stopwatch, context)

    async def _read(self, read: Callable[..., Request], options: object, moments: Received) -> Request:
        """Read a request; one with moments in a worker thread, because all of them are hashed, and health must not wait."""
        if not moments:
            return read(options, moments)
        reading = asyncio.get_running_loop().run_in_executor(self.threads, read, options, moments)
        try:
            return await asyncio.shield(reading)
        finally:
            await asyncio.wait([reading])  # the thread still holds the moments: the call is not over before it is

    @contextmanager
    def _told(self, context: Context, request_id: str, stopwatch: Stopwatch) -> Generator[None]:
        """Log how a call ends, and turn every error but a cancellation into its status."""
        try:
            yield
            log.info("answered", seconds=round(stopwatch.total_seconds, 6))
        except asyncio.CancelledError:
            log.info("cancelled", seconds=round(stopwatch.total_seconds, 6))  # by the client, its deadline, or our drain
            raise
        except EllqError as refusal:
            self._refuse(refusal, context)
        except DecodeError as error:  # of a frame of the request: nothing else is parsed here
            message = f"a frame that is no message of the contract: {shorten(str(error))}"
            self._refuse(InvalidRequest(message, reason="EMPTY_FRAME", field="frame"), context)
        except DeviceLost:
            log.exception("device lost")
            self.on_device_lost()
            message = "this replica has lost its device and is shutting down; another one will answer"
            self._refuse(Draining(message, retry_after_seconds=RETRY_AFTER_SECONDS), context)
        except MemoryError as error:
            log.exception("out of memory")
            message = f"this replica has no memory left for the call: {shorten(str(error))}"
            self._refuse(Busy(message, retry_after_seconds=RETRY_AFTER_SECONDS), context)
        except Exception:
            log.exception("defect")
            self._refuse(Defect(f"a defect of the server; its log tells more about request {request_id}"), context)

    async def _answer(
        self, request: Request, replies: Replies, places: Places, place: Place, stopwatch: Stopwatch, context: Context
    ) -> None:
        """Compute the answer in a worker thread and send it, but for what goes elsewhere."""

        def work(chunks: Iterator[Data]) -> Iterator[Response | Data]:
            events = self._watched(answer(request, chunks, self.house, place, stopwatch), request)
            return replies.frames(events_ahead(events))

        idle_seconds = max(self.idle_seconds, places.patience_seconds)
        worker = run_in_thread(work, places.chunks, threads=self.threads, idle_seconds=idle_seconds)
        async with aclosing(worker), aclosing(places.stored_away(worker, place)) as frames:
            async for frame in frames:
                await self._write(frame, context)
                if isinstance(frame, Data):
                    self.metrics.sent_bytes.inc(len(frame))

    async def _write(self, frame: Response | Data, context: Context) -> None:
        """Send a frame; a client that takes nothing must not hold its place for ever."""
        try:
            async with asyncio.timeout(self.idle_seconds):
                await context.write(frame)
        except TimeoutError as error:
            raise TruncatedStream(f"the client took nothing for {self.idle_seconds:g} seconds", field="") from error
        except grpc.aio.BaseError as error:  # nobody is there any more; gRPC has no calmer word for it
            raise asyncio.CancelledError from error

    def _watched(self, events: Generator[Event], request: Request) -> Generator[Event]:
        """Count what passes by."""
        for event in events:
            if isinstance(event, Outcome):
                self._count(event, request)
            yield event

    def _count(self, outcome: Outcome, request: Request) -> None:
        if outcome.measured is not None:
            self.metrics.weights.labels(outcome.plan.entry.dtype).inc(outcome.plan.weights)
        rule = outcome.plan.rule or request.rule
        if outcome.proof is not None and rule is not None:
            name = rule_to_wire(rule).WhichOneof("kind")
            kept = int(outcome.proof.changed.kept.sum())
            self.metrics.kept_weights.labels(name).inc(kept)
            self.metrics.keep_ratio.labels(name).observe(kept / outcome.plan.weights)

    def _refuse(self, refusal: EllqError, context: Context) -> None:
        """End the call with a status."""
        self.metrics.refusals.labels(refusal.reason).inc()
        message = message_of(refusal)
        log.warning("refused", reason=refusal.reason, field=refusal.field, message=message)
        # not abort(): the exception that it raises holds all frames of the call in a cycle until the collector comes
        context.set_code(code_of(refusal))
        context.set_details(message)
        context.set_trailing_metadata(metadata_of(refusal))
