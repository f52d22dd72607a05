import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_kernels import Kernels
from ellq_kernels.ranks import kth_by_digits
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


@EXAMPLES
@given(
    pool=st.lists(matrices(), min_size=1, max_size=3),
    share=st.sampled_from([0.0, 1.0]) | st.floats(0, 1),
)
def test_the_kth_largest_of_a_pool_is_that_of_a_sorted_list(kernels: Kernels, pool: list[Matrix], share: float) -> None:
    """Dtypes may differ, which makes ties of numbers whose bits differ."""
    descending = np.sort(np.concatenate([matrix.magnitudes.ravel() for matrix in pool]))[::-1]
    kept = int(share * len(descending))
    magnitude = float(descending[kept - 1]) if kept > 0 else np.inf
    found = kernels.kth_largest([matrix.load(kernels) for matrix in pool], kept)
    assert found == (magnitude, kept - int((descending > magnitude).sum()))


@pytest.mark.parametrize("dtypes", [*((dtype,) for dtype in DTYPES), ("F32", "F64", "BF16")])
@pytest.mark.parametrize("zeros", [0.0, 0.6])
def test_the_kth_largest_of_many(kernels: Kernels, dtypes: tuple[str, ...], zeros: float) -> None:
    """Enough to be shared out and sampled; also what a search over histograms finds."""
    pool = [bell_curve(dtype, 150 * (1 + place), 999, seed=place) for place, dtype in enumerate(dtypes)]
    for matrix in pool:
        matrix.bits[np.random.default_rng(1).random(matrix.bits.shape) < zeros] = 0
    weights, count = [matrix.load(kernels) for matrix in pool], sum(matrix.count for matrix in pool)
    descending = np.sort(np.concatenate([matrix.magnitudes.ravel() for matrix in pool]))[::-1]
    for kept in (1, count // 3, count // 2, count - 1, count):
        found = kernels.kth_largest(weights, kept)
        assert found == kth_by_digits(kernels, weights, kept)
        assert found == (descending[kept - 1], kept - int((descending > descending[kept - 1]).sum()))


@pytest.mark.parametrize("kept", [-1, 7])
def test_what_a_pool_does_not_have_cannot_be_kept(kernels: Kernels, kept: int) -> None:
    weights = bell_curve("F32", 2, 3).load(kernels)
    with pytest.raises(ValueError, match=f"{kept} weights cannot be kept of a pool of 6"):
        kernels.kth_largest([weights], kept)
    with pytest.raises(ValueError, match="0 weights cannot be kept of a pool of 0"):
        kernels.kth_largest([], 0)
