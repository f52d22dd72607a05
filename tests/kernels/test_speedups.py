"""What the CPU maker treats apart for speed has the bits of the definition all the same."""

import numpy as np
import pytest

from ellq_kernels import make_kernels
from ellq_kernels.cpu.long_rows import LONG
from ellq_math import measuring
from ellq_math.values import FixedPoint

from .matrices import DTYPES, Matrix, assert_identical, assert_same, bell_curve, fixed_point, infinity_key, sign_bit

FAN_IN = LONG + 3
KINDS = ("bell curve", "mostly zeros", "mostly one value", "two values")


def long_rows(dtype: str, kind: str) -> Matrix:
    matrix = bell_curve(dtype, 2, FAN_IN)
    chosen = np.random.default_rng(1).random(matrix.bits.shape)
    match kind:
        case "mostly zeros":
            matrix.bits[chosen < 0.7] = 0
        case "mostly one value":
            matrix.bits[chosen < 0.6] = matrix.bits[0, 0]
        case "two values":
            matrix.bits[:] = np.where(chosen < 0.5, matrix.bits[0, 0], matrix.bits[0, 1])
    return matrix


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_that_share_a_row_choose_what_sorting_chooses(dtype: str, kind: str) -> None:
    matrix, kernels = long_rows(dtype, kind), make_kernels("cpu", threads=3)
    weights = matrix.load(kernels)
    for kept in ([[FAN_IN // 2], [FAN_IN // 3]], [[0], [FAN_IN]], [[1], [FAN_IN - 1]]):
        expected = measuring.keep_largest(matrix.magnitudes, np.array(kept), width=FAN_IN)
        assert_same(kernels.keep_largest(weights, np.array(kept), width=FAN_IN), expected)
    fixed: tuple[FixedPoint, ...] = tuple(fixed_point(row, p) for row, p in zip(matrix.magnitudes, (1, 2), strict=True))
    totals = kernels.unit_totals(weights, fixed)
    for budgets in (totals // 5, totals * 0, totals * 2):
        expected = measuring.keep_within(matrix.magnitudes, budgets, fixed, inexact_square=matrix.scale)
        assert_same(kernels.keep_within(weights, budgets, fixed), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [FAN_IN, FAN_IN // 2, 3000])
def test_threads_that_share_a_row_keep_the_first_ties(dtype: str, width: int) -> None:
    matrix, kernels = long_rows(dtype, "two values"), make_kernels("cpu", threads=3)
    weights = matrix.load(kernels)
    lengths = np.minimum(width, FAN_IN - np.arange(0, FAN_IN, width)) * np.ones((2, 1), np.int64)
    cut = kernels.keep_largest(weights, 3 * lengths // 4, width=width)
    goes = measuring.cut_mask(matrix.magnitudes, cut)
    assert_same(kernels.apply(weights, cut), measuring.tails(matrix.magnitudes, goes, scale=matrix.scale))
    assert_identical(matrix.unloaded(kernels, weights), np.where(goes, np.zeros_like(matrix.bits), matrix.bits))


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("place", [0, 17, 1500])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_magnitude_tells_of_a_number_that_is_none(dtype: str, place: int, beyond: int) -> None:
    """`beyond` infinity lie the NaNs."""
    matrix, kernels = bell_curve(dtype, 3, 1501), make_kernels("cpu")
    matrix.bits[1, place] = sign_bit(dtype) | (infinity_key(dtype) + beyond)
    found = kernels.measure(matrix.load(kernels), (0.3, 0.5, 1.0, 2.0)).max_magnitude
    assert np.isfinite(found).tolist() == [True, False, True]
