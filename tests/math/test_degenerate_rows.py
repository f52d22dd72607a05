"""Rows that break formulas: they are in the definitions, so they come first."""

import math
from dataclasses import replace

import numpy as np
import pytest

from ellq_math.allocation import allocate, fixed_points, tail_budgets
from ellq_math.bounds import tail_bound
from ellq_math.certificates import certify_layer, certify_neurons
from ellq_math.indices import hoyer, l1_norm, l2_norm, power_sum, pq_index, sparsity_index
from ellq_math.measuring import cut_mask, fixed_units, keep_within, measure, tails
from ellq_math.pooling import fold
from ellq_math.rules import Fraction, LqBound, PqIndex, SparsityIndex, Tail

TINY, HUGE = 5e-324, 1.7976931348623157e308
ORDERS = (0.05, 0.5, 1.0, 2.0)

FLAT_ROWS = [[1.0] * 8, [3e-38] * 7, [TINY] * 5, [HUGE] * 6, [HUGE]]
SINGLE_WEIGHTS = [[0.0, 0.0, 5.0, 0.0], [TINY, 0.0], [0.0, HUGE], [2.0]]


def measured(row):
    return measure(np.array([row]), ORDERS, scale=True)


@pytest.mark.parametrize("scale", [False, True])
def test_a_zero_row_is_flat_and_costs_nothing(scale):
    stats = measure(np.zeros((1, 6)), ORDERS, scale=scale)
    assert (stats.zeros[0], stats.exponents[0], stats.max_magnitude[0]) == (6, 0, 0)
    for ignore_zeros in (False, True):
        assert sparsity_index(stats, q=0.5, ignore_zeros=ignore_zeros) == 1
        assert pq_index(stats, p=0.5, q=1.0, ignore_zeros=ignore_zeros) == 0
        assert hoyer(stats, ignore_zeros=ignore_zeros) == 0
    assert l1_norm(stats) == l2_norm(stats) == 0
    assert power_sum(stats, 0.5) == power_sum(stats, 1.0) == 0
    assert tail_bound(stats, np.array([0]), q=0.5, p=1) == 0


@pytest.mark.parametrize(
    ("rule", "kept", "kept_of_nonzero"),
    [
        (SparsityIndex(q=0.5, eta=0.0), 0, 0),
        (PqIndex(p=0.5, q=1.0, eta=0.0, gamma=1.0, beta=0.9), 6, 0),
        (LqBound(epsilon=0.5, q=0.5, p=1), 0, 0),
        (Fraction(pruned_ratio=0.5), 3, 0),
    ],
)
def test_what_rules_keep_of_a_zero_row(rule, kept, kept_of_nonzero):
    stats = measured([0.0] * 6)
    assert allocate(rule, stats, ignore_zeros=False).kept == kept
    assert allocate(rule, stats, ignore_zeros=True).kept == kept_of_nonzero


@pytest.mark.parametrize("p", [1, 2])
def test_the_tail_rule_cuts_a_zero_row_whole(p):
    rows = np.zeros((1, 6))
    rule = Tail(epsilon=0.5, p=p)
    fixed = fixed_points(rule, measure(rows, (), scale=True))
    budgets = tail_budgets(rule, fixed_units(rows, fixed[0], inexact_square=True)[1].sum(axis=1))
    cut = keep_within(rows, budgets, fixed, inexact_square=True)
    assert (cut.kept.item(), cut.threshold.item(), cut.ties_kept.item()) == (0, math.inf, 0)


@pytest.mark.parametrize("row", FLAT_ROWS)
def test_a_flat_row_has_the_indices_of_no_sparsity_and_is_kept_whole(row):
    stats = measured(row)
    rounding = 2.0**-40  # the error of logs that allocation guards against, which is above that of an index
    assert sparsity_index(stats, q=0.5, ignore_zeros=False) == pytest.approx(1, abs=rounding)
    assert pq_index(stats, p=0.5, q=1.0, ignore_zeros=False) == pytest.approx(0, abs=rounding)
    assert allocate(SparsityIndex(q=0.5, eta=0.0), stats, ignore_zeros=False).kept == len(row)


@pytest.mark.parametrize("row", SINGLE_WEIGHTS)
def test_a_single_weight_has_the_largest_index_and_is_all_that_is_kept(row):
    stats = measured(row)
    assert sparsity_index(stats, q=0.5, ignore_zeros=False) == pytest.approx(len(row), rel=2.0**-40)
    assert pq_index(stats, p=0.5, q=1.0, ignore_zeros=False) == pytest.approx(1 - 1 / len(row), abs=2.0**-40)
    assert hoyer(stats, ignore_zeros=False) == (1 if len(row) > 1 else 0)
    assert sparsity_index(stats, q=0.5, ignore_zeros=True) == 1
    assert allocate(SparsityIndex(q=0.5, eta=3.0), stats, ignore_zeros=False).kept == 1
    assert allocate(LqBound(epsilon=0.9, q=0.5, p=2), stats, ignore_zeros=True).kept == 1


def test_an_index_beyond_a_double_is_infinite():
    weights = 10**17
    one = measure(np.ones((1, 1)), (0.05, 1.0), scale=True)
    one_of_many = replace(one, zeros=np.array([weights - 1]), fan_in=weights)
    assert sparsity_index(one_of_many, q=0.05, ignore_zeros=False) == math.inf  # 10^(17 * 19)
    assert sparsity_index(one_of_many, q=0.05, ignore_zeros=True) == 1


def test_norms_beyond_a_double_are_infinite_and_certified_so():
    rows = np.full((2, 4), HUGE)
    stats = measure(rows, ORDERS, scale=True)
    assert l1_norm(stats).tolist() == l2_norm(stats).tolist() == [math.inf, math.inf]
    everything = tails(rows, np.ones((2, 4), dtype=bool), scale=True)
    assert certify_neurons(everything, fan_in=4).tail_l1.tolist() == [math.inf, math.inf]
    layer = certify_layer(everything, stats, replaced=False)
    assert (layer.frobenius, layer.frobenius_ratio) == (math.inf, 1.0)


def test_the_smallest_double_is_certified_although_its_square_is_no_double():
    rows = np.array([[TINY, TINY], [0.0, TINY]])
    stats = measure(rows, ORDERS, scale=True)
    assert l2_norm(stats)[1] == TINY
    layer = certify_layer(tails(rows, rows > 0, scale=True), stats, replaced=False)
    assert layer.tail_l1_max >= 2 * TINY
    assert layer.frobenius >= 2 * TINY  # sqrt(3) ulps lie between one and two
    assert layer.frobenius_ratio == 1.0


def test_rows_without_weights_have_no_say_in_the_common_scale():
    """A zero row has exponent 0; taken as the common scale it would turn the square of 1e-300 into nothing."""
    rows = np.array([[0.0, 0.0], [1e-300, 1e-300]])
    stats = measure(rows, ORDERS, scale=True)
    folded = fold(stats)
    assert l2_norm(folded)[0] == pytest.approx(math.sqrt(2) * 1e-300, rel=2.0**-50)
    layer = certify_layer(tails(rows, rows > 0, scale=True), stats, replaced=False)
    assert layer.frobenius >= math.sqrt(2) * 1e-300


def test_nothing_cut_is_certified_as_zero():
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    layer = certify_layer(
        tails(rows, np.zeros((2, 2), dtype=bool), scale=False), measure(rows, ORDERS, scale=False), replaced=False
    )
    assert (layer.tail_l1_max, layer.tail_l2_max, layer.frobenius, layer.frobenius_ratio) == (0, 0, 0, 0)


def test_a_cut_of_a_tie_keeps_the_lower_index():
    rows = np.array([[2.0, 1.0, 1.0, 1.0]])
    rule = Tail(epsilon=0.4, p=1)  # budget 2 of 5: exactly two of the ones
    fixed = fixed_points(rule, measure(rows, (), scale=False))
    budgets = tail_budgets(rule, fixed_units(rows, fixed[0], inexact_square=False)[1].sum(axis=1))
    cut = keep_within(rows, budgets, fixed, inexact_square=False)
    assert cut_mask(rows, cut).tolist() == [[False, False, True, True]]
