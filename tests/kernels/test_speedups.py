"""What the CPU maker treats apart for speed has the bits of the definition all the same."""

import numpy as np
import pytest

from ellq_kernels import make_kernels
from ellq_kernels.cpu.long_rows import LONG, sampling_stride
from ellq_kernels.cpu.sifting import SAMPLE, sift, stride_of
from ellq_kernels.cpu.threads import Threads
from ellq_math import measuring

from .matrices import DTYPES, Matrix, assert_identical, assert_same, bell_curve, fixed_points, infinity_key

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
    for fixed in (fixed_points(matrix.magnitudes, p) for p in (1, 2)):
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


def rows_of(kind: str, dtype: str, fan_in: int, random: np.random.Generator) -> Matrix:
    """Return 40 rows: "wide" are all exponents that the dtype has, "misleading" large wherever a sample of sixteen looks."""
    matrix = bell_curve(dtype, 40, fan_in)
    if kind == "few values":
        matrix.bits[:] = random.choice(matrix.bits[0, :5], matrix.bits.shape)
    elif kind == "wide":
        matrix.bits[:] = random.integers(0, infinity_key(dtype), matrix.bits.shape)
    elif kind == "misleading":
        matrix.bits[:, :: max(fan_in // 16, 1)] = infinity_key(dtype) - 1
    return matrix


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fan_in", [31, 32, 33, 384, 5000])
@pytest.mark.parametrize("kind", ["bell curve", "few values", "wide"])
def test_candidates_that_are_moved_together(dtype: str, fan_in: int, kind: str) -> None:
    """Every way in which counting narrows a row."""
    random, kernels = np.random.default_rng(2), make_kernels("cpu")
    matrix = rows_of(kind, dtype, fan_in, random)
    kept = random.integers(0, fan_in + 1, (40, 1))
    cut = kernels.keep_largest(matrix.load(kernels), kept, width=fan_in)
    assert_same(cut, measuring.keep_largest(matrix.magnitudes, kept, width=fan_in))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fan_in", [15, 16, 17, 32, 33, 384, 5000])
@pytest.mark.parametrize("kind", ["bell curve", "few values", "wide", "misleading"])
def test_budgets_that_end_anywhere(dtype: str, fan_in: int, kind: str) -> None:
    """Every way in which adding up narrows a row."""
    random, kernels = np.random.default_rng(3), make_kernels("cpu")
    matrix = rows_of(kind, dtype, fan_in, random)
    for fixed in (fixed_points(matrix.magnitudes, p) for p in (1, 2)):
        weights = matrix.load(kernels)
        budgets = (kernels.unit_totals(weights, fixed) * random.uniform(0, 1.01, 40) ** 4).astype(np.int64)
        expected = measuring.keep_within(matrix.magnitudes, budgets, fixed, inexact_square=matrix.scale)
        assert_same(kernels.keep_within(weights, budgets, fixed), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_long_row_that_misleads_costs_time_alone(dtype: str) -> None:
    """Weights of another size wherever the sample of a row that threads share looks."""
    matrix, kernels = long_rows(dtype, "bell curve"), make_kernels("cpu", threads=3)
    matrix.bits[0, :: sampling_stride(FAN_IN)] = infinity_key(dtype) - 1
    matrix.bits[1, :: sampling_stride(FAN_IN)] = 0
    fixed, weights = fixed_points(matrix.magnitudes, 1), matrix.load(kernels)
    for budgets in (kernels.unit_totals(weights, fixed) // share for share in (2, 30, 10**6)):
        expected = measuring.keep_within(matrix.magnitudes, budgets, fixed, inexact_square=matrix.scale)
        assert_same(kernels.keep_within(weights, budgets, fixed), expected)


@pytest.mark.parametrize("count", [1, SAMPLE, SAMPLE + 1, 2 * SAMPLE - 1, 20_000, 60_000, 300_000])
def test_there_is_room_for_the_candidates_of_a_bell_curve(count: int) -> None:
    """Few weights make a sample that says little: what it leaves open must fit all the same."""
    matrix, kernels = bell_curve("F32", 1, count), make_kernels("cpu")
    descending, weights = np.sort(matrix.magnitudes[0])[::-1], matrix.load(kernels)
    for kept in {1, -(-count // 3), -(-9 * count // 10), count}:
        magnitude = descending[kept - 1]
        assert sift(Threads(1), [weights], kept) == (magnitude, kept - int((descending > magnitude).sum()))


def test_a_sample_that_misleads_costs_time_alone() -> None:
    """Weights of another size wherever the sample looks."""
    matrix, kernels = bell_curve("F32", 1, 100_000), make_kernels("cpu")
    matrix.bits[0, :: stride_of(100_000)] = np.float32(3.0).view(np.uint32)
    weights = matrix.load(kernels)
    assert sift(Threads(1), [weights], 50_000) is None
    assert kernels.kth_largest([weights], 50_000) == (np.sort(matrix.magnitudes[0])[50_000], 1)
