import subprocess
import sys

import numpy as np
import pytest

from ellq_kernels import Kernels, make_kernels, warm_up
from ellq_math.values import Cut, FixedPoints

from .matrices import DTYPES, assert_identical, bell_curve


@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_come_back_as_they_went_in(kernels: Kernels, dtype: str) -> None:
    matrix = bell_curve(dtype, 3, 7)
    weights = matrix.load(kernels)
    assert (weights.dtype, weights.neurons, weights.fan_in) == (dtype, 3, 7)
    payload = kernels.payload(weights)
    assert payload.format == "B"
    assert payload == matrix.bits.tobytes()


def test_a_host_maker_works_in_the_buffer_it_was_given(kernels: Kernels) -> None:
    if kernels.device != "cpu":
        pytest.skip("a device has memory of its own")
    buffer = bytearray(bell_curve("F32", 1, 8).bits.tobytes())
    weights = kernels.load(buffer, dtype="F32", neurons=1, fan_in=8)
    kernels.apply(weights, kernels.keep_largest(weights, np.array([[0]]), width=8))
    assert buffer == bytes(32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_payload_may_start_anywhere_in_memory(kernels: Kernels, dtype: str) -> None:
    matrix = bell_curve(dtype, 2, 9)
    payload = memoryview(bytearray(b"?" + matrix.bits.tobytes()))[1:]
    weights = kernels.load(payload, dtype=dtype, neurons=2, fan_in=9)
    assert_identical(kernels.measure(weights, (1.0,)).max_magnitude, matrix.magnitudes.max(axis=1))
    assert kernels.payload(weights) == matrix.bits.tobytes()


def test_warming_up_leaves_nothing_to_fail(kernels: Kernels) -> None:
    warm_up(kernels)


@pytest.mark.parametrize(
    ("payload", "dtype", "neurons", "fan_in", "complaint"),
    [
        (bytearray(8), "I8", 2, 4, "dtype 'I8' is not one of F64, F32, F16, BF16"),
        (bytearray(7), "F16", 2, 2, "payload has 7 bytes; 2 x 2 F16 weights take 8"),
        (bytearray(0), "F16", 0, 2, "0 neurons with a fan-in of 2: both must be at least 1"),
        (memoryview(bytes(8)), "F16", 2, 2, "payload is read-only"),
    ],
)
def test_what_cannot_be_loaded(
    kernels: Kernels, payload: bytearray, dtype: str, neurons: int, fan_in: int, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        kernels.load(payload, dtype=dtype, neurons=neurons, fan_in=fan_in)


@pytest.mark.parametrize(
    ("kept", "width", "complaint"),
    [
        ([[1]], 6, r"kept counts have shape \(1, 1\); groups of 6 weights need \(2, 1\)"),
        ([[7], [0]], 6, "a kept count is negative or exceeds its group"),
        ([[-1], [0]], 6, "a kept count is negative or exceeds its group"),
        ([[4, 3], [0, 0]], 4, "a kept count is negative or exceeds its group"),
        ([[1]], 0, "groups of 0 weights do not fit 2 neurons with a fan-in of 6"),
        ([[1]], 7, "groups of 7 weights do not fit 2 neurons with a fan-in of 6"),
        ([[1]], 12, "groups of 12 weights do not fit 2 neurons with a fan-in of 6"),
    ],
)
def test_counts_that_no_group_can_keep(kernels: Kernels, kept: list[list[int]], width: int, complaint: str) -> None:
    weights = bell_curve("F32", 2, 6).load(kernels)
    with pytest.raises(ValueError, match=complaint):
        kernels.keep_largest(weights, np.array(kept), width=width)


@pytest.mark.parametrize(("budgets", "fixed"), [(2, 2), (3, 1), (1, 3), (1, 1)])
def test_budgets_and_fixed_points_come_one_for_each_neuron(kernels: Kernels, budgets: int, fixed: int) -> None:
    matrix = bell_curve("F32", 3, 6)
    points = FixedPoints(p=1, exponents=np.zeros(fixed, np.int64), bits=58)
    with pytest.raises(ValueError, match=f"{budgets} and {fixed} given for 3 neurons"):
        kernels.keep_within(matrix.load(kernels), np.zeros(budgets, np.int64), points)


def test_a_cut_of_another_matrix_is_refused(kernels: Kernels) -> None:
    weights = bell_curve("F32", 2, 6).load(kernels)
    cut = Cut(np.zeros((3, 1)), np.zeros((3, 1), np.int64), np.zeros((3, 1), np.int64), 6)
    with pytest.raises(ValueError, match=r"groups of 6 weights need \(2, 1\)"):
        kernels.apply(weights, cut)


def test_unknown_kinds_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="kernels 'tpu' are not one of cpu, reference, reference-cuda"):
        make_kernels("tpu")


@pytest.mark.parametrize(("kind", "stranger"), [("cpu", "torch"), ("reference", "numba")])
def test_a_maker_imports_nothing_it_does_not_need(kind: str, stranger: str) -> None:
    program = f"import sys, ellq_kernels; ellq_kernels.make_kernels({kind!r}); sys.exit({stranger!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
