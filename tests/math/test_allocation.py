import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ellq_math import rules
from ellq_math.allocation import GUARD, allocate, fixed_points, pool_target, tail_budgets
from ellq_math.bounds import log_stechkin_constant
from ellq_math.measuring import cut_mask, fixed_units, keep_largest, keep_within, measure
from ellq_math.values import RowStatistics

small_counts = st.lists(st.integers(0, 12), min_size=1, max_size=7).filter(any)
etas = st.sampled_from([0, Fraction(1, 8), Fraction(1, 2), 1, 3])
epsilons = st.sampled_from([Fraction(1, 64), Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(7, 8)])
finite = st.floats(allow_nan=False, allow_infinity=False)


def measured(row, *orders):
    return measure(np.array([row], dtype=np.float64), orders, scale=True)


def kept_by(rule, row, *, ignore_zeros=False):
    return int(allocate(rule, measured(row, *rules.orders_for(rule)), ignore_zeros=ignore_zeros).kept.item())


def kept_within(rule, row, *, inexact_square):
    """The tail rule from end to end: fixed points, budget from lower totals, exact cut. `inexact_square` is that of F64."""
    rows = np.abs(np.array([row], dtype=np.float64))
    fixed = fixed_points(rule, measure(rows, (), scale=True))
    totals = fixed_units(rows, fixed[0], inexact_square=inexact_square)[1].sum(axis=1)
    budgets = tail_budgets(rule, totals)
    return keep_within(rows, budgets, fixed, inexact_square=inexact_square).kept.item()


def exact_tail(row, kept, p):
    return sum(sorted(Fraction(abs(w)) ** p for w in row)[: len(row) - kept])


@given(small_counts, etas)
def test_the_sparsity_index_floor_is_necessary(roots, eta):
    """Whatever set is kept, whose complement holds at most eta of its sum of |w|^(1/2), has at least that many weights.

    Weights are squares, so that sums of |w|^(1/2) are whole numbers.
    """
    floor = kept_by(rules.SparsityIndex(q=0.5, eta=float(eta)), [root**2 for root in roots])
    for count in range(len(roots) + 1):
        for kept in combinations(roots, count):
            if sum(roots) - sum(kept) <= eta * sum(kept):
                assert floor <= count


@given(small_counts, etas)
def test_the_pq_index_floor_is_necessary(weights, eta):
    """The same for p = 1, q = 2: sums of |w|."""
    rule = rules.PqIndex(p=1.0, q=2.0, eta=float(eta), gamma=1.0, beta=1.0)
    floor = allocate(rule, measured(weights, 1.0, 2.0), ignore_zeros=False).kept_floor
    smallest = next(m for m in range(len(weights) + 1) if exact_tail(weights, m, 1) * (1 + eta) <= eta * sum(weights))
    assert floor is not None
    assert floor[0] <= smallest


@pytest.mark.parametrize(
    ("eta", "kept"),
    [(0.0, 64), (1.0, 16), (3.0, 4), (7.0, 1), (1e300, 1)],  # 64 (1 + eta)^-2
)
def test_index_floors_of_a_flat_row(eta, kept):
    flat = [0.7] * 64
    assert kept_by(rules.SparsityIndex(q=0.5, eta=eta), flat) == kept
    for p, q in ((0.5, 1.0), (1.0, 2.0)):
        rule = rules.PqIndex(p=p, q=q, eta=eta, gamma=1.0, beta=1.0)
        assert kept_by(rule, flat) == kept


def test_index_floors_by_hand():
    row = [1.0, 16.0, 81.0, 256.0]  # sum of roots 1 + 4 + 9 + 16 = 30, sum 354: 900 / 354 = 2.54
    assert kept_by(rules.SparsityIndex(q=0.5, eta=0.0), row) == 3
    assert kept_by(rules.SparsityIndex(q=0.5, eta=0.5), row) == 2  # 2.54 / 2.25
    assert kept_by(rules.SparsityIndex(q=0.5, eta=1.0), row) == 1  # 2.54 / 4


@pytest.mark.parametrize(
    ("gamma", "beta", "kept"),
    [(1.0, 0.9, 1), (1.0, 1.0, 1), (0.5, 0.9, 6), (2.0, 1.0, 0), (1.0, 0.35, 7)],
)
def test_pq_index_prunes_a_clipped_share_of_what_its_floor_leaves(gamma, beta, kept):
    """One weight and nine zeros: r = 1, so 9 of 10 could go; gamma scales that, beta caps it."""
    rule = rules.PqIndex(p=0.5, q=1.0, eta=0.0, gamma=gamma, beta=beta)
    allocation = allocate(rule, measured([1.0] + [0.0] * 9, 0.5, 1.0), ignore_zeros=False)
    assert allocation.kept_floor is not None
    assert allocation.kept_floor.tolist() == [1]
    assert allocation.kept.tolist() == [[kept]]


@given(st.integers(1, 10**6), st.integers(1, 999))
@example(100, 290)  # 28.999999999999996 in floating point
def test_a_fraction_in_thousandths_prunes_what_arithmetic_says(weights, thousandths):
    rule = rules.Fraction(pruned_ratio=thousandths / 1000)
    stats = measure(np.ones((1, 1)), (), scale=False)
    row = type(stats)(**vars(stats) | {"fan_in": weights})
    assert allocate(rule, row, ignore_zeros=False).kept.item() == weights - weights * thousandths // 1000


def test_zeros_do_not_count_when_they_are_ignored():
    row = [0.0] * 6 + [1.0, 2.0, 3.0, 4.0]
    assert kept_by(rules.Fraction(pruned_ratio=0.5), row) == 5
    assert kept_by(rules.Fraction(pruned_ratio=0.5), row, ignore_zeros=True) == 2
    rule = rules.PqIndex(p=0.5, q=1.0, eta=0.0, gamma=0.5, beta=1.0)
    assert kept_by(rule, row) == 10 - 3  # r = 4 of 10: half of 6
    assert kept_by(rule, row, ignore_zeros=True) == 4


@pytest.mark.parametrize(
    ("fan_in", "width", "kept"),
    [(8, 4, [2, 2]), (9, 4, [2, 2, 1]), (11, 4, [2, 2, 2]), (3, 3, [2]), (1, 1, [1])],
)
def test_n_of_m_keeps_up_to_n_of_a_short_last_group(fan_in, width, kept):
    allocation = allocate(rules.NOfM(n=2, m=4), measure(np.ones((2, fan_in)), (), scale=False), ignore_zeros=False)
    assert (allocation.width, allocation.kept.tolist(), allocation.kept_floor) == (width, [kept, kept], None)


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=9), epsilons, st.sampled_from([1, 2]))
def test_the_tail_rule_keeps_the_smallest_count_that_fits(row, epsilon, p):
    """Brute force in fractions. Whole numbers below 32 are fixed-point numbers, so no resolution is lost.

    As weights of a short format, whose squares are exact: the slack for squares of F64 may keep one more at a tie.
    """
    norm = exact_tail(row, 0, p)
    smallest = next(m for m in range(len(row) + 1) if exact_tail(row, m, p) <= epsilon**p * norm)
    assert kept_within(rules.Tail(epsilon=float(epsilon), p=p), row, inexact_square=False) == smallest


@given(st.lists(finite, min_size=1, max_size=30), st.floats(1e-6, 0.999), st.sampled_from([1, 2]))
def test_the_tail_rule_never_breaks_its_promise(row, epsilon, p):
    """For any doubles: what is cut is at most epsilon of the norm, and one weight more would not have fitted.

    The second within the resolution: units are 2^-bits, one for each weight, and squares are within 2^-51.
    """
    kept = kept_within(rules.Tail(epsilon=epsilon, p=p), row, inexact_square=True)
    norm = exact_tail(row, 0, p)
    budget = Fraction(epsilon) ** p * norm
    assert exact_tail(row, kept, p) <= budget
    if kept:
        resolution = Fraction(2 * len(row), 2 ** (61 - len(row).bit_length())) * (2 * Fraction(max(map(abs, row)))) ** p
        assert exact_tail(row, kept - 1, p) > budget * (1 - Fraction(1, 2**49)) - resolution


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=40),
    st.floats(0.01, 0.99),
    st.floats(0.05, 0.999),
    st.sampled_from([1, 2]),
)
def test_the_lq_bound_count_is_sufficient(row, epsilon, q, p):
    kept = kept_by(rules.LqBound(epsilon=epsilon, q=q, p=p), np.abs(row))
    assert exact_tail(row, kept, p) <= Fraction(epsilon) ** p * exact_tail(row, 0, p)


@given(st.lists(st.floats(0, 2.0**100, width=32), min_size=1, max_size=40), st.floats(0.05, 0.95))
def test_the_lq_bound_never_keeps_fewer_than_the_exact_tail_needs(row, epsilon):
    needed = kept_within(rules.Tail(epsilon=epsilon, p=2), row, inexact_square=False)
    assert kept_by(rules.LqBound(epsilon=epsilon, q=0.5, p=2), row) >= needed


def test_the_lq_bound_of_a_flat_row_is_tight_where_the_theorem_is():
    """q = 1/2, p = 1, c = 1/4: M = d / (4 epsilon), and at epsilon = 1/2 that is the half that is needed."""
    flat = [1.0] * 4096
    assert kept_by(rules.LqBound(epsilon=0.5, q=0.5, p=1), flat) == 2049  # the guard costs one where the count is whole
    assert kept_by(rules.LqBound(epsilon=0.3, q=0.5, p=1), flat) == 3414  # 3413.3
    assert kept_by(rules.LqBound(epsilon=0.1, q=0.5, p=1), flat) == 4096


def test_budgets_are_exact_beyond_doubles():
    totals = np.array([2**61, 2**61 - 1, 0])
    assert tail_budgets(rules.Tail(epsilon=0.5, p=1), totals).tolist() == [2**60, 2**60 - 1, 0]
    assert tail_budgets(rules.Tail(epsilon=0.5, p=2), totals).tolist() == [2**59, 2**59 - 1, 0]


@pytest.mark.parametrize("count", [1, 2, 1023, 1024, 10**9])
def test_no_fixed_point_total_exceeds_its_bits(count):
    stats = measure(np.array([[3.0]]), (), scale=False)
    row = type(stats)(**vars(stats) | {"fan_in": count})
    fixed = fixed_points(rules.Tail(epsilon=0.5, p=2), row)[0]
    assert fixed.exponent == 2
    largest = fixed_units(np.array([np.nextafter(4.0, 0)]), fixed, inexact_square=True)[0].item()
    assert count * largest <= 2**61
    assert 2 * count * 2 * largest > 2**61  # and no bit is wasted


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.data())
def test_kept_largest_are_the_first_of_a_stable_sort(row, data):
    kept = data.draw(st.integers(0, len(row)))
    rows = np.array([row], dtype=np.float64)
    cut = keep_largest(rows, np.array([[kept]]), width=len(row))
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))
    assert np.flatnonzero(~cut_mask(rows, cut)[0]).tolist() == sorted(order[:kept])


def of_power_sums(lower, upper, *, q):
    """Statistics of a row of 4096 weights, the half of them zeros, with these sums of orders q and 1."""
    whole = np.zeros(1, np.int64)
    sums = np.array([[lower, upper]])
    return RowStatistics((q, 1.0), sums, exponents=whole, max_magnitude=np.ones(1), zeros=whole + 2048, fan_in=4096)


@pytest.mark.parametrize("q", [0.05, 0.5, 0.999])
def test_the_guard_of_a_necessary_count_covers_what_close_orders_make_of_a_rounding(q):
    """1024 equal weights, whose first sum came out too large by half of what the guard allows for."""
    off = of_power_sums(1024 * (1 + GUARD / 2), 1024.0, q=q)
    assert allocate(rules.SparsityIndex(q=q, eta=0.0), off, ignore_zeros=False).kept.item() <= 1024


@pytest.mark.parametrize("q", [0.05, 0.5, 0.999])
def test_the_guard_of_a_sufficient_count_covers_what_close_orders_make_of_a_rounding(q):
    """A row that needs just more than 1023 weights, whose first sum came out too small by half of what the guard allows for."""
    rule = rules.LqBound(epsilon=0.5, q=q, p=1)
    loss = (log_stechkin_constant(q=q, p=1) - math.log(0.5)) / (1 / q - 1)
    needed = math.exp((math.log(1023) - loss) * (1 - q))  # the sum of order q that needs 1023 beside a sum of 1
    off = of_power_sums(needed * (1 + GUARD / 4) * (1 - GUARD / 2), 1.0, q=q)
    assert allocate(rule, off, ignore_zeros=False).kept.item() >= 1024


@pytest.mark.parametrize("p", [1, 2])
def test_a_pool_within_a_tail_may_lose_the_power_of_its_share(p):
    target = pool_target(rules.Tail(epsilon=0.25, p=p), measured([1.0, 2.0, 3.0]), ignore_zeros=False)
    assert (target.share, target.weights, target.units.p) == (Fraction(1, 4**p), 3, p)
