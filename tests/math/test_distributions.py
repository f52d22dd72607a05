import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ellq_math.distributions import TAIL_CURVE_AT, describe, excess_kurtosis, gini, tail_curve, tail_index

shapes = st.tuples(st.integers(1, 8), st.integers(1, 8))
matrices = shapes.flatmap(lambda s: arrays(np.float64, s, elements=st.floats(-1e150, 1e150, allow_subnormal=False)))


def test_a_zero_tensor_has_a_distribution():
    found = describe(np.zeros((3, 4)))
    assert (found.gini, found.excess_kurtosis, found.tail_index, found.tail_curve) == (0, None, None, ())
    assert (found.spectral_norm_bound, found.stable_rank_floor) == (0, 0)


@pytest.mark.parametrize("value", [1.0, -5e-324, 1.7976931348623157e308])
def test_equal_weights_have_a_distribution(value):
    found = describe(np.full((2, 8), value))
    assert (found.gini, found.excess_kurtosis, found.tail_index) == (0, None, None)
    assert found.tail_curve == pytest.approx([1, 1, math.sqrt(15 / 16), math.sqrt(12 / 16), math.sqrt(8 / 16)])
    assert found.stable_rank_floor == pytest.approx(1)
    assert found.spectral_norm_bound / 4 >= abs(value)  # the norm of rank one: 4 |value|


def test_a_single_weight_has_a_distribution():
    found = describe(np.array([[3.0]]))
    assert (found.gini, found.excess_kurtosis, found.tail_index, found.tail_curve) == (0, None, None, (1, 1, 1, 1, 1))
    assert 3 <= found.spectral_norm_bound <= 3 * (1 + 2.0**-40)


def test_gini_by_hand():
    assert gini(np.array([0.0, 0.0, 0.0, 1.0])) == 0.75
    assert gini(np.array([1.0, 3.0])) == 0.25


def test_kurtosis_by_hand():
    assert excess_kurtosis(np.array([-1.0, 1.0])) == -2  # the least there is
    assert excess_kurtosis(np.array([0.0] * 9 + [1.0])) == pytest.approx(82 / 9 - 3 - 1)  # Bernoulli(1/10): (1 - 6pq) / pq


def test_tail_curve_by_hand():
    assert tail_curve(np.array([3.0, 4.0])) == (1, 1, 1, 1, 0.6)
    assert len(TAIL_CURVE_AT) == 5


@pytest.mark.parametrize(("draw", "alpha"), [("standard_normal", 2.0), ("standard_cauchy", 1.0)])
def test_the_tail_index_of_stable_weights_is_their_own(draw, alpha):
    """Gauss and Cauchy are stable, so the index is exact up to sampling.

    log|X| has a standard deviation of pi/2 (Cauchy) or pi/sqrt 8 (Gauss) at most; a mean over N / K block sums, at the longest
    median block length K = 50, is off by pi/2 sqrt(K / N) / log K in 1/alpha. Six times that.
    """
    count = 10**6
    weights = getattr(np.random.default_rng(6), draw)(count)
    six_errors = 6 * math.pi / 2 * math.sqrt(2 * 50 / count) / math.log(50)
    found = tail_index(weights)
    assert found is not None
    assert 1 / found == pytest.approx(1 / alpha, abs=six_errors)
    assert found <= 2


def test_the_tail_index_is_capped_at_two_and_undefined_for_primes():
    assert tail_index(np.tile([1.0, -1.0, 2.0, -1.5], 64)) == 2  # sums that do not grow
    assert tail_index(np.arange(101.0)) is None
    assert tail_index(np.array([1.0, 2.0])) is None


def test_block_lengths_are_lowered_to_divisors():
    """64 = 2^6: 2, 5 -> 4, 10 -> 8, 20 -> 16 and the root 8; by hand, the median of 1/alpha over 2, 4, 8, 16."""
    weights = np.random.default_rng(7).standard_normal(64)
    centred = weights - np.median(weights)
    own = np.log(np.abs(centred)).mean()
    inverses = [(np.log(np.abs(centred.reshape(-1, k).sum(axis=1))).mean() - own) / math.log(k) for k in (2, 4, 8, 16)]
    assert tail_index(weights) == pytest.approx(1 / max(np.median(inverses), 0.5))


@given(matrices)
def test_the_spectral_bound_is_never_below_the_norm(weights):
    """The library's norms are themselves off by a few roundings for each row and column: far below 2^-45 here."""
    found = describe(weights)
    exponent = np.frexp(np.abs(weights).max())[1]
    scaled = np.ldexp(weights, -exponent)  # so that no square overflows or vanishes in the library
    norm = np.linalg.norm(scaled, 2)
    assert np.ldexp(found.spectral_norm_bound, -exponent) >= norm * (1 - 2.0**-45)
    if norm:
        assert 1 <= found.stable_rank_floor <= (np.linalg.norm(scaled) / norm) ** 2 * (1 + 2.0**-45)


def test_the_spectral_bound_takes_the_least_of_its_three():
    assert describe(np.eye(100)).spectral_norm_bound == pytest.approx(1, rel=2.0**-40)  # Frobenius would be 10
    assert describe(np.ones((1, 100)) * 0.5).spectral_norm_bound == pytest.approx(5, rel=2.0**-40)
    ragged = np.array([[1.0, 1.0], [1.0, 0.0]])  # the golden ratio; the others would be sqrt 3 and 2
    assert describe(ragged).spectral_norm_bound == pytest.approx((1 + math.sqrt(5)) / 2, rel=2.0**-40)


@given(matrices, st.integers(-300, 300))
def test_shapes_do_not_see_the_scale(weights, shift):
    found, scaled = describe(weights), describe(np.ldexp(weights, shift))
    if np.array_equal(np.ldexp(np.ldexp(weights, shift), -shift), weights):  # nothing fell into the subnormals
        assert (scaled.gini, scaled.excess_kurtosis, scaled.tail_curve) == (found.gini, found.excess_kurtosis, found.tail_curve)
        assert scaled.stable_rank_floor == found.stable_rank_floor
