import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ellq_math.indices import l2_norm, power_sum
from ellq_math.measuring import measure
from ellq_math.pooling import RESCALE_ROUNDINGS, fold, pool, with_orders
from ellq_math.powers import POWER_ROUNDINGS
from ellq_math.sums import UNIT_ROUNDOFF, sum_roundings

ORDERS = (0.05, 0.5, 1.0, 2.0)
shapes = st.tuples(st.integers(1, 5), st.integers(1, 9))
matrices = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(0, allow_infinity=False)))
moderate = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(0, 2.0**60, width=32)))

SUM_ERROR = 2 * UNIT_ROUNDOFF * (3 * sum_roundings(45) + POWER_ROUNDINGS + RESCALE_ROUNDINGS)
"""Both ways of adding: two sums, a power and a rescaling, from either side of the truth; twice for higher-order terms."""


def log_power_sum(stats, order):
    with np.errstate(divide="ignore"):
        return np.log(power_sum(stats, order)) + stats.exponents.astype(np.float64) * (order * math.log(2))


def assert_same_row(found, expected):
    assert found.fan_in == expected.fan_in
    assert found.zeros == expected.zeros
    assert found.max_magnitude == expected.max_magnitude
    assert found.exponents == expected.exponents
    np.testing.assert_allclose(found.sums, expected.sums, rtol=2 * SUM_ERROR)


@given(matrices)
def test_folded_rows_are_the_statistics_of_one_row(rows):
    """Over all doubles: rows may be 2^2000 apart."""
    assert_same_row(fold(measure(rows, ORDERS, scale=True)), measure(rows.reshape(1, -1), ORDERS, scale=True))


@given(moderate)
def test_folding_unscaled_rows_only_adds(rows):
    stats = measure(rows, ORDERS, scale=False)
    folded = fold(stats)
    assert folded.exponents.tolist() == [0]
    np.testing.assert_allclose(folded.sums[0], stats.sums.sum(axis=0), rtol=SUM_ERROR)


@given(moderate, matrices)
def test_pooled_tensors_are_one_row_whatever_their_scaling(first, second):
    parts = [fold(measure(first, ORDERS, scale=False)), fold(measure(second, ORDERS, scale=True))]
    pooled = pool(parts)
    together = measure(np.concatenate([first.ravel(), second.ravel()]).reshape(1, -1), ORDERS, scale=True)
    assert (pooled.fan_in, pooled.zeros, pooled.max_magnitude) == (together.fan_in, together.zeros, together.max_magnitude)
    for order in ORDERS:
        found, expected = log_power_sum(pooled, order)[0], log_power_sum(together, order)[0]
        if found != expected:  # infinities are
            assert found == pytest.approx(expected, abs=2 * SUM_ERROR, rel=2.0**-48)  # a few roundings of the log


def test_one_row_is_folded_to_itself():
    stats = measure(np.array([[1.0, 0.0, 7.0]]), ORDERS, scale=True)
    assert fold(stats).sums.tolist() == stats.sums.tolist()
    assert pool([stats]).sums.tolist() == stats.sums.tolist()


def test_statistics_can_be_had_with_fewer_orders():
    rows = np.array([[1.0, 0.0, 7.0], [2.0, 3.0, 5.0]])
    found = with_orders(measure(rows, ORDERS, scale=True), (0.5, 2.0))
    expected = measure(rows, (0.5, 2.0), scale=True)
    assert (found.orders, found.sums.tolist()) == (expected.orders, expected.sums.tolist())


def test_what_cannot_be_pooled_is_refused():
    one = measure(np.ones((1, 3)), ORDERS, scale=False)
    with pytest.raises(ValueError, match="same orders"):
        pool([one, measure(np.ones((1, 3)), (1.0,), scale=False)])
    with pytest.raises(ValueError, match="one-row"):
        pool([one, measure(np.ones((2, 3)), ORDERS, scale=False)])


def test_norms_of_rows_far_apart_are_those_of_the_larger():
    rows = np.array([[1e-200, 1e-200], [3e200, 4e200]])
    assert l2_norm(fold(measure(rows, ORDERS, scale=True)))[0] == pytest.approx(5e200, rel=2.0**-50)
