"""From what a call finds to the frames that are sent: batched, so that many small tensors are not as many frames."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import chain

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import Data, framed
from ellq_server import __version__
from ellq_server.call import Closing, Event, Opening
from ellq_server.deliveries import deliver
from ellq_server.network_values import network_to_wire
from ellq_server.planning import Plan
from ellq_server.requests import Request
from ellq_server.sketches import sketch_to_wire
from ellq_server.stopwatch import Stopwatch
from ellq_server.totals import Totals
from ellq_server.wire_values import neuron_reports, orders_to_wire, plan_to_wire, report_to_wire, rule_to_wire
from ellq_server.workbench import Outcome

BATCH_BYTES = 1 << 20
"""Bytes of reports and payload after which a batch is sent."""

REPORT_BYTES = 512
"""Room that a report takes beside the tensor's name."""

Response = pb.AnalyzeResponse | pb.CompressResponse


class Replies:
    """Writes the frames of one call."""

    def __init__(
        self, response: type[Response], request: Request, request_id: str, stopwatch: Stopwatch, *, by_reference: bool
    ) -> None:
        """Begin an answer; `response` is the message class of the method. By reference, the caller does not know the header."""
        self._response = response
        self._request = request
        self._request_id = request_id
        self._stopwatch = stopwatch
        self._by_reference = by_reference

    def frames(self, events: Iterator[Event]) -> Iterator[Response | Data]:
        """Yield the frames of all events, in the order of the contract."""
        totals: Totals | None = None
        batch: list[Outcome] = []
        room = 0
        for event in events:
            if isinstance(event, Opening):
                totals = Totals(event.planning)
                yield from self._open(event)
                continue
            assert totals is not None
            if isinstance(event, Outcome):
                totals.add(event)
                batch.append(event)
                room += room_of(event)
                if self._request.neuron_reports or room >= BATCH_BYTES:
                    yield from self._report(batch)
                    batch, room = [], 0
            else:
                yield from self._report(batch)
                yield self._close(event, totals)

    def _open(self, opening: Opening) -> Iterator[Response | Data]:
        compressible = opening.planning.compressible
        yield self._response(
            manifest=pb.Manifest(
                request_id=self._request_id,
                version=__version__,
                header_bytes=len(opening.header.raw),
                payload_bytes=opening.header.payload_bytes,
                tensors=len(opening.planning.plans),
                compressible_tensors=len(compressible),
                compressible_weights=sum(plan.weights for plan in compressible),
                indices=orders_to_wire(self._request.indices),
                rule=rule_to_wire(self._request.rule) if self._request.rule else None,
                header_sha256=sha256(opening.header.raw).digest() if self._by_reference else b"",
                weights_before=self._request.sketch.total_before if self._request.sketch else 0,
            )
        )
        for plans in _batched(opening.planning.plans):
            yield self._response(plans=pb.TensorPlans(plans=plans))
        if self._request.sends_weights:
            yield from framed([memoryview(opening.header.raw)])

    def _report(self, outcomes: Sequence[Outcome]) -> Iterator[Response | Data]:
        """Yield the reports of a batch, then their neurons, then their bytes."""
        if not outcomes:
            return
        with self._stopwatch("write"):
            reports = [report_to_wire(one, self._request) for one in outcomes]
            data = [self._deliver(one, report) for one, report in zip(outcomes, reports, strict=True)]
        yield self._response(reports=pb.TensorReports(reports=reports))
        if self._request.neuron_reports:
            for outcome in outcomes:
                yield from (self._response(neurons=neurons) for neurons in neuron_reports(outcome, self._request))
        if self._request.sends_weights:
            yield from framed(chain.from_iterable(data))

    def _deliver(self, outcome: Outcome, report: pb.TensorReport) -> Sequence[memoryview]:
        """Note in a tensor's report what bytes it has and how they are sent, and return what is sent."""
        if outcome.payload is None:
            return ()
        payload, data = deliver(outcome, masks=self._request.masks)
        report.payload.CopyFrom(payload)
        return data

    def _close(self, closing: Closing, totals: Totals) -> Response:
        summary = totals.summary(self._request)
        summary.timings.CopyFrom(
            pb.Timings(
                total_seconds=self._stopwatch.total_seconds,
                receive_seconds=closing.received_seconds,
                compute_seconds=self._stopwatch.compute_seconds,
            )
        )
        summary.network.CopyFrom(network_to_wire(closing.network))
        if closing.sketch is not None:
            summary.sketch.CopyFrom(sketch_to_wire(closing.sketch))
        return self._response(summary=summary)


def room_of(outcome: Outcome) -> int:
    """Return about how many bytes an outcome takes: in its frames, or because it holds weights that were not sent."""
    payload = outcome.plan.entry.length_bytes if outcome.payload is None else len(outcome.payload)
    return REPORT_BYTES + 4 * len(outcome.plan.entry.name) + payload


def _batched(plans: Sequence[Plan]) -> Iterator[list[pb.TensorPlan]]:
    batch: list[pb.TensorPlan] = []
    room = 0
    for plan in plans:
        batch.append(plan_to_wire(plan))
        room += batch[-1].ByteSize()
        if room >= BATCH_BYTES:
            yield batch
            batch, room = [], 0
    if batch:
        yield batch
