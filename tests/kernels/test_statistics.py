import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_kernels import Kernels
from ellq_math import measuring
from ellq_math.sums import CHUNK, LANES

from .matrices import DTYPES, EXAMPLES, Matrix, assert_same, bell_curve, infinity_key, matrices, sign_bit

ORDERS = (0.05, 0.3, 0.5, 0.99, 1.0, 1.7, 2.0)


def plain_sum(terms: list[float]) -> float:
    """The canonical order in the plainest words: sixteen lanes down a chunk, halves of the lanes, then chunk by chunk."""
    partial_sums = []
    for start in range(0, len(terms), CHUNK):
        lanes = [0.0] * LANES
        for j, term in enumerate(terms[start : start + CHUNK]):
            lanes[j % LANES] += term
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [lanes[lane] + lanes[lane + half] for lane in range(half)]
        partial_sums += lanes
    return partial_sums[0] if len(partial_sums) == 1 else plain_sum(partial_sums)


@EXAMPLES
@given(matrix=matrices(), orders=st.lists(st.sampled_from(ORDERS), unique=True, max_size=4))
def test_statistics_have_the_bits_of_the_definition(kernels: Kernels, matrix: Matrix, orders: list[float]) -> None:
    found = kernels.measure(matrix.load(kernels), tuple(sorted(orders)))
    assert_same(found, measuring.measure(matrix.magnitudes, tuple(sorted(orders)), scale=matrix.scale))


@pytest.mark.parametrize("fan_in", [1, 15, 16, 17, 1023, 1024, 1025, 100_001])
@pytest.mark.parametrize("dtype", DTYPES)
def test_chunk_borders(kernels: Kernels, dtype: str, fan_in: int) -> None:
    matrix = bell_curve(dtype, 2, fan_in)
    found = kernels.measure(matrix.load(kernels), ORDERS)
    assert_same(found, measuring.measure(matrix.magnitudes, ORDERS, scale=matrix.scale))


@pytest.mark.parametrize("fan_in", [1, 17, 1025])
def test_sums_follow_the_canonical_order(kernels: Kernels, fan_in: int) -> None:
    matrix = bell_curve("F32", 2, fan_in)
    found = kernels.measure(matrix.load(kernels), (1.0,)).sums[:, 0]
    assert found.tolist() == [plain_sum(row) for row in matrix.magnitudes.tolist()]


def test_more_than_a_million_weights_in_a_row_take_three_levels(kernels: Kernels) -> None:
    matrix = bell_curve("BF16", 1, CHUNK * CHUNK + 1)
    found = kernels.measure(matrix.load(kernels), (1.0,)).sums[0, 0]
    assert found == plain_sum(matrix.magnitudes[0].tolist())


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_every_finite_sixteen_bit_weight_is_read_exactly(kernels: Kernels, dtype: str) -> None:
    keys = np.arange(infinity_key(dtype), dtype=np.uint16)
    matrix = Matrix(dtype, np.concatenate([keys, keys | np.uint16(sign_bit(dtype))])[:, np.newaxis])
    found = kernels.measure(matrix.load(kernels), (1.0,))
    assert found.sums[:, 0].tolist() == matrix.magnitudes[:, 0].tolist()


@pytest.mark.parametrize("extreme", [1e308, 5e-324, 2.0**-1022, np.finfo(np.float64).max])
def test_f64_extremes_neither_overflow_nor_vanish(kernels: Kernels, extreme: float) -> None:
    matrix = Matrix("F64", np.array([[extreme, -extreme, 0.0], [extreme, 1.0, 5e-324]]).view(np.uint64))
    found = kernels.measure(matrix.load(kernels), (0.3, 1.0, 2.0))
    assert_same(found, measuring.measure(matrix.magnitudes, (0.3, 1.0, 2.0), scale=True))
    assert np.isfinite(found.sums).all()
    assert (found.sums > 0).all()


def test_doubles_that_stay_subnormal_after_scaling_are_raised_right(kernels: Kernels) -> None:
    """At q = 0.05 a million of them, each 2^-53.7, show beside a weight of 1/2."""
    row = np.full((1, 1 << 20), 5e-324)
    row[0, 0] = 0.5
    found = kernels.measure(Matrix("F64", row.view(np.uint64)).load(kernels), (0.05,))
    assert_same(found, measuring.measure(row, (0.05,), scale=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_rows(kernels: Kernels, dtype: str) -> None:
    bits = np.zeros((2, 5), Matrix(dtype, bell_curve(dtype, 1, 1).bits).bits.dtype)
    bits[1] = sign_bit(dtype)
    found = kernels.measure(Matrix(dtype, bits).load(kernels), (0.3, 2.0))
    assert found.sums.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert found.zeros.tolist() == [5, 5]
    assert found.max_magnitude.tolist() == [0.0, 0.0]
    assert found.exponents.tolist() == [0, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("place", [0, 7, 1024 * 9 + 1, 3 * 5000 - 1])
@pytest.mark.parametrize("beyond", [0, 1])
def test_the_first_nonfinite_weight_is_found(kernels: Kernels, dtype: str, place: int, beyond: int) -> None:
    """`beyond` infinity lie the NaNs."""
    matrix = bell_curve(dtype, 3, 5000)
    assert kernels.first_nonfinite(matrix.load(kernels)) is None
    matrix.bits.reshape(-1)[place] = sign_bit(dtype) | (infinity_key(dtype) + beyond)
    matrix.bits.reshape(-1)[-1] = infinity_key(dtype)
    assert kernels.first_nonfinite(matrix.load(kernels)) == place


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("place", [0, 17, 1500])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_magnitude_tells_of_a_number_that_is_none(kernels: Kernels, dtype: str, place: int, beyond: int) -> None:
    """`beyond` infinity lie the NaNs."""
    matrix = bell_curve(dtype, 3, 1501)
    matrix.bits[1, place] = sign_bit(dtype) | (infinity_key(dtype) + beyond)
    found = kernels.measure(matrix.load(kernels), (0.3, 0.5, 1.0, 2.0)).max_magnitude
    assert np.isfinite(found).tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_finite_weight_is_finite(kernels: Kernels, dtype: str) -> None:
    bits = np.array([[infinity_key(dtype) - 1]], bell_curve(dtype, 1, 1).bits.dtype)
    assert kernels.first_nonfinite(Matrix(dtype, bits).load(kernels)) is None
