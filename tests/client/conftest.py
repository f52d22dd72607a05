"""A small server over real sockets that answers by the contract, or breaks it as a test says."""

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from math import prod
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from safetensors.numpy import save_file

from ellq.v1 import compression_pb2 as pb
from ellq.v1 import compression_pb2_grpc
from ellq_client import Client, verify, write_report
from ellq_client.cli import main
from ellq_client.verifying import matrices

INDICES = pb.IndexOptions(q=0.5, pq_p=0.5, pq_q=1.0)

COMMAND = [sys.executable, "-c", "from ellq_client.cli import main; main()"]
"""The command line in a process of its own."""


@dataclass
class Refusal:
    """How a call ends instead of with a summary."""

    code: grpc.StatusCode
    text: str = "no"
    reason: str | None = None
    field: str | None = None
    retry_after_seconds: float | None = None
    after_frames: int = 0

    def trailers(self) -> tuple[tuple[str, bytes | str], ...]:
        details: list[Message] = []
        if self.reason is not None:
            details.append(ErrorInfo(domain="ellq.v1", reason=self.reason))
        if self.field is not None:
            details.append(BadRequest(field_violations=[{"field": self.field, "description": self.text}]))
        if self.retry_after_seconds is not None:
            delay = Duration()
            delay.FromNanoseconds(int(self.retry_after_seconds * 1e9))
            details.append(RetryInfo(retry_delay=delay))
        status = Status(code=self.code.value[0], message=self.text)
        for detail in details:
            packed = Any()
            packed.Pack(detail)
            status.details.append(packed)
        return (("grpc-status-details-bin", status.SerializeToString()),) if details else ()


@dataclass
class FakeServer(compression_pb2_grpc.CompressionServiceServicer):
    """Measures nothing, keeps everything, and remembers what it was sent."""

    refusals: list[Refusal] = field(default_factory=list)
    """Taken one a call; calls after the last succeed."""
    damage: Callable[[list[Message]], list[Message]] = lambda frames: frames
    """What is done to the frames of a good answer before they are sent."""
    sketch_passes: int = 0
    """Passes that global scope needs; 0: it fits in one."""
    requests: list[Message] = field(default_factory=list)
    uploads: list[bytes] = field(default_factory=list)
    moments: list[list[Message]] = field(default_factory=list)
    """What each call sent between its options and its data."""
    address: str = ""

    def Analyze(self, request_iterator: Iterator[Message], context: grpc.ServicerContext) -> Iterator[Message]:  # noqa: N802
        yield from self._answer(request_iterator, context, pb.AnalyzeResponse)

    def Compress(self, request_iterator: Iterator[Message], context: grpc.ServicerContext) -> Iterator[Message]:  # noqa: N802
        yield from self._answer(request_iterator, context, pb.CompressResponse)

    def GetCapabilities(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        self.requests.append(request)
        if self.refusals:
            self._refuse(self.refusals.pop(0), context)
        return pb.GetCapabilitiesResponse(
            version="fake",
            limits=pb.Limits(header_bytes=100, tensors=10, tensor_bytes=1000, payload_bytes=10000, concurrent_calls=1),
            device=pb.Device(kind="cpu", kernels="none"),
            dtypes=["F32"],
            rules=["tail"],
            scopes=[pb.SCOPE_NEURON, pb.SCOPE_LAYER],
            encodings=[pb.ENCODING_DENSE],
        )

    def _answer(self, request_iterator, context, kind):
        options = next(request_iterator).options
        self.requests.append(options)
        frames = list(request_iterator)
        sent = [frame.moments for frame in frames if frame.HasField("moments")]
        assert all(frame.HasField("moments") for frame in frames[: len(sent)]), "moments come before data"
        self.moments.append(sent)
        upload = b"".join(frame.data for frame in frames)
        self.uploads.append(upload)
        refusal = self.refusals.pop(0) if self.refusals else None
        compress = kind is pb.CompressResponse
        if compress and self.sketch_passes and not options.HasField("sketch"):
            refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "too large for one pass", "SKETCH_REQUIRED", "sketch")
        frames = self.damage([kind(**frame) for frame in good_answer(options, upload, compress=compress)])
        if not compress and options.HasField("sketch"):
            level = options.sketch.previous.level + 1
            frames[-1].summary.sketch.CopyFrom(pb.Sketch(level=level, final=level == self.sketch_passes))
        for number, frame in enumerate(frames):
            if refusal is not None and number == refusal.after_frames:
                break
            yield frame
        if refusal is not None:
            self._refuse(refusal, context)

    def _refuse(self, refusal: Refusal, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata(refusal.trailers())
        context.abort(refusal.code, refusal.text)


def good_answer(options: Message, upload: bytes, *, compress: bool) -> Iterator[dict[str, Message | bytes]]:
    """Yield the frames of an answer in which every weight is kept."""
    header_bytes = 8 + int.from_bytes(upload[:8], "little")
    header = json.loads(upload[8:header_bytes])
    header.pop("__metadata__", None)
    entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    payload = upload[header_bytes:]
    plans = [_plan(number, name, entry, options) for number, (name, entry) in enumerate(entries)]
    yield {
        "manifest": pb.Manifest(
            request_id="request-1",
            version="fake",
            header_bytes=header_bytes,
            payload_bytes=len(payload),
            tensors=len(plans),
            compressible_tensors=sum(plan.treatment == pb.TREATMENT_COMPRESS for plan in plans),
            indices=INDICES,
            rule=options.rule if options.HasField("rule") else None,
        )
    }
    for plan in plans:  # one a frame: any split is allowed
        yield {"plans": pb.TensorPlans(plans=[plan])}
    if compress:
        yield {"data": upload[:header_bytes]}
    for batch in (plans[start : start + 2] for start in range(0, len(plans), 2)):
        spans = [slice(*header[plan.name]["data_offsets"]) for plan in batch]
        reports = [_report(plan, payload[span], options, compress=compress) for plan, span in zip(batch, spans, strict=True)]
        yield {"reports": pb.TensorReports(reports=reports)}
        if options.neuron_reports:
            for plan in batch:
                yield from _neurons(plan, options)
        if compress and (data := b"".join(payload[span] for span in spans)):
            yield {"data": data}
    yield {"summary": _summary(plans, options)}


def _plan(number: int, name: str, entry: dict, options: Message) -> pb.TensorPlan:
    shape = entry["shape"]
    compressible = len(shape) >= 2 and entry["dtype"] in ("F32", "BF16", "F64") and prod(shape) > 0
    plan = pb.TensorPlan(tensor=number, name=name, dtype=entry["dtype"], shape=shape, treatment=pb.TREATMENT_PASS_THROUGH)
    if not compressible:
        plan.reason = pb.PASS_THROUGH_REASON_DIMENSIONS
        return plan
    plan.treatment = pb.TREATMENT_COMPRESS
    plan.neurons, plan.fan_in = shape[0], prod(shape[1:])
    plan.neuron_axis.append(0)
    for override in options.selection.overrides:
        if override.HasField("rule") and override.glob == name:
            plan.rule.CopyFrom(override.rule)
    return plan


def _report(plan: pb.TensorPlan, payload: bytes, options: Message, *, compress: bool) -> pb.TensorReport:
    report = pb.TensorReport(tensor=plan.tensor, name=plan.name, treatment=plan.treatment, reason=plan.reason)
    if plan.treatment == pb.TREATMENT_COMPRESS:
        spread = pb.Spread(min=1, mean=1.5, max=2)
        report.measurement.CopyFrom(
            pb.Measurement(
                neurons=plan.neurons,
                fan_in=plan.fan_in,
                weights=plan.neurons * plan.fan_in,
                layer=pb.Indices(sparsity_index=1.25, pq_index=0.25),
                neuron_sparsity_index=spread,
                neuron_pq_index=spread,
                max_magnitude=1,
                l1=2,
                l2=1.5,
                hoyer=0.1,
            )
        )
        if options.HasField("rule"):
            report.allocation.CopyFrom(pb.Allocation(kept=plan.neurons * plan.fan_in, zeros=0, kept_floor=1))
            report.certificate.CopyFrom(pb.Certificate())
            report.bound.CopyFrom(pb.Bound(tail_l1_max=float("inf"), tail_l2_max=3))
    if compress:
        report.payload.CopyFrom(
            pb.Payload(encoding=pb.ENCODING_DENSE, length_bytes=len(payload), sha256=sha256(payload).digest())
        )
    return report


def _neurons(plan: pb.TensorPlan, options: Message) -> Iterator[dict[str, Message | bytes]]:
    for first in range(0, plan.neurons, 2):
        size = min(2, plan.neurons - first)
        frame = pb.NeuronReports(tensor=plan.tensor, first_neuron=first, sparsity_index=[1.5] * size, pq_index=[0.5] * size)
        if options.HasField("rule"):
            frame.kept.extend([plan.fan_in] * size)
            frame.tail_l1.extend([0.0] * size)
            frame.tail_l2.extend([0.0] * size)
        yield {"neurons": frame}


def _summary(plans: list[pb.TensorPlan], options: Message) -> pb.Summary:
    compressible = [plan for plan in plans if plan.treatment == pb.TREATMENT_COMPRESS]
    weights = sum(plan.neurons * plan.fan_in for plan in compressible)
    summary = pb.Summary(tensors=len(plans), compressible_tensors=len(compressible), weights=weights)
    getattr(summary, "global").CopyFrom(pb.Indices(sparsity_index=1.25, pq_index=0.25))
    summary.network.absence = pb.NETWORK_CERTIFICATE_ABSENCE_NO_TOPOLOGY
    summary.timings.total_seconds = 0.5
    if options.HasField("rule"):
        summary.kept, summary.zeros_after, summary.frobenius, summary.frobenius_ratio = weights, 0, 0, 0
    summary.warnings.append(pb.Warning(code=pb.WARNING_CODE_GLOB_WITHOUT_MATCH, subject="x*", text="x* matches no tensor"))
    return summary


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Return a client of a real server in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ELLQ_SERVER", raising=False)
        with Client() as client:
            yield client


@pytest.fixture(params=[1, 1 << 21], ids=["row by row", "whole"])
def verified(request, client, tmp_path, monkeypatch):
    """Return a function that compresses a file, holds every claim of the report against it, and returns the result."""
    monkeypatch.setattr(matrices, "BLOCK_WEIGHTS", request.param)

    def run(original, **options):
        output, report = tmp_path / "small.safetensors", tmp_path / "report.json"
        result = client.compress(original, output, **options).result()
        write_report(result, report)
        verification = verify(original, output, report)
        assert verification.report_checked
        assert verification.weights_cut == result.summary.zeros_after - result.summary.zeros_before > 0
        return result

    return run


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """Return a running fake server; `fake.address` is where."""
    servicer = FakeServer()
    with ThreadPoolExecutor(4) as workers:
        server = grpc.server(workers)
        compression_pb2_grpc.add_CompressionServiceServicer_to_server(servicer, server)
        servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield servicer
        server.stop(None).wait()


@pytest.fixture
def refusal() -> type[Refusal]:
    return Refusal


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    """Three tensors, of which one is compressible."""
    random = np.random.default_rng(1)
    return {
        "layer.weight": random.normal(size=(5, 4)).astype(np.float32),
        "layer.bias": np.zeros(5, np.float32),
        "steps": np.arange(3),
    }


@pytest.fixture
def checkpoint(tmp_path: Path, weights: dict[str, np.ndarray]) -> Path:
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    return path


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the list of waits that would have been; none of them is waited for."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("ellq_client.client.time.sleep", waits.append)
    monkeypatch.setattr("ellq_client.aio.sleep", note)
    return waits


@pytest.fixture
def command_line(monkeypatch, capsys):
    """Return a function that runs a command line in this process and returns code, output and errors."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["ellq", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return run


@pytest.fixture
def ellq(monkeypatch, command_line, fake):
    """Return the same, against the fake server."""
    monkeypatch.setenv("ELLQ_SERVER", fake.address)
    return command_line
