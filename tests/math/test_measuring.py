import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ellq_math.measuring import cut_mask, fixed_units, keep_largest, keep_within, measure, tails
from ellq_math.powers import POWER_ROUNDINGS
from ellq_math.sums import UNIT_ROUNDOFF, sum_roundings
from ellq_math.values import Cut, FixedPoint

ORDERS = (0.3, 1.0, 2.0)
ties = st.integers(0, 3).map(float)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 11))
tied_rows = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=ties))
any_double = st.floats(0, allow_infinity=False)


@given(shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(0, 2.0**100, width=32))))
def test_a_measured_row_is_what_a_loop_over_it_finds(rows):
    stats = measure(rows, ORDERS, scale=False)
    roundings = sum_roundings(rows.shape[1]) + POWER_ROUNDINGS + 4  # 4: pow and fsum of the platform
    for index, row in enumerate(rows.tolist()):
        expected = [math.fsum(w**order for w in row) for order in ORDERS]
        np.testing.assert_allclose(stats.sums[index], expected, rtol=2 * roundings * UNIT_ROUNDOFF)
        assert stats.max_magnitude[index] == max(row)
        assert stats.zeros[index] == row.count(0.0)
    assert (stats.fan_in, stats.exponents.tolist()) == (rows.shape[1], [0] * len(rows))


@given(shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=any_double)))
def test_scaled_sums_lie_between_a_half_and_the_count(rows):
    stats = measure(rows, ORDERS, scale=True)
    for row, sums, exponent in zip(rows, stats.sums, stats.exponents.tolist(), strict=True):
        if row.max() == 0:
            assert sums.tolist() == [0, 0, 0]
        else:
            assert 0.5 <= Fraction(row.max()) / Fraction(2) ** exponent < 1
            assert all(0.25 <= found <= len(row) for found in sums)


@given(tied_rows, st.data())
def test_a_cut_keeps_the_first_of_a_stable_sort_in_every_group(rows, data):
    neurons, fan_in = rows.shape
    width = data.draw(st.integers(1, fan_in))
    starts = range(0, fan_in, width)
    counts = st.tuples(*(st.integers(0, min(width, fan_in - start)) for start in starts))
    kept = np.array([data.draw(counts) for _ in range(neurons)])
    cut = keep_largest(rows, kept, width=width)
    expected = np.ones(rows.shape, dtype=bool)
    for index, row in enumerate(rows):
        for group, start in enumerate(starts):
            order = sorted(range(start, min(start + width, fan_in)), key=lambda i: (-row[i], i))
            expected[index, order[: kept[index, group]]] = False
    assert cut_mask(rows, cut).tolist() == expected.tolist()
    assert cut.kept.tolist() == kept.tolist()


def test_a_cut_names_its_threshold_and_the_ties_it_keeps():
    rows = np.array([[1.0, 2.0, 2.0, 3.0], [0.0, 0.0, 5.0, 0.0]])
    cut = keep_largest(rows, np.array([[2], [3]]), width=4)
    assert (cut.threshold.tolist(), cut.ties_kept.tolist()) == ([[2.0], [0.0]], [[1], [2]])
    nothing = keep_largest(rows, np.array([[0], [0]]), width=4)
    assert (nothing.threshold.tolist(), nothing.ties_kept.tolist()) == ([[np.inf], [np.inf]], [[0], [0]])
    assert cut_mask(rows, nothing).all()


@given(tied_rows, st.integers(0, 40), st.sampled_from([1, 2]))
def test_a_budget_cuts_from_the_smallest_until_the_next_does_not_fit(rows, budget, p):
    fixed = FixedPoint(p=p, exponent=2, bits=2 * p)  # so that a unit is 1: whole weights cost w^p
    cut = keep_within(rows, np.full(len(rows), budget), (fixed,) * len(rows), inexact_square=False)
    for row, kept in zip(rows.tolist(), cut.kept[:, 0].tolist(), strict=True):
        costs = sorted(w**p for w in row)
        assert sum(costs[: len(row) - kept]) <= budget
        assert kept == 0 or sum(costs[: len(row) - kept + 1]) > budget


@given(any_double, st.sampled_from([1, 2]), st.integers(0, 60), st.integers(0, 5))
def test_units_enclose_the_true_share(magnitude, p, bits, headroom):
    exponent = min(math.frexp(magnitude)[1] + headroom, 1024)
    fixed = FixedPoint(p=p, exponent=exponent, bits=bits)
    upper, lower = (int(units[0]) for units in fixed_units(np.array([magnitude]), fixed, inexact_square=True))
    true = (Fraction(magnitude) / Fraction(2) ** exponent) ** p * 2**bits
    assert lower <= true <= upper
    assert (upper == 0) == (magnitude == 0)
    assert upper - lower <= 2 + 3 * true / 2**52  # a ceiling, a floor, and up to one and a half ulps on either side


@given(st.floats(0, 2.0**100, width=32), st.integers(0, 60))
def test_squares_of_short_formats_need_no_slack(magnitude, bits):
    fixed = FixedPoint(p=2, exponent=math.frexp(magnitude)[1], bits=bits)
    upper, lower = (int(units[0]) for units in fixed_units(np.array([magnitude]), fixed, inexact_square=False))
    true = (Fraction(magnitude) / Fraction(2) ** fixed.exponent) ** 2 * 2**bits
    assert lower == math.floor(true)
    assert upper == (max(math.ceil(true), 1) if magnitude else 0)


@given(tied_rows, st.data())
def test_tails_are_those_of_what_was_cut(rows, data):
    assume(rows.any())
    cut = np.array(data.draw(st.lists(st.booleans(), min_size=rows.size, max_size=rows.size))).reshape(rows.shape)
    for scale in (False, True):
        found = tails(rows, cut, scale=scale)
        removed = np.where(cut, rows, 0)
        assert np.ldexp(found.l1, found.exponents).tolist() == removed.sum(axis=1).tolist()  # small whole numbers: exact
        assert np.ldexp(found.l2_squared, 2 * found.exponents).tolist() == (removed**2).sum(axis=1).tolist()
        assert found.zeros.tolist() == (np.where(cut, 0, rows) == 0).sum(axis=1).tolist()


def test_a_threshold_over_all_rows_can_keep_ties_row_by_row():
    rows = np.array([[1.0, 2.0], [2.0, 2.0]])
    cut = Cut(threshold=np.full((2, 1), 2.0), ties_kept=np.array([[1], [0]]), kept=np.array([[1], [0]]), width=2)
    assert cut_mask(rows, cut).tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("scale", [False, True])
def test_no_orders_need_no_sums(scale):
    assert measure(np.ones((3, 2)), (), scale=scale).sums.shape == (3, 0)
