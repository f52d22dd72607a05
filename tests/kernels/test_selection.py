from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_kernels import Kernels
from ellq_math import measuring
from ellq_math.values import Counts, Cut

from .matrices import DTYPES, EXAMPLES, Matrix, assert_identical, assert_same, bell_curve, fixed_points, matrices


def kept_by_sorting(magnitudes: npt.NDArray[np.float64], kept: Counts, *, width: int) -> npt.NDArray[np.bool_]:
    """Choose one by one: largest first, lower index first among equals."""
    rows, fan_in = magnitudes.shape
    stays = np.zeros((rows, fan_in), bool)
    for row in range(rows):
        for group, start in enumerate(range(0, fan_in, width)):
            inside = range(start, min(start + width, fan_in))
            ranked = sorted(inside, key=lambda j: (-magnitudes[row, j], j))
            stays[row, ranked[: kept[row, group]]] = True
    return stays


@st.composite
def choices(draw: st.DrawFn) -> tuple[Matrix, Counts, int]:
    """A matrix, a group width (n:m, a whole row), and a count for every group, none and all included."""
    matrix = draw(matrices(max_fan_in=90))
    neurons, fan_in = matrix.bits.shape
    width = draw(st.sampled_from([1, 2, 4, 5, 33, fan_in]).filter(lambda w: w <= fan_in))
    lengths = np.tile(np.minimum(width, fan_in - np.arange(0, fan_in, width)), (neurons, 1))
    share = draw(st.sampled_from([0.0, 1.0]) | st.floats(0, 1))
    return matrix, np.floor(share * lengths).astype(np.int64), width


@EXAMPLES
@given(choice=choices())
def test_a_cut_keeps_exactly_what_sorting_keeps(kernels: Kernels, choice: tuple[Matrix, Counts, int]) -> None:
    matrix, kept, width = choice
    weights = matrix.load(kernels)
    cut = kernels.keep_largest(weights, kept, width=width)
    assert_same(cut, measuring.keep_largest(matrix.magnitudes, kept, width=width))
    tails = kernels.apply(weights, cut)
    stays = kept_by_sorting(matrix.magnitudes, kept, width=width)
    assert_identical(matrix.unloaded(kernels, weights), np.where(stays, matrix.bits, np.zeros_like(matrix.bits)))
    assert_same(tails, measuring.tails(matrix.magnitudes, ~stays, scale=matrix.scale))


@pytest.mark.parametrize("fan_in", [1, 32, 33, 1023, 1024, 1025, 100_001])
@pytest.mark.parametrize("dtype", DTYPES)
def test_long_rows(kernels: Kernels, dtype: str, fan_in: int) -> None:
    matrix = bell_curve(dtype, 2, fan_in)
    for kept in (np.array([[0], [fan_in]]), np.array([[fan_in // 2], [-(-fan_in // 3)]])):
        weights = matrix.load(kernels)
        cut = kernels.keep_largest(weights, kept, width=fan_in)
        assert_same(cut, measuring.keep_largest(matrix.magnitudes, kept, width=fan_in))
        tails = kernels.apply(weights, cut)
        goes = measuring.cut_mask(matrix.magnitudes, cut)
        assert_identical(matrix.unloaded(kernels, weights), np.where(goes, np.zeros_like(matrix.bits), matrix.bits))
        assert_same(tails, measuring.tails(matrix.magnitudes, goes, scale=matrix.scale))


@pytest.mark.parametrize("width", [2, 4, 5, 700])
@pytest.mark.parametrize("dtype", DTYPES)
def test_groups_cross_chunk_borders(kernels: Kernels, dtype: str, width: int) -> None:
    """Two values only, so that ties are counted across the border of a chunk."""
    matrix = bell_curve(dtype, 2, 2051)
    matrix.bits[:] = np.where(matrix.bits & 1, matrix.bits[0, 0], matrix.bits[0, 1])
    kept = np.minimum(width // 2, 2051 - np.arange(0, 2051, width)) * np.ones((2, 1), np.int64)
    weights = matrix.load(kernels)
    cut = kernels.keep_largest(weights, kept, width=width)
    kernels.apply(weights, cut)
    stays = kept_by_sorting(matrix.magnitudes, kept, width=width)
    assert_identical(matrix.unloaded(kernels, weights), np.where(stays, matrix.bits, np.zeros_like(matrix.bits)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_weights_equal(kernels: Kernels, dtype: str) -> None:
    matrix = bell_curve(dtype, 2, 5000)
    matrix.bits[:] = matrix.bits[0, 0]
    kept = np.array([[1], [4999]])
    cut = kernels.keep_largest(matrix.load(kernels), kept, width=5000)
    assert_same(cut, Cut(np.full(kept.shape, matrix.magnitudes[0, 0]), kept, kept, 5000))


def test_kept_zeros_keep_their_sign_and_cut_zeros_lose_it(kernels: Kernels) -> None:
    matrix = Matrix("F32", np.array([[-0.0, 1.0, -0.0, 0.0]], np.float32).view(np.uint32))
    weights = matrix.load(kernels)
    tails = kernels.apply(weights, kernels.keep_largest(weights, np.array([[2]]), width=4))
    assert_identical(matrix.unloaded(kernels, weights).view(np.float32), np.array([[-0.0, 1.0, 0.0, 0.0]], np.float32))
    assert tails.zeros.tolist() == [3]
    assert tails.l1.tolist() == [0.0]


@EXAMPLES
@given(matrix=matrices(), p=st.sampled_from([1, 2]), share=st.sampled_from([0.0, 1.0]) | st.floats(0, 1))
def test_keep_within_removes_the_most_that_fits(kernels: Kernels, matrix: Matrix, p: int, share: float) -> None:
    rows = matrix.magnitudes
    fixed = fixed_points(rows, p)
    weights = matrix.load(kernels)
    totals = kernels.unit_totals(weights, fixed)
    budgets = np.array([int(share * int(total)) for total in totals])
    cut = kernels.keep_within(weights, budgets, fixed)
    assert_same(cut, measuring.keep_within(matrix.magnitudes, budgets, fixed, inexact_square=matrix.scale))
    goes = measuring.cut_mask(rows, cut)
    for row, point, budget, gone in zip(rows, fixed, budgets.tolist(), goes, strict=True):
        exact = sum((Fraction(x) / Fraction(2) ** point.exponent) ** p for x in row[gone].tolist()) * 2**point.bits
        assert exact <= budget
        assert gone[row == 0].all()


@EXAMPLES
@given(matrix=matrices(), p=st.sampled_from([1, 2]))
def test_unit_totals_never_exceed_the_truth(kernels: Kernels, matrix: Matrix, p: int) -> None:
    rows = matrix.magnitudes
    fixed = fixed_points(rows, p)
    found = kernels.unit_totals(matrix.load(kernels), fixed)
    expected = [
        measuring.fixed_units(row, point, inexact_square=matrix.scale)[1].sum() for row, point in zip(rows, fixed, strict=True)
    ]
    assert_identical(found, np.array(expected))
    for row, point, total in zip(rows, fixed, found.tolist(), strict=True):
        assert total <= sum((Fraction(x) / Fraction(2) ** point.exponent) ** p for x in row.tolist()) * 2**point.bits


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fan_in", [33, 1025, 100_001])
def test_budgets_of_long_rows(kernels: Kernels, dtype: str, fan_in: int) -> None:
    matrix = bell_curve(dtype, 2, fan_in)
    fixed = fixed_points(matrix.magnitudes, 2)
    weights = matrix.load(kernels)
    budgets = kernels.unit_totals(weights, fixed) // 100
    cut = kernels.keep_within(weights, budgets, fixed)
    assert_same(cut, measuring.keep_within(matrix.magnitudes, budgets, fixed, inexact_square=matrix.scale))
    assert ((cut.kept > 0) & (cut.kept < fan_in)).all()


@pytest.mark.parametrize("fan_in", [4, 400])
def test_a_budget_is_spent_to_its_last_unit(kernels: Kernels, fan_in: int) -> None:
    """Powers of two have exact units: the budget of the smaller half fits it, and one unit less spares a weight."""
    half = fan_in // 2
    matrix = Matrix("F32", np.tile(np.repeat(np.array([0.25, 1.0], np.float32), half), (2, 1)).view(np.uint32))
    rows = matrix.magnitudes
    fixed = fixed_points(rows, 1)
    weights = matrix.load(kernels)
    large = (rows == 1.0).sum(axis=1)
    budgets = kernels.unit_totals(weights, fixed) // 5  # the smaller half: 1 unit in 4 + 1
    assert kernels.keep_within(weights, budgets, fixed).kept[:, 0].tolist() == large.tolist()
    assert kernels.keep_within(weights, budgets - 1, fixed).kept[:, 0].tolist() == (large + 1).tolist()


def test_a_zero_matrix_is_cut_whole_for_nothing(kernels: Kernels) -> None:
    matrix = Matrix("F32", np.zeros((2, 50), np.uint32))
    fixed = fixed_points(matrix.magnitudes, 1)
    cut = kernels.keep_within(matrix.load(kernels), np.zeros(2, np.int64), fixed)
    assert_same(cut, Cut(np.full((2, 1), np.inf), np.zeros((2, 1), np.int64), np.zeros((2, 1), np.int64), 50))
