"""Every launch of the GPU maker without a GPU: compiled for an H100 with the very arguments and options that it has there.

The interpreter knows no types of registers, no shared memory and no instructions; the compiler does.
"""

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import CompiledKernel
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from ellq_kernels.triton import jit
from ellq_kernels.triton.maker import TritonKernels
from ellq_math.values import FixedPoints, PoolUnits

from .conftest import INTERPRETED
from .matrices import DTYPES, bell_curve

SMALLEST_SHARED_BYTES = 48 << 10
"""What every card since Volta has for a program without being asked."""

INEXACT = re.compile(r"\bfma\.|\.ftz\b|\.approx\b|\b(?:add|sub|mul)\.f\d\d\b")
"""Fused, flushed to zero, approximate; without `.rn` the assembler may fuse a product with a sum later."""

pytestmark = pytest.mark.skipif(INTERPRETED or torch.cuda.is_available(), reason="kernels are run, not only compiled")


class Hopper:
    """The driver of a card that is not there."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, CompiledKernel]:
    """What was launched, by hash. Nothing runs, so all that kernels should have filled is zero."""
    found: dict[str, CompiledKernel] = {}
    run = JITFunction.run

    def compiled_only(function: JITFunction, *arguments: Any, grid: tuple[int, ...], warmup: bool, **options: Any) -> None:
        compiled = run(function, *arguments, grid=grid, warmup=True, **options)
        found[compiled.hash] = compiled

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(driver, "_active", Hopper())
    monkeypatch.setattr(JITFunction, "run", compiled_only)
    monkeypatch.setattr(torch, "empty", torch.zeros)
    return found


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> TritonKernels:
    """A maker that takes the host's memory for the device's."""
    with monkeypatch.context() as patch:
        patch.setattr(knobs.runtime, "interpret", True)
        return TritonKernels()


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_that_is_launched_compiles_and_rounds_as_the_definitions_do(
    triton: TritonKernels, launched: dict[str, CompiledKernel], dtype: str
) -> None:
    matrix = bell_curve(dtype, 3, 1041)
    weights = matrix.load(triton)
    triton.first_nonfinite(weights)
    triton.measure(weights, (0.3, 0.5, 1.0, 2.0))
    fixed = FixedPoints(p=2, exponents=np.zeros(3, np.int64), bits=40)
    triton.unit_totals(weights, fixed)
    triton.keep_within(weights, np.ones(3, np.int64), fixed)
    for width in (4, 1041):
        cut = triton.keep_largest(weights, np.ones((3, -(-1041 // width)), np.int64), width=width)
        triton.tails(matrix.load(triton), cut)
        triton.apply(weights, cut)
    triton.cut_at(weights, threshold=1.0, ties_kept=1)
    triton.histogram(weights, level=1, prefix=0, units=PoolUnits(p=2, bits=30))
    assert len(launched) >= 13
    for kernel in launched.values():
        assert not INEXACT.findall(kernel.asm["ptx"]), kernel.name
        assert kernel.metadata.shared <= SMALLEST_SHARED_BYTES, kernel.name


def test_groups_too_long_for_registers_and_keys_compile(triton: TritonKernels, launched: dict[str, CompiledKernel]) -> None:
    matrix = bell_curve("F32", 1, 20000)
    weights, keys = matrix.load(triton), bell_curve("F64", 1, 20000).load(triton)
    triton.keep_within(weights, np.ones(1, np.int64), FixedPoints(p=1, exponents=np.zeros(1, np.int64), bits=40))
    cut = triton.keep_largest(keys, np.array([[1]]), width=20000)
    triton.apply(weights, cut, keys=keys)
    assert {kernel.name for kernel in launched.values()} == {"choose_long", "cut_chunks", "fold_chunks"}
    assert not any(INEXACT.findall(kernel.asm["ptx"]) for kernel in launched.values())


def test_two_threads_never_launch_at_the_same_time() -> None:
    entered, both = threading.Semaphore(0), threading.Event()

    class Loading:
        def __getitem__(self, programs: tuple[int, ...]) -> Any:
            return self.start

        def start(self, **options: object) -> None:
            if not entered.acquire(blocking=False):  # the first
                entered.release()
                both.wait(0.3)
                entered.acquire(blocking=False)
            else:
                both.set()

    threads = [threading.Thread(target=jit.launch, args=(Loading(), (1,))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not both.is_set()
