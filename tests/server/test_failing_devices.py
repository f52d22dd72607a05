"""What becomes of calls, and of the server, where the kernels have no memory or no device any more."""

from collections.abc import Callable

import grpc
import numpy as np
import pytest

from tests.server.process import Process
from tests.server.wire import Caller, stream_of

STREAM = stream_of({"w": np.ones((64, 64), np.float32)})


def test_no_memory_is_told_as_busy_and_the_next_call_is_served(
    serve: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = serve(concurrent_calls=1)
    with monkeypatch.context() as patch:
        patch.setattr(type(caller.server._house.kernels), "measure", raising(MemoryError("2 GiB on the device")))
        refusal = caller.refused(STREAM)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY")
    assert refusal.message == "this replica has no memory left for the call: 2 GiB on the device"
    assert refusal.retry_after == 1.0
    assert caller.server._admission.reserved_bytes == 0
    assert not caller.server.leave.is_set()
    assert caller.compress(STREAM).summary.tensors == 1


def raising(error: BaseException) -> Callable[..., None]:
    def operation(*arguments: object) -> None:
        raise error

    return operation


WITHOUT_DEVICE = """
import sys
from ellq_kernels.contract import DeviceLost
from ellq_kernels.cpu.maker import CpuKernels
from ellq_server.main import serve

sound = CpuKernels.measure

def measure(self, weights, orders):
    if weights.fan_in == 64:
        raise DeviceLost("an illegal memory access was encountered")
    return sound(self, weights, orders)

CpuKernels.measure = measure
sys.exit(serve(sys.argv[1:]))
"""
"""What runs a server whose device goes with the first row of 64 weights."""


def test_a_server_without_its_device_ends_so_that_another_can_begin() -> None:
    with Process("--drain-delay-seconds", "0", run=("-c", WITHOUT_DEVICE)) as process:
        assert process.caller.compress(stream_of({"w": np.ones((3, 3), np.float32)})).summary.tensors == 1
        refusal = process.caller.refused(STREAM)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert refusal.message.startswith("this replica has lost its device")
        logs = process.logs_after_end()
        assert process.process.returncode == 6
    assert [log["event"] for log in logs if log["level"] == "error"] == ["device lost"]
    assert logs[-1]["event"] == "stopped"
