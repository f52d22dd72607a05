import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_kernels import Kernels
from ellq_math.pools import DIGITS, count_digits
from ellq_math.values import Cut

from .matrices import DTYPES, EXAMPLES, Matrix, assert_identical, assert_same, bell_curve, matrices, pool_point


def prefix_of(magnitude: float, level: int) -> int:
    """Return the digits above `level` of a magnitude."""
    return int(np.float64(magnitude).view(np.uint64)) >> (63 - sum(DIGITS[:level]))


@EXAMPLES
@given(matrix=matrices(max_fan_in=12), level=st.integers(0, 3), which=st.integers(0, 47), p=st.sampled_from([None, 1, 2]))
def test_histograms_have_the_counts_of_the_definition(
    kernels: Kernels, matrix: Matrix, level: int, which: int, p: int | None
) -> None:
    magnitudes = matrix.magnitudes.ravel()
    prefix = prefix_of(magnitudes[which % len(magnitudes)], level)
    units = pool_point(magnitudes, p)
    found = kernels.histogram(matrix.load(kernels), level=level, prefix=prefix, units=units)
    assert_same(found, count_digits(magnitudes, units, level=level, prefix=prefix))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1, 2])
def test_units_of_long_histograms(kernels: Kernels, dtype: str, p: int) -> None:
    """Long enough to be shared out."""
    matrix = bell_curve(dtype, 300, 1500)
    units = pool_point(matrix.magnitudes, p)
    found = kernels.histogram(matrix.load(kernels), level=0, prefix=0, units=units)
    assert_same(found, count_digits(matrix.magnitudes, units, level=0, prefix=0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_prefix_that_no_weight_has_counts_nothing(kernels: Kernels, dtype: str) -> None:
    matrix = bell_curve(dtype, 2, 100)
    found = kernels.histogram(matrix.load(kernels), level=1, prefix=prefix_of(1e30, 1), units=None)
    assert found.weights.sum() == 0


@EXAMPLES
@given(matrix=matrices(), which=st.integers(0, 159), ties_kept=st.integers(0, 170))
def test_one_threshold_cuts_every_row(kernels: Kernels, matrix: Matrix, which: int, ties_kept: int) -> None:
    magnitudes = matrix.magnitudes
    threshold = float(magnitudes.ravel()[which % matrix.count])
    ties = magnitudes == threshold
    stays = (magnitudes > threshold) | (ties & (ties.ravel().cumsum().reshape(ties.shape) <= ties_kept))
    weights = matrix.load(kernels)
    cut, ties_here = kernels.cut_at(weights, threshold=threshold, ties_kept=ties_kept)
    assert ties_here == min(ties_kept, ties.sum())
    expected = Cut(
        threshold=np.full((len(magnitudes), 1), threshold),
        ties_kept=(stays & ties).sum(axis=1, keepdims=True),
        kept=stays.sum(axis=1, keepdims=True),
        width=magnitudes.shape[1],
    )
    assert_same(cut, expected)
    kernels.apply(weights, cut)
    assert_identical(matrix.unloaded(kernels, weights), np.where(stays, matrix.bits, np.zeros_like(matrix.bits)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [0.0123456789, 1e-320, 1e300, np.inf])
def test_a_threshold_that_the_dtype_cannot_hold_has_no_ties(kernels: Kernels, dtype: str, threshold: float) -> None:
    matrix = bell_curve(dtype, 3, 1500)
    cut, ties_here = kernels.cut_at(matrix.load(kernels), threshold=threshold, ties_kept=10)
    assert ties_here == 0
    assert_identical(cut.kept, (matrix.magnitudes > threshold).sum(axis=1, keepdims=True))
