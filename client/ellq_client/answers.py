"""Puts the frames of an answer together and holds the server to the contract. Does no I/O besides filling a sink."""

from collections import deque
from functools import partial

from ellq.v1 import compression_pb2 as pb
from ellq_client.arrivals import UnfinishedTensor, read_plan
from ellq_client.contract import ExpectedBytes, expect
from ellq_client.deliveries import ArrivingTensor
from ellq_client.errors import ProtocolError, SourceError
from ellq_client.frames import AnswerFrame
from ellq_client.headers import StoredTensor
from ellq_client.references import RemoteSink, RemoteSource
from ellq_client.sinks import Sink
from ellq_client.sources import Source
from ellq_client.values import TensorPlan, TensorReport


class Answer:
    """One answer, frame by frame.

    Order: manifest, plans, [header bytes], then for every batch of tensors reports, neurons, [bytes], and last the summary.
    """

    manifest: pb.Manifest
    summary: pb.Summary

    def __init__(self, source: Source, *, sink: Sink | None, neurons: bool) -> None:
        """Without a sink this is the answer of Analyze, in which no bytes may come."""
        self.plans: list[TensorPlan] = []
        self.reports: list[TensorReport] = []
        self._source = source
        self._stored: tuple[StoredTensor, ...] = ()
        self._sink = sink
        self._neurons = neurons
        self._header = ExpectedBytes(0)
        self._unfinished: deque[UnfinishedTensor] = deque()
        self._frames = 0
        self._reported = 0
        self._complete = False
        self._takes_bytes = sink is not None and not isinstance(sink, RemoteSink)

    def take(self, frame: AnswerFrame) -> list[TensorReport]:
        """Take the next frame and return the tensors that it completes. Errors: ProtocolError, OutputError."""
        expect(not self._complete, "a frame after the summary")
        kind = "data" if isinstance(frame, memoryview) else frame.WhichOneof("frame")
        expect((self._frames == 0) == (kind == "manifest"), "the manifest comes once, first")
        self._frames += 1
        if isinstance(frame, memoryview):
            self._take_data(frame)
        elif kind == "manifest":
            self._take_manifest(frame.manifest)
        elif kind == "plans":
            self._take_plans(frame.plans)
        elif kind == "reports":
            self._take_reports(frame.reports)
        elif kind == "neurons":
            self._take_neurons(frame.neurons)
        elif kind == "summary":
            self._take_summary(frame.summary)
        else:
            raise ProtocolError("the server sent a frame that this version does not know")
        return self._completed()

    def finish(self) -> None:
        """Check that nothing is missing after the last frame."""
        expect(self._complete, "the answer ended without a summary")

    def _take_manifest(self, manifest: pb.Manifest) -> None:
        total = manifest.header_bytes + manifest.payload_bytes
        header = self._source.header
        if isinstance(self._source, RemoteSource) and manifest.header_sha256.hex() != header.sha256:
            raise SourceError(f"{self._source.uri} changed between two calls; nothing of the two was mixed")
        expect(total == self._source.size_bytes, f"{self._source.size_bytes} bytes were sent, the manifest speaks of {total}")
        sent = header.length_bytes
        expect(manifest.header_bytes == sent, f"{sent} bytes of header were sent, not {manifest.header_bytes}")
        self._stored = header.tensors
        sent = len(self._stored)
        expect(manifest.tensors == sent, f"{sent} tensors were sent, the manifest speaks of {manifest.tensors}")
        self.manifest = manifest
        if self._takes_bytes:
            self._header = ExpectedBytes(manifest.header_bytes, header.sha256)
        if manifest.tensors == 0:
            self._start()

    def _take_plans(self, plans: pb.TensorPlans) -> None:
        expect(len(self.plans) + len(plans.plans) <= self.manifest.tensors, "more plans than tensors")
        for plan in plans.plans:
            place = len(self.plans)
            stored = self._stored[place]
            expect(plan.tensor == place, f"the plan of tensor {plan.tensor} comes at place {place}")
            same = (plan.name, plan.dtype, tuple(plan.shape)) == (stored.name, stored.dtype, stored.shape)
            expect(same, f"the plan of tensor {place} is not that of {stored.name!r}")
            self.plans.append(read_plan(plan))
        if plans.plans and len(self.plans) == self.manifest.tensors:
            self._start()

    def _start(self) -> None:
        if self._sink is not None:
            self._sink.restart(self.plans)

    def _take_reports(self, reports: pb.TensorReports) -> None:
        expect(len(self.plans) == self.manifest.tensors, "reports before all plans")
        expect(not self._header.remaining, "reports before the whole header")
        expect(not self._unfinished, "reports before the tensors of earlier reports are complete")
        for report in reports.reports:
            place = self._reported
            expect(report.tensor == place < len(self.plans), f"the report of tensor {report.tensor} comes at place {place}")
            plan = self.plans[place]
            expect(report.name == plan.name, f"tensor {place} is {plan.name!r} in its plan and {report.name!r} in its report")
            length = self._stored[place].length_bytes if self._sink is not None else 0
            expect(report.HasField("payload") == (self._sink is not None), f"payload of {plan.name!r}")
            expect(report.payload.length_bytes == length, f"{plan.name!r} comes back in another length")
            arriving = ArrivingTensor(report.payload, self._source, self._stored[place]) if self._takes_bytes else None
            self._unfinished.append(UnfinishedTensor(plan, report, neurons=self._neurons, bytes=arriving))
            self._reported += 1

    def _take_neurons(self, frame: pb.NeuronReports) -> None:
        waiting = next((tensor for tensor in self._unfinished if tensor.neurons_missing), None)
        expect(waiting is not None and frame.tensor == waiting.plan.tensor, f"neurons of tensor {frame.tensor} out of turn")
        assert waiting is not None
        waiting.take_neurons(frame)

    def _take_data(self, data: memoryview) -> None:
        expect(self._takes_bytes, "bytes in an answer that brings none")
        assert self._sink is not None
        expect(len(self.plans) == self.manifest.tensors, "bytes before all plans")
        if self._header.remaining:
            taken = self._header.take(data)
            self._sink.write(taken, tensor=None)
            if not self._header.remaining:
                self._header.check("header")
            data = data[len(taken) :]
        self._fill(data)

    def _fill(self, data: memoryview) -> None:
        """Hand the next bytes to the tensors whose turn it is; those as sent wait for no bytes."""
        for tensor in self._unfinished:
            if tensor.bytes is None:
                break
            if tensor.neurons_missing:
                expect(not data, f"bytes of {tensor.plan.name!r} before its neurons")
                break
            assert self._sink is not None
            data = tensor.bytes.take(data, partial(self._sink.write, tensor=tensor.plan.tensor))
            if not tensor.complete:
                break
        expect(not data, "more bytes than the reports speak of")

    def _take_summary(self, summary: pb.Summary) -> None:
        expect(not self._unfinished, "the summary before the last tensor is complete")
        expect(not self._header.remaining, "the summary before the whole header")
        expect(self._reported == self.manifest.tensors == summary.tensors, "the summary before every tensor is reported")
        if isinstance(self._sink, RemoteSink):
            total = self.manifest.header_bytes + self.manifest.payload_bytes
            expect(summary.HasField("stored"), "nothing said of the output that was asked for")
            expect(summary.stored.length_bytes == total, f"{total} bytes are to be stored, {summary.stored.length_bytes} were")
        self.summary = summary
        self._complete = True

    def _completed(self) -> list[TensorReport]:
        self._fill(memoryview(b""))
        done: list[TensorReport] = []
        while self._unfinished and self._unfinished[0].complete:
            done.append(self._unfinished.popleft().value())
        self.reports += done
        return done
