"""Errors of devices that no test has: told apart by what torch would say, and by whether the device still answers."""

import pytest
import torch
from triton.runtime import driver

from ellq_kernels import make_kernels
from ellq_kernels.contract import DeviceLost
from ellq_kernels.reference.device_errors import on_a_device


@on_a_device
class Failing:
    """A maker whose one operation fails."""

    def measure(self, error: BaseException) -> None:
        raise error


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is in use and answers."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."),
    ],
)
@pytest.mark.usefixtures("device")
def test_no_memory_is_a_memory_error(error: RuntimeError) -> None:
    with pytest.raises(MemoryError) as caught:
        Failing().measure(error)
    assert caught.value.__cause__ is error


def test_torch_says_so_itself() -> None:
    reference = make_kernels("reference")
    weights = reference.load(bytearray(8), dtype="F64", neurons=1, fan_in=1)
    huge = type(weights)("F64", 1, 1 << 50, weights.bits.expand(1, 1 << 50))
    with pytest.raises(MemoryError):
        reference.measure(huge, (1.0,))


def test_a_device_that_answers_no_more_is_lost(monkeypatch: pytest.MonkeyPatch, device: None) -> None:
    def dead() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", dead)
    with pytest.raises(DeviceLost, match="computes no more: CUDA error: out of memory"):
        Failing().measure(RuntimeError("CUDA error: out of memory"))  # whatever is said of it: the rest is of no use


@pytest.mark.parametrize("error", [RuntimeError("a defect"), ValueError("no such dtype"), DeviceLost("within")])
@pytest.mark.usefixtures("device")
def test_all_else_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        Failing().measure(error)
    assert caught.value is error


@pytest.mark.parametrize("error", [RuntimeError("Failed to find C compiler."), AssertionError("libcuda.so cannot found!")])
def test_what_triton_misses_at_its_start_is_said_at_ours(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    class Driver(type(driver)):
        @property
        def active(self) -> None:
            raise error

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("ellq_kernels.triton.maker.driver", Driver())
    with pytest.raises(RuntimeError, match=f"need a C compiler, .*{error}"):
        make_kernels("triton")
