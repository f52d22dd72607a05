from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ellq_kernels import Kernels
from ellq_math import measuring
from ellq_math.network.weighing import KEY_MANTISSA_BITS, weigh
from ellq_math.pools import KeepCount, count_digits, search
from ellq_math.sums import Array

from .matrices import DTYPES, EXAMPLES, Matrix, assert_identical, assert_same, bell_curve, fixed_points, matrices

FACTORS = st.sampled_from([0.0, 5e-324, 2.0**-1022, 1e-200, 0.1, 1.0, 3.0, 1e150]) | st.floats(0, 1e150)

NORMAL = Fraction(2) ** -1022
LARGEST = float(np.finfo(np.float64).max)


@st.composite
def weighed(draw: st.DrawFn) -> tuple[Matrix, Array, Array]:
    """A matrix, a factor for each neuron, and one for each input of one group, or of as many as there are neurons."""
    matrix = draw(matrices(max_fan_in=12))
    neurons, fan_in = matrix.bits.shape
    rows = draw(arrays(np.float64, neurons, elements=FACTORS))
    columns = draw(arrays(np.float64, (draw(st.sampled_from([1, neurons])), fan_in), elements=FACTORS))
    return matrix, rows, columns


def keys_of(kernels: Kernels, matrix: Matrix, rows: Array, columns: Array) -> tuple[object, Matrix]:
    keys = kernels.weigh(matrix.load(kernels), rows, columns)
    return keys, Matrix("F64", np.frombuffer(kernels.payload(keys), np.uint64).reshape(matrix.bits.shape).copy())


def finite_keys(kernels: Kernels, example: tuple[Matrix, Array, Array]) -> tuple[object, Matrix]:
    """Return the keys; an example whose keys overflow is none."""
    try:
        return keys_of(kernels, *example)
    except ValueError:
        with pytest.raises(ValueError, match="overflows"):
            weigh(example[0].magnitudes, *example[1:])
        assume(False)
        raise


@EXAMPLES
@given(example=weighed())
def test_keys_have_the_bits_of_the_definition(kernels: Kernels, example: tuple[Matrix, Array, Array]) -> None:
    keys, found = finite_keys(kernels, example)
    assert_identical(found.values, weigh(example[0].magnitudes, *example[1:]))
    assert (keys.dtype, keys.neurons, keys.fan_in) == ("F64", *found.bits.shape)


@EXAMPLES
@given(example=weighed())
def test_a_key_is_never_below_the_exact_product(example: tuple[Matrix, Array, Array]) -> None:
    matrix, rows, columns = example
    try:
        keys = weigh(matrix.magnitudes, rows, columns)
    except ValueError:
        assume(False)
        raise
    across = np.repeat(columns, len(rows) // len(columns), axis=0)
    for (i, j), key in np.ndenumerate(keys):
        inner = Fraction(matrix.magnitudes[i, j]) * Fraction(rows[i])
        exact = inner * Fraction(across[i, j])
        assert Fraction(key) >= exact
        assert (key == 0) == (exact == 0)
        if inner >= NORMAL and exact >= NORMAL:
            assert Fraction(key) <= exact * (1 + Fraction(2) ** -22)
    assert not np.any(keys.view(np.uint64) & np.uint64(2 ** (52 - KEY_MANTISSA_BITS) - 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_key_below_a_subnormal_product_would_cheat_a_large_factor(kernels: Kernels, dtype: str) -> None:
    """The first product underflows; the second lifts what was lost back into sight."""
    smallest = Matrix(dtype, np.ones((1, 1), bell_curve(dtype, 1, 1).bits.dtype))
    rows, columns = np.array([1e-300]), np.array([[1e300]])
    _, found = keys_of(kernels, smallest, rows, columns)
    assert Fraction(found.values[0, 0]) >= Fraction(smallest.magnitudes[0, 0]) * Fraction(rows[0]) * Fraction(columns[0, 0])


@pytest.mark.parametrize(
    ("row", "column"),
    [(1e300, 1e300), (LARGEST, 1.0), (LARGEST * (1 - 2.0**-30), 1.0)],
    ids=["in the product", "above the product", "in the carry"],
)
def test_a_key_that_overflows_is_refused_by_its_neuron(kernels: Kernels, row: float, column: float) -> None:
    matrix = Matrix("F32", np.full((2, 1), 1.0, np.float32).view(np.uint32))
    factors = np.array([1.0, row]), np.array([[column]])
    with pytest.raises(ValueError, match="a key of neuron 1 overflows"):
        kernels.weigh(matrix.load(kernels), *factors)
    with pytest.raises(ValueError, match="a key of neuron 1 overflows"):
        weigh(matrix.magnitudes, *factors)


def test_an_overflow_beside_a_zero_factor_is_a_zero_key(kernels: Kernels) -> None:
    huge = Matrix("F64", np.array([[1e300]]).view(np.uint64))
    assert keys_of(kernels, huge, np.array([1e300]), np.array([[0.0]]))[1].values == 0.0


@EXAMPLES
@given(example=weighed(), share=st.floats(0, 1))
def test_weights_go_where_their_keys_go(kernels: Kernels, example: tuple[Matrix, Array, Array], share: float) -> None:
    matrix, rows, columns = example
    keys, seen = finite_keys(kernels, (matrix, rows, columns))
    kept = np.full((len(rows), 1), int(share * seen.bits.shape[1]))
    cut = kernels.keep_largest(keys, kept, width=seen.bits.shape[1])
    goes = measuring.cut_mask(seen.magnitudes, cut)
    assert_same(kernels.tails(keys, cut), measuring.tails(seen.magnitudes, goes, scale=True))
    assert_identical(seen.unloaded(kernels, keys), seen.bits)
    weights = matrix.load(kernels)
    assert_same(kernels.apply(weights, cut, keys=keys), measuring.tails(matrix.magnitudes, goes, scale=matrix.scale))
    assert_identical(matrix.unloaded(kernels, weights), np.where(goes, np.zeros_like(matrix.bits), matrix.bits))


@pytest.mark.parametrize("dtype", DTYPES)
def test_keys_are_weights_to_every_other_operation(kernels: Kernels, dtype: str) -> None:
    matrix = bell_curve(dtype, 4, 1500)
    keys, seen = keys_of(kernels, matrix, np.linspace(0.5, 2.0, 4), np.linspace(0.0, 1.0, 3000).reshape(2, 1500))
    magnitudes = seen.magnitudes
    assert kernels.first_nonfinite(keys) is None
    assert_same(kernels.measure(keys, (0.3, 1.0)), measuring.measure(magnitudes, (0.3, 1.0), scale=True))
    fixed = fixed_points(magnitudes, 1)
    budgets = kernels.unit_totals(keys, fixed) // 7
    expected = measuring.keep_within(magnitudes, budgets, fixed, inexact_square=True)
    assert_same(kernels.keep_within(keys, budgets, fixed), expected)
    cut = kernels.keep_largest(keys, np.full((4, 375), 2), width=4)
    removed = kernels.apply(keys, cut)
    assert_same(removed, measuring.tails(magnitudes, measuring.cut_mask(magnitudes, cut), scale=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_threshold_over_keys_takes_two_passes(kernels: Kernels, dtype: str) -> None:
    matrix = bell_curve(dtype, 3, 2000)
    keys, seen = keys_of(kernels, matrix, np.array([1.0, 0.3, 0.7]), np.linspace(0.0, 1.0, 2000)[np.newaxis])
    levels = []

    def count(descent):
        levels.append(descent.level)
        found = kernels.histogram(keys, level=descent.level, prefix=descent.prefix, units=None)
        assert_same(found, count_digits(seen.magnitudes, None, level=descent.level, prefix=descent.prefix))
        return found

    threshold = search(count, KeepCount(kept=2500, weights=6000), mantissa_bits=keys.mantissa_bits)
    assert levels == [0, 1]
    assert threshold.magnitude == np.sort(seen.magnitudes, axis=None)[-2500]
    cut, _ = kernels.cut_at(keys, threshold=threshold.magnitude, ties_kept=threshold.ties_kept)
    weights = matrix.load(kernels)
    kernels.apply(weights, cut, keys=keys)
    assert cut.kept.sum() == 2500


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_no_key_has_the_mantissa_of_its_dtype(kernels: Kernels, dtype: str) -> None:
    expected = {"F64": 52, "F32": 23, "F16": 10, "BF16": 7}[dtype]
    assert bell_curve(dtype, 1, 1).load(kernels).mantissa_bits == expected


@pytest.mark.parametrize(
    ("rows", "columns", "complaint"),
    [
        (np.ones(3), np.ones((1, 6)), r"rows have shape \(3,\); 4 neurons need \(4,\)"),
        (np.ones(4), np.ones((3, 6)), r"found shape \(3, 6\); allowed is \(groups, 6\), with groups that divide 4 neurons"),
        (np.ones(4), np.ones((0, 6)), r"found shape \(0, 6\)"),
        (np.ones(4), np.ones((1, 5)), r"found shape \(1, 5\)"),
        (np.full(4, -1.0), np.ones((1, 6)), "rows hold a negative number, NaN or infinity"),
        (np.ones(4), np.full((1, 6), np.nan), "columns hold a negative number, NaN or infinity"),
        (np.full(4, np.inf), np.zeros((1, 6)), "rows hold a negative number, NaN or infinity"),
    ],
)
def test_factors_that_weigh_nothing(kernels: Kernels, rows: Array, columns: Array, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        kernels.weigh(bell_curve("F32", 4, 6).load(kernels), rows, columns)


def test_keys_of_another_matrix_are_refused(kernels: Kernels) -> None:
    weights, keys = bell_curve("F32", 2, 6).load(kernels), bell_curve("F64", 3, 6).load(kernels)
    cut = kernels.keep_largest(weights, np.ones((2, 1), np.int64), width=6)
    with pytest.raises(ValueError, match="2 x 6 and 3 x 6 weights given: they must have the same neurons and fan-in"):
        kernels.apply(weights, cut, keys=keys)
