"""Triton kernels, run by Triton's interpreter: test_triton.py starts a process with TRITON_INTERPRET=1 for these tests.

The interpreter takes tenths of milliseconds for each operation of each program, so shapes are as small as they can be and still
cross the borders of lanes (16), chunks (1024), tiles and groups.
"""

from collections.abc import Iterator

import numpy as np
import pytest

from ellq_kernels import make_kernels
from ellq_kernels.triton import selecting, summing
from ellq_kernels.triton.maker import TritonKernels
from ellq_math import measuring
from ellq_math.network.weighing import weigh
from ellq_math.pools import count_digits
from ellq_math.values import Counts

from .matrices import DTYPES, Matrix, assert_identical, assert_same, bell_curve, fixed_points, infinity_key, pool_point

ORDERS = (0.3, 0.5, 1.0, 1.7, 2.0)


@pytest.fixture(scope="module")
def triton() -> TritonKernels:
    kernels = make_kernels("triton")
    assert isinstance(kernels, TritonKernels)
    assert kernels.device == "cpu"
    return kernels


@pytest.fixture(params=["in registers", "long"])
def groups_are(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Choose with either kernel."""
    if request.param == "long":
        for name, value in {"RESIDENT": 64, "RESIDENT_WIDE": 64, "LONG_STEP": 512}.items():
            monkeypatch.setattr(selecting, name, value)
    return request.param


def uneven(dtype: str, fan_in: int) -> Matrix:
    """Three rows: ordinary with zeros of both signs, all equal, and two values whose ties reach across every border."""
    matrix = bell_curve(dtype, 3, fan_in)
    matrix.bits[0, ::7] = 0
    matrix.bits[0, 3::7] = 1 << (8 * matrix.bits.itemsize - 1)
    matrix.bits[1] = matrix.bits[1, 0]
    matrix.bits[2] = np.where(matrix.bits[2] & 1, matrix.bits[2, 0], matrix.bits[2, 1])
    return matrix


def assert_cut(triton: TritonKernels, matrix: Matrix, kept: Counts, *, width: int) -> None:
    """A cut, its tails and the weights that it leaves are those of the definition."""
    weights = matrix.load(triton)
    cut = triton.keep_largest(weights, kept, width=width)
    assert_same(cut, measuring.keep_largest(matrix.magnitudes, kept, width=width))
    goes = measuring.cut_mask(matrix.magnitudes, cut)
    expected = measuring.tails(matrix.magnitudes, goes, scale=matrix.scale)
    assert_same(triton.tails(matrix.load(triton), cut), expected)  # weights that this cut was not chosen from
    assert_same(triton.apply(weights, cut), expected)
    assert_identical(matrix.unloaded(triton, weights), np.where(goes, np.zeros_like(matrix.bits), matrix.bits))


@pytest.mark.parametrize("fan_in", [1, 17, 1041])
@pytest.mark.parametrize("dtype", DTYPES)
def test_statistics(triton: TritonKernels, dtype: str, fan_in: int) -> None:
    matrix = uneven(dtype, fan_in) if fan_in > 1 else bell_curve(dtype, 20, 1)
    found = triton.measure(matrix.load(triton), ORDERS)
    assert_same(found, measuring.measure(matrix.magnitudes, ORDERS, scale=matrix.scale))


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_and_largest_weights(triton: TritonKernels, dtype: str) -> None:
    largest = infinity_key(dtype) - 1
    matrix = Matrix(dtype, np.array([[1, 2, largest], [0, 1, 3]], bell_curve(dtype, 1, 1).bits.dtype))
    found = triton.measure(matrix.load(triton), ORDERS)
    assert_same(found, measuring.measure(matrix.magnitudes, ORDERS, scale=matrix.scale))


def test_every_root_of_bf16_unfolds(triton: TritonKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summing, "FEW_TILES", 0)
    matrix = Matrix("BF16", np.arange(infinity_key("BF16"), dtype=np.uint16)[:, np.newaxis])
    assert_same(triton.measure(matrix.load(triton), (0.5,)), measuring.measure(matrix.magnitudes, (0.5,), scale=False))


def test_a_row_of_more_than_a_million_weights_is_folded_twice(triton: TritonKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the large tiles that such rows are measured in when there are many."""
    monkeypatch.setattr(summing, "FEW_TILES", 0)
    matrix = bell_curve("BF16", 1, 1024 * 1024 + 1)
    assert_same(triton.measure(matrix.load(triton), (1.0,)), measuring.measure(matrix.magnitudes, (1.0,), scale=False))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_kept(triton: TritonKernels, dtype: str, groups_are: str) -> None:
    matrix = uneven(dtype, 1041)
    assert_cut(triton, matrix, np.array([[0], [1041], [700]]), width=1041)
    if groups_are == "in registers":
        assert_cut(triton, matrix, np.array([[500], [3], [1]]), width=1041)


@pytest.mark.parametrize("width", [4, 5, 700])
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_groups(triton: TritonKernels, dtype: str, width: int) -> None:
    lengths = np.minimum(width, 1041 - np.arange(0, 1041, width))
    assert_cut(triton, uneven(dtype, 1041), np.tile(lengths // 2, (3, 1)), width=width)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16"])
def test_budgets(triton: TritonKernels, dtype: str, p: int, groups_are: str) -> None:
    matrix = uneven(dtype, 130)
    weights, fixed = matrix.load(triton), fixed_points(matrix.magnitudes, p)
    totals = triton.unit_totals(weights, fixed)
    floors = [
        measuring.fixed_units(row, point, inexact_square=matrix.scale)[1].sum()
        for row, point in zip(matrix.magnitudes, fixed, strict=True)
    ]
    assert_identical(totals, np.array(floors))
    for budgets in (totals // 3, np.array([0, totals[1], 2 * totals[2]])):
        expected = measuring.keep_within(matrix.magnitudes, budgets, fixed, inexact_square=matrix.scale)
        assert_same(triton.keep_within(weights, budgets, fixed), expected)


@pytest.mark.parametrize("p", [None, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_histograms(triton: TritonKernels, dtype: str, p: int | None) -> None:
    matrix = uneven(dtype, 700)
    units, weights = pool_point(matrix.magnitudes, p), matrix.load(triton)
    prefix = int(matrix.magnitudes[2, 0].view(np.uint64)) >> 45
    for level, behind in ((0, 0), (1, prefix)):
        found = triton.histogram(weights, level=level, prefix=behind, units=units)
        assert_same(found, count_digits(matrix.magnitudes, units, level=level, prefix=behind))


@pytest.mark.parametrize("threshold", [None, 0.0123456789, 1e-320, 1e300, np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_threshold(triton: TritonKernels, dtype: str, threshold: float | None) -> None:
    """Its own magnitudes have ties; of the others no dtype but F64 holds any."""
    matrix = uneven(dtype, 50)
    threshold = float(matrix.magnitudes[2, 0]) if threshold is None else threshold
    weights = matrix.load(triton)
    cut, _ = triton.cut_at(weights, threshold=threshold, ties_kept=5)
    ties = matrix.magnitudes == threshold
    stays = (matrix.magnitudes > threshold) | (ties & (ties.ravel().cumsum().reshape(ties.shape) <= 5))
    triton.apply(weights, cut)
    assert_identical(matrix.unloaded(triton, weights), np.where(stays, matrix.bits, np.zeros_like(matrix.bits)))


@pytest.mark.parametrize("width", [1041, 6])
def test_weights_go_where_their_keys_go(triton: TritonKernels, width: int) -> None:
    matrix = uneven("BF16", 1041)
    rows, columns = np.array([1.0, 2.0, 0.5]), np.linspace(0.0, 1.0, 1041)[np.newaxis]
    weights, keys = matrix.load(triton), triton.weigh(matrix.load(triton), rows, columns)
    lengths = np.minimum(width, 1041 - np.arange(0, 1041, width))
    cut = triton.keep_largest(keys, np.tile(lengths // 2, (3, 1)), width=width)
    goes = measuring.cut_mask(weigh(matrix.magnitudes, rows, columns), cut)
    assert_same(triton.apply(weights, cut, keys=keys), measuring.tails(matrix.magnitudes, goes, scale=False))
    assert_identical(matrix.unloaded(triton, weights), np.where(goes, np.zeros_like(matrix.bits), matrix.bits))


@pytest.mark.parametrize("dtype", ["F64", "BF16"])
def test_a_list_is_as_its_members_alone(triton: TritonKernels, dtype: str) -> None:
    """Of many shapes: rows shorter than a lane, of several chunks, aligned to 16 bytes and not."""
    matrices = [bell_curve(dtype, neurons, fan_in, seed=fan_in) for neurons, fan_in in ((1, 1), (20, 9), (2, 1032), (3, 24))]
    weights = [matrix.load(triton) for matrix in matrices]
    widths = [1, 3, 1032, 24]
    kept = [np.full((m.bits.shape[0], -(-m.bits.shape[1] // w)), w // 2) for m, w in zip(matrices, widths, strict=True)]
    statistics = triton.measure_many(weights, ORDERS[:2])
    cuts = triton.keep_largest_many(weights, kept, widths)
    tails = triton.apply_many(weights, cuts)
    for index, matrix in enumerate(matrices):
        magnitudes = matrix.magnitudes
        assert_same(statistics[index], measuring.measure(magnitudes, ORDERS[:2], scale=matrix.scale))
        assert_same(cuts[index], measuring.keep_largest(magnitudes, kept[index], width=widths[index]))
        goes = measuring.cut_mask(magnitudes, cuts[index])
        assert_same(tails[index], measuring.tails(magnitudes, goes, scale=matrix.scale))
        after = matrix.unloaded(triton, weights[index])
        assert_identical(after, np.where(goes, np.zeros_like(matrix.bits), matrix.bits))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of sums that mean nothing
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beyond", [0, 1])
def test_what_is_not_finite_is_found_and_shows_in_the_statistics(triton: TritonKernels, dtype: str, beyond: int) -> None:
    matrix = bell_curve(dtype, 3, 1041)
    matrix.bits[1, 1030] = infinity_key(dtype) + beyond
    assert triton.first_nonfinite(matrix.load(triton)) == 1041 + 1030
    found = triton.measure(matrix.load(triton), (1.0,))
    assert np.isfinite(found.max_magnitude).tolist() == [True, False, True]


def test_what_was_chosen_is_forgotten_when_weights_change(triton: TritonKernels) -> None:
    """Keys take the tie that was to stay; the next one stays in its place, as it would of fresh weights."""
    matrix = Matrix("F32", np.array([[5, 3, 3, 3]], np.float32).view(np.uint32))
    weights = matrix.load(triton)
    cut = triton.keep_largest(weights, np.array([[2]]), width=4)
    keys = triton.weigh(weights, np.ones(1), np.array([[1.0, 0.0, 1.0, 1.0]]))
    triton.apply(weights, triton.keep_largest(keys, np.array([[3]]), width=4), keys=keys)
    triton.apply(weights, cut)
    assert matrix.unloaded(triton, weights).view(np.float32).tolist() == [[5, 0, 3, 0]]


def test_a_launch_serves_one_dtype(triton: TritonKernels) -> None:
    weights = [bell_curve(dtype, 1, 4).load(triton) for dtype in ("F32", "BF16")]
    with pytest.raises(ValueError, match="weights of BF16, F32 dtypes given: a launch serves one"):
        triton.measure_many(weights, (1.0,))
    with pytest.raises(ValueError, match="weights of no dtypes given"):
        triton.measure_many([], (1.0,))
