import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ellq_math.bounds import log_stechkin_constant, tail_bound
from ellq_math.measuring import measure
from ellq_math.powers import POWER_ROUNDINGS
from ellq_math.sums import UNIT_ROUNDOFF, sum_roundings
from ellq_math.values import RowStatistics

rows = st.lists(st.floats(0, allow_infinity=False, allow_nan=False), min_size=1, max_size=30)


def bound(row, kept, q, p):
    stats = measure(np.array([row], dtype=np.float64), (q, float(p)), scale=True)
    return float(tail_bound(stats, np.array([kept]), q=q, p=p)[0])


def stechkin_constant(q, p):
    return math.exp(log_stechkin_constant(q=q, p=p))


def exact_tail_power(row, kept, p):
    return sum(sorted(Fraction(w) ** p for w in row)[: len(row) - kept])


@given(rows, st.floats(0.05, 0.999), st.sampled_from([1, 2]), st.data())
def test_stechkin_covers_the_true_tail(row, q, p, data):
    kept = data.draw(st.integers(0, len(row)))
    covered = bound(row, kept, q, p)
    assume(covered < math.inf)
    assert Fraction(covered) ** p >= exact_tail_power(row, kept, p)


@given(rows, st.floats(0.05, 0.999), st.sampled_from([1, 2]))
def test_a_bound_falls_as_more_is_kept_and_ends_at_zero(row, q, p):
    bounds = [bound(row, kept, q, p) for kept in range(len(row) + 1)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[sum(w > 0 for w in row)] == 0


@pytest.mark.parametrize(("q", "p", "constant"), [(0.5, 1, 1 / 4), (1, 2, 1 / 2), (0.5, 2, 3**1.5 / 16)])
def test_known_constants(q, p, constant):
    """(1/2, 2): x = 1/4, [x^x (3/4)^(3/4)]^2 = (1/2) (3/4)^(3/2) = 3^(3/2) / 16. A few roundings of logs below 2 each."""
    assert stechkin_constant(q, p) == pytest.approx(constant, rel=2.0**-48)


@given(st.floats(0.05, 0.999), st.sampled_from([1, 2]), st.integers(1, 400))
def test_no_smaller_constant_would_do_for_flat_rows(q, p, half):
    """The supremum over M/d of (1 - x)^(1/p) x^(1/q - 1/p) is c, at x = 1 - q/p: flat rows come as near as M/d comes to it."""
    count = 2 * half
    kept = max(1, round(count * (1 - q / p)))
    attained = (1 - kept / count) ** (1 / p) * (kept / count) ** (1 / q - 1 / p)
    assert attained <= stechkin_constant(q, p) * (1 + 2.0**-45)


def test_the_bound_is_tight_for_half_of_a_flat_row():
    exact = 32.0
    found = bound([1.0] * 64, 32, 0.5, 1)
    assert exact <= found <= exact * (1 + 2.0**-40)


@pytest.mark.parametrize("p", [1, 2])
def test_keeping_nothing_bounds_by_the_norm(p):
    norm = sum(w**p for w in (3.0, 4.0, 12.0)) ** (1 / p)
    assert norm <= bound([3.0, 4.0, 12.0], 0, 0.5, p) <= norm * (1 + 2.0**-40)


@pytest.mark.parametrize("p", [1, 2])
def test_logs_of_large_sums_are_paid_for(p):
    """Weights of 32 bits are not scaled: logs of sums near 2^254 are off by more than the sums' own roundings."""
    weights = np.array([[3.0, 4.0, 12.0]]) * 2.0**123
    stats = measure(weights, (0.5, float(p)), scale=False)
    found = float(tail_bound(stats, np.array([0]), q=0.5, p=p)[0])
    assert Fraction(found) ** p >= sum(Fraction(w) ** p for w in weights[0].tolist())


def test_the_bound_is_never_above_the_norm():
    """Stechkin at M = 1 alone would give c ||w||_q: 16 for 64 equal weights at q = 1/2, p = 2 would be above 8."""
    assert bound([1.0] * 64, 1, 0.5, 2) <= 8 * (1 + 2.0**-40)


def test_one_kept_weight_is_enough_for_stechkin():
    """c = 1/4 at (1/2, 1), and the second weight adds 2^-19 to ||w||_q: far below the norm 1."""
    assert bound([1.0, 2.0**-40], 1, 0.5, 1) <= 0.25 * (1 + 2.0**-18)


@pytest.mark.parametrize("q", [0.05, 0.5])
def test_a_bound_pays_for_every_rounding_of_the_power_sum_it_comes_from(q):
    """A sum of |w|^q of 1 that three sums and the powers have made smaller by an ulp for each rounding: ||w||_q is still 1."""
    roundings = 3 * sum_roundings(4) + POWER_ROUNDINGS
    sums = np.array([[(1 - UNIT_ROUNDOFF) ** roundings, 1.0]])
    none, one = np.zeros(1, np.int64), np.ones(1)
    stats = RowStatistics(orders=(q, 1.0), sums=sums, exponents=none, max_magnitude=one, zeros=none, fan_in=4)
    assert tail_bound(stats, np.array([1]), q=q, p=1)[0] >= stechkin_constant(q, 1)
