"""The service around the calls: admission, limits, health, metrics, logs, drain, settings."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import torch
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from ellq.v1 import compression_pb2 as pb
from ellq_server import requests
from ellq_server.moments import ReceivedMoments
from tests.server.process import Process
from tests.server.wire import HALF, Caller, Refusal, cut, gather, read_refusal, stream_of

STREAM = stream_of({"w": np.ones((64, 64), np.float32)})


class HeldCall:
    """A call that stays open until it is told to go on."""

    def __init__(self, caller: Caller, stream: bytes = STREAM) -> None:
        self._go = threading.Event()
        self._stream = stream
        self._call = caller.stub.Compress(self._frames(), timeout=60)
        self._manifest = next(self._call)  # the server has let us in

    def _frames(self) -> Iterator[pb.CompressRequest]:
        yield pb.CompressRequest(options=pb.CompressOptions(rule=HALF))
        yield pb.CompressRequest(data=self._stream[:1000])
        self._go.wait(60)
        yield from (pb.CompressRequest(data=data) for data in cut(self._stream[1000:], 1 << 20))

    def finish(self) -> bytes:
        self._go.set()
        return gather(self._call).data

    def cancel(self) -> None:
        self._call.cancel()
        self._go.set()


def test_a_client_that_stops_reading_loses_its_place(serve: Callable[..., Caller]) -> None:
    caller = serve(idle_seconds=0.5, concurrent_calls=1)
    stream = stream_of({str(i): np.ones((512, 1024), np.float32) for i in range(100)})
    frames = [pb.CompressRequest(options=pb.CompressOptions(rule=HALF))]
    frames += [pb.CompressRequest(data=data) for data in cut(stream, 1 << 20)]
    stalled = caller.stub.Compress(iter(frames), timeout=60)
    next(stalled)
    deadline = time.monotonic() + 20
    while caller.server._admission.calls and time.monotonic() < deadline:
        time.sleep(0.05)
    assert caller.compress(STREAM).summary.tensors == 1
    with pytest.raises(grpc.RpcError) as caught:  # when it reads on, it learns why
        list(stalled)
    assert read_refusal(caught.value).message == "the client took nothing for 0.5 seconds"


def test_one_call_too_many_is_told_when_to_come_back(serve: Callable[..., Caller]) -> None:
    caller = serve(concurrent_calls=1)
    held = HeldCall(caller)
    refusal = caller.refused(STREAM)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY")
    assert refusal.retry_after == 1.0
    assert held.finish().startswith(STREAM[:8])
    assert caller.compress(STREAM).summary.tensors == 1


def test_memory_is_reserved_by_declared_bytes_before_the_body(serve: Callable[..., Caller]) -> None:
    caller = serve(memory_bytes=200 << 20)
    held = HeldCall(caller)
    refusal = caller.refused(STREAM)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY")
    assert "of memory" in refusal.message
    held.finish()
    assert caller.server._admission.reserved_bytes == 0


def test_a_cancelled_call_gives_everything_back(serve: Callable[..., Caller]) -> None:
    caller = serve(concurrent_calls=1)
    HeldCall(caller).cancel()
    deadline = time.monotonic() + 10
    while caller.server._admission.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    assert caller.server._admission.calls == caller.server._admission.reserved_bytes == 0
    assert caller.compress(STREAM).summary.tensors == 1


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"tensor_bytes": 1000}, "TENSOR_TOO_LARGE"),
        ({"payload_bytes": 1000}, "PAYLOAD_TOO_LARGE"),
        ({"header_bytes": 20}, "HEADER_TOO_LARGE"),
    ],
)
def test_what_can_never_fit_is_refused_for_ever(serve: Callable[..., Caller], settings: dict[str, int], reason: str) -> None:
    refusal = serve(**settings).refused(STREAM)
    assert (refusal.code, refusal.reason, refusal.retry_after) == (grpc.StatusCode.INVALID_ARGUMENT, reason, None)


def test_capabilities_tell_the_limits_and_the_rules(serve: Callable[..., Caller]) -> None:
    told = serve(tensors=77, header_bytes=5000).stub.GetCapabilities(pb.GetCapabilitiesRequest(), timeout=10)
    assert (told.limits.tensors, told.limits.header_bytes) == (77, 5000)
    known = ["sparsity_index", "pq_index", "tail", "lq_bound", "fraction", "n_of_m", "error_budget", "lasso"]
    assert list(told.rules) == known
    assert list(told.dtypes) == ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"]
    assert (told.device.kind, told.device.kernels) == ("cpu", "cpu")


def test_a_defect_is_internal_and_keeps_its_secrets(serve: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch) -> None:
    caller = serve()

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("secret path /etc/shadow")

    monkeypatch.setattr(type(caller.server._house.kernels), "measure", broken)
    refusal = caller.refused(STREAM)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "DEFECT")
    assert "secret" not in refusal.message


def test_a_certificate_above_its_bound_is_never_sent(serve: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that cut more than they say must be found out by the server itself."""
    caller = serve()
    kernels = type(caller.server._house.kernels)
    honest = kernels.apply

    def greedy(self: object, weights: object, chosen: object, *, keys: object) -> object:
        import dataclasses

        infinite = dataclasses.replace(chosen, threshold=np.full_like(chosen.threshold, np.inf))
        return honest(self, weights, infinite, keys=keys)

    monkeypatch.setattr(kernels, "apply", greedy)
    refusal = caller.refused(STREAM)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "CERTIFICATE_REFUTED")


@pytest.fixture
def process() -> Iterator[Process]:
    """A server that drains quickly and shows its contract."""
    with Process("--drain-delay-seconds", "0.3", "--reflection") as started:
        yield started


def test_a_server_process_from_start_to_drain(process: Process) -> None:
    for service in ("", "ellq.v1.CompressionService"):
        assert process.status(service) == health_pb2.HealthCheckResponse.SERVING
    answer = gather(process.caller.stub.Compress(iter(frames()), timeout=60, metadata=[("x-request-id", "job-7")]))
    assert answer.manifest.request_id == "job-7"
    assert process.caller.refused(STREAM[:50]).reason == "TRUNCATED_STREAM"
    check_metrics(process.metrics())
    held = HeldCall(process.caller)
    process.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 10
    while process.status() == health_pb2.HealthCheckResponse.SERVING and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.status() == health_pb2.HealthCheckResponse.NOT_SERVING
    assert process.process.poll() is None
    time.sleep(0.5)  # past the delay: new calls are refused, the old one still runs
    assert refused_new_call(process.caller)
    assert held.finish()[:8] == STREAM[:8]
    logs = process.logs_after_end()
    assert process.process.returncode == 0
    assert {"request_id": "job-7", "method": "Compress"}.items() <= next(
        log for log in logs if log["event"] == "answered"
    ).items()
    assert [log["event"] for log in logs if log["level"] == "error"] == []


def test_a_process_ends_in_time_although_a_call_computes() -> None:
    """A kernel cannot be interrupted; the process must not wait for it beyond its drain time."""
    with Process("--drain-delay-seconds", "0", "--drain-seconds", "0.5") as process:
        stream = stream_of({"w": np.random.default_rng(0).standard_normal((4000, 4000))})
        options = pb.AnalyzeRequest(options=pb.AnalyzeOptions(distribution=True))
        request = [options, *(pb.AnalyzeRequest(data=data) for data in cut(stream, 1 << 20))]
        call = process.caller.stub.Analyze(iter(request), timeout=60)
        next(call)
        time.sleep(0.7)  # the weights are there, and sorting them takes seconds
        process.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert process.process.wait(timeout=20) == 0
        assert time.monotonic() - started < 2.5
        assert "stopped" in process.logs_after_end()[-1]["event"]


def frames() -> list[pb.CompressRequest]:
    return [pb.CompressRequest(options=pb.CompressOptions(rule=HALF)), pb.CompressRequest(data=STREAM)]


def refused_new_call(caller: Caller) -> bool:
    try:
        caller.compress(STREAM)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def check_metrics(metrics: dict[str, float]) -> None:
    labels = {"grpc_method": "Compress", "grpc_service": "ellq.v1.CompressionService", "grpc_type": "bidi_stream"}

    def value(name: str, **more: str) -> float:
        return metrics[name + json.dumps(more, sort_keys=True)]

    assert value("grpc_server_started_total", **labels) == 2
    assert value("grpc_server_handled_total", **labels, grpc_code="OK") == 1
    assert value("grpc_server_handled_total", **labels, grpc_code="INVALID_ARGUMENT") == 1
    assert value("grpc_server_handled_total", **labels, grpc_code="INTERNAL") == 0
    assert value("grpc_server_msg_received_total", **labels) == 4
    assert value("grpc_server_msg_sent_total", **labels) >= 5
    assert value("grpc_server_handling_seconds_count", **labels) == 2
    assert value("grpc_server_started_total", **labels | {"grpc_method": "Analyze"}) == 0
    assert value("ellq_received_bytes_total") == len(STREAM) + 50
    assert value("ellq_weights_total", dtype="F32") == 64 * 64
    assert value("ellq_kept_weights_total", rule="fraction") == 64 * 32
    assert value("ellq_refusals_total", reason="TRUNCATED_STREAM") == 1
    assert value("ellq_calls_in_flight") == 0
    assert value("ellq_memory_reserved_bytes") == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["--no-such-flag", "1"], {}, "no-such-flag"),
        (["--tensors", "-3"], {}, "tensors"),
        (["--kernels", "abacus"], {}, "kernels"),
        pytest.param(
            ["--kernels", "reference-cuda"],
            {},
            "need a CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
        ([], {"ELLQ_TENSOR": "5"}, "ELLQ_TENSOR; known: ELLQ_"),
        ([], {"ELLQ_TENSORS": "many"}, "tensors"),
        ([], {"ELLQ_SERVICE_HOST": "10.0.0.1"}, "enableServiceLinks"),
    ],
)
def test_wrong_settings_end_the_start_with_one_line(arguments: list[str], environment: dict[str, str], says: str) -> None:
    command = [sys.executable, "-m", "ellq_server", *arguments]
    ended = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_taken_port_is_said_plainly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [
            sys.executable,
            "-m",
            "ellq_server",
            "--listen",
            f"127.0.0.1:{taken.getsockname()[1]}",
            "--metrics-port",
            "0",
        ]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 5
    assert "cannot listen on 127.0.0.1" in ended.stderr
    assert "Address already in use" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_cancelled_call_is_in_the_log(process: Process) -> None:
    held = HeldCall(process.caller)
    held.cancel()
    time.sleep(0.5)
    process.process.send_signal(signal.SIGTERM)
    events = {log["event"] for log in process.logs_after_end()}
    assert events & {"cancelled", "refused"}  # refused, when the end of its stream is seen before the cancellation
    assert "defect" not in events


def test_health_answers_while_every_worker_is_busy(process: Process) -> None:
    stream = stream_of({"w": np.random.default_rng(0).standard_normal((2000, 2000)).astype(np.float32)})
    options = pb.AnalyzeOptions(rule=HALF, distribution=True)
    request = [pb.AnalyzeRequest(options=options), *(pb.AnalyzeRequest(data=data) for data in cut(stream, 1 << 20))]
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(lambda: gather(process.caller.stub.Analyze(iter(request), timeout=120))) for _ in range(4)]
        waits = []
        while not all(call.done() for call in calls):
            started = time.monotonic()
            assert process.status() == health_pb2.HealthCheckResponse.SERVING
            waits.append(time.monotonic() - started)
        assert [call.result().summary.tensors for call in calls] == [1] * 4
    assert len(waits) > 3
    assert max(waits) < 2  # the kubelet's patience is set to more


def test_others_are_answered_while_moments_are_hashed(serve: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch) -> None:
    caller, hashing, answered = serve(), threading.Event(), threading.Event()

    def digest_of(moments: Mapping[str, ReceivedMoments]) -> bytes:
        hashing.set()
        assert answered.wait(20), "nobody was answered meanwhile"
        return b""

    monkeypatch.setattr(requests, "digest_of", digest_of)
    moments = [pb.Moments(tensor="w", second_moments=[1.0] * 4)]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(caller.compress, stream_of({"w": np.ones((2, 4), np.float32)}), moments=moments)
        assert hashing.wait(20)
        caller.stub.GetCapabilities(pb.GetCapabilitiesRequest(), timeout=10)
        answered.set()
        assert call.result().summary.tensors == 1


def test_reflection_is_offered_when_asked_for_and_only_then(process: Process, caller: Caller) -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    asked = reflection_pb2_grpc.ServerReflectionStub(process.caller.channel).ServerReflectionInfo(iter([request]), timeout=10)
    listed = {service.name for service in next(asked).list_services_response.service}
    assert {"ellq.v1.CompressionService", "grpc.health.v1.Health"} <= listed
    silent = reflection_pb2_grpc.ServerReflectionStub(caller.channel).ServerReflectionInfo(iter([request]), timeout=10)
    with pytest.raises(grpc.RpcError) as caught:
        next(silent)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_refusals_read_back(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        caller.compress(b"")
    assert read_refusal(caught.value) == Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, caught.value.details(), "TRUNCATED_STREAM", "data", None
    )
