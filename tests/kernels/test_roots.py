"""Our own square roots of floats are those that IEEE 754 asks for."""

import numpy as np
import pytest

from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.lane_memory import load, store
from ellq_kernels.cpu.roots import root_of_floats
from ellq_math.sums import LANES, Array

MANTISSAS = 1 << 23


@kernel
def roots(values: Array, found: Array) -> None:
    for j in range(0, len(values), LANES):
        store(found, j, root_of_floats(load(values, j)))


def check(values: Array) -> None:
    found = np.empty_like(values)
    roots(values, found)
    np.testing.assert_array_equal(found.view(np.uint64), np.sqrt(values).view(np.uint64))


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_every_mantissa_at_either_parity_of_the_exponent(exponent: float) -> None:
    check(exponent * (1.0 + np.arange(MANTISSAS) / MANTISSAS))


def test_every_exponent_zero_and_subnormals() -> None:
    keys = np.concatenate([np.arange(0, 0x7F800000, 9973), np.arange(1000), np.arange(0x7F7FF000, 0x7F800000)])
    values = keys.astype(np.uint32).view(np.float32).astype(np.float64)
    check(values[: len(values) // LANES * LANES])
