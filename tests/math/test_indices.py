import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ellq_math.indices import hoyer, l1_norm, l2_norm, power_sum, pq_index, sparsity_index
from ellq_math.measuring import measure

LOG_ERROR = 2.0**-40
"""Largest relative error of an effective count at sensitivity 1 (derived at allocation.GUARD)."""

rows = arrays(np.float64, st.tuples(st.just(1), st.integers(1, 40)), elements=st.floats(0, 2.0**50, width=32))
quasi_orders = st.floats(0.05, 0.9)


def si(row, q):
    return sparsity_index(measure(row, (q, 1.0), scale=False), q=q, ignore_zeros=False)[0]


def pqi(row, p, q):
    return pq_index(measure(row, (p, q), scale=False), p=p, q=q, ignore_zeros=False)[0]


def index_error(q):
    """An index is d over the effective count to the power 1/q - 1; its relative error is that of its log."""
    return LOG_ERROR / (1 - q) * (1 / q - 1)


@given(rows, quasi_orders)
def test_si_is_one_for_flat_rows_and_at_most_what_a_single_weight_has(row, q):
    largest = row.size ** (1 / q - 1)
    assert 1 <= si(row, q) <= largest * (1 + index_error(q))


@given(rows, quasi_orders)
def test_pqi_is_in_zero_to_one(row, p):
    assert 0 <= pqi(row, p, 1.0) < 1


@given(rows, quasi_orders, st.integers(-40, 40))
def test_indices_do_not_see_the_scale(row, q, shift):
    assert si(np.ldexp(row, shift), q) == pytest.approx(si(row, q), rel=2 * index_error(q))


@given(rows, quasi_orders)
def test_indices_do_not_see_a_clone(row, q):
    assert si(np.concatenate([row, row], axis=1), q) == pytest.approx(si(row, q), rel=2 * index_error(q))
    assert pqi(np.concatenate([row, row], axis=1), q, 2.0) == pytest.approx(pqi(row, q, 2.0), abs=2 * index_error(q))


@given(rows, quasi_orders)
def test_the_two_indices_are_one(row, q):
    assert pqi(row, q, 1.0) == pytest.approx(1 - 1 / si(row, q), abs=2 * index_error(q))


@given(rows, quasi_orders)
def test_scaled_statistics_give_the_same_indices(row, q):
    scaled = sparsity_index(measure(row, (q, 1.0), scale=True), q=q, ignore_zeros=False)
    assert scaled[0] == pytest.approx(si(row, q), rel=2 * index_error(q))


@given(rows, quasi_orders)
def test_a_row_without_its_zeros_is_a_shorter_row(row, q):
    weights = row[row > 0].reshape(1, -1)
    if weights.size:
        found = sparsity_index(measure(row, (q, 1.0), scale=False), q=q, ignore_zeros=True)[0]
        assert found == pytest.approx(si(weights, q), rel=2 * index_error(q))


def test_small_rows_by_hand():
    stats = measure(np.array([[1.0, 4.0, 9.0, 0.0]]), (0.5, 1.0, 2.0), scale=False)
    assert power_sum(stats, 0.5)[0] ** 2 == pytest.approx(36, rel=2.0**-45)  # (1 + 2 + 3)^2
    assert l1_norm(stats)[0] == 14
    assert l2_norm(stats)[0] == math.sqrt(98)
    assert si(np.array([[1.0, 4.0, 9.0, 0.0]]), 0.5) == pytest.approx(4 * 14 / 36, rel=2.0**-40)
    assert pqi(np.array([[1.0, 4.0, 9.0, 0.0]]), 1.0, 2.0) == pytest.approx(1 - 14 / math.sqrt(98) / 2, abs=2.0**-40)
    assert hoyer(stats, ignore_zeros=False)[0] == pytest.approx(2 - 14 / math.sqrt(98), abs=2.0**-45)
    expected = (math.sqrt(3) - 14 / math.sqrt(98)) / (math.sqrt(3) - 1)
    assert hoyer(stats, ignore_zeros=True)[0] == pytest.approx(expected, abs=2.0**-45)


@pytest.mark.parametrize(("p", "q", "exact"), [(1.0, 2.0, 1 - 1 / math.sqrt(2)), (0.5, 1.0, 1 - math.pi / 4)])
def test_laplace_weights_have_the_exact_index(p, q, exact):
    uniform = np.random.default_rng(4).random((1, 10**6))
    weights = -np.log1p(-uniform)  # the magnitudes of a Laplace distribution
    assert pqi(weights, p, q) == pytest.approx(exact, abs=6 * standard_error(weights, p, q))


def test_gaussian_weights_have_the_exact_index():
    weights = np.abs(np.random.default_rng(5).standard_normal((1, 10**6)))
    assert pqi(weights, 1.0, 2.0) == pytest.approx(1 - math.sqrt(2 / math.pi), abs=6 * standard_error(weights, 1.0, 2.0))


def standard_error(weights, p, q):
    """Delta method: log(1 - PQI) = log mean |w|^p / p - log mean |w|^q / q. Six of these are exceeded once in 5e8 seeds."""
    influence = weights**p / (p * (weights**p).mean()) - weights**q / (q * (weights**q).mean())
    return influence.std() / math.sqrt(weights.size)


def test_an_order_that_was_not_measured_is_named():
    with pytest.raises(KeyError, match=r"order 0\.7 was not measured"):
        power_sum(measure(np.ones((1, 3)), (0.5, 1.0), scale=False), 0.7)
