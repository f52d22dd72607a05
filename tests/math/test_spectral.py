import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.spectral import GRAM_STEPS, frobenius_bound, gram_bound, spectral_norm_bound, weighted_norm_bound
from ellq_math.sums import UNIT_ROUNDOFF

seeds = st.integers(0, 2**32 - 1)


def library_norm(matrix):
    """The library's largest singular value, less what it may be off by: a modest multiple of its sizes, LAPACK's bound."""
    return np.linalg.norm(matrix, 2) * (1 - 10 * max(matrix.shape) * UNIT_ROUNDOFF)


def random_matrix(rng):
    shape = rng.integers(1, 40, 2)
    kinds = [
        lambda: rng.standard_normal(shape),
        lambda: rng.standard_cauchy(shape) ** 3,
        lambda: np.outer(rng.standard_normal(shape[0]), rng.standard_normal(shape[1])),
        lambda: np.where(rng.random(shape) < 0.1, rng.standard_normal(shape), 0.0),
        lambda: np.full(shape, rng.standard_normal()),
        lambda: np.eye(*shape),
    ]
    return kinds[rng.integers(len(kinds))]()


@given(seeds)
def test_no_bound_is_below_the_norm(seed):
    matrix = random_matrix(np.random.default_rng(seed))
    assert spectral_norm_bound(matrix) >= library_norm(matrix)


@given(seeds)
def test_gram_iteration_is_within_its_theorem(seed):
    """The bound is (sum sigma^(2^(t+1)))^(1/2^(t+1)), so at most min(m, n)^(1/2^(t+1)) above; rounding is below 2^-40 here."""
    matrix = random_matrix(np.random.default_rng(seed))
    factor = min(matrix.shape) ** 2.0 ** -(GRAM_STEPS + 1)
    assert spectral_norm_bound(matrix) <= np.linalg.norm(matrix, 2) * factor * (1 + 2.0**-40)


def test_gram_iteration_is_sharp_where_singular_values_are_known():
    """Singular values 1, 1/2, 1/4, ...: the others add less than 2^-127 of the first, so only rounding is left."""
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.standard_normal((20, 20)))[0] for _ in range(2))
    matrix = left * 0.5 ** np.arange(20) @ right
    assert 1 - 2.0**-45 <= gram_bound(matrix) <= 1 + 2.0**-40


@pytest.mark.parametrize("weight", [0.1, 0.3, 0.7, 1 / 3])
def test_sums_of_many_equal_squares_are_paid_for(weight):
    """A long row of one number: squares that are added up to much more than themselves are rounded one way for long."""
    assert Fraction(float(gram_bound(np.full((1, 1 << 20), weight)))) >= Fraction(weight) * 1024
    assert Fraction(float(frobenius_bound(np.full((1 << 10, 1 << 10), weight)))) >= Fraction(weight) * 1024


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 3)])
def test_only_zero_has_no_norm(shape):
    assert spectral_norm_bound(np.zeros(shape)) == 0
    least = np.zeros(shape)
    least[-1, 0] = 5e-324
    assert 0 < spectral_norm_bound(least) <= 3 * 5e-324  # rounded up twice


@given(seeds, st.integers(-900, 900))
def test_the_scale_is_a_factor(seed, shift):
    """Powers of two pass through, up to the final rounding up of one unit in the last place."""
    matrix = np.random.default_rng(seed).standard_normal((6, 9))
    found, moved = spectral_norm_bound(matrix), spectral_norm_bound(np.ldexp(matrix, shift))
    assert moved == pytest.approx(math.ldexp(found, shift), rel=4 * UNIT_ROUNDOFF)


def test_beyond_a_double_is_infinity():
    assert spectral_norm_bound(np.full((8, 8), 1e308)) == math.inf


@given(seeds)
def test_a_weighted_norm_is_that_of_the_product(seed):
    rng = np.random.default_rng(seed)
    matrix = random_matrix(rng)
    weights = np.exp(3 * rng.standard_normal(matrix.shape[1]))
    assert weighted_norm_bound(matrix, weights) >= library_norm(matrix * weights)
