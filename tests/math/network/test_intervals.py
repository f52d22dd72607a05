import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ellq_math.network.box_steps import Bounds
from ellq_math.network.intervals import LARGEST, Interval, centre_and_radius, l2_norm, point

numbers = st.floats(-LARGEST, LARGEST)


@st.composite
def intervals(draw):
    low, high = sorted((draw(numbers), draw(numbers)))
    return Interval(np.array(low), np.array(high))


@given(intervals(), intervals())
def test_sums_and_differences_hold_the_exact_ones(one, other):
    total, difference = one + other, one - other
    ends = [Fraction(float(end)) for end in (one.low, one.high, other.low, other.high)]
    assert Fraction(float(total.low)) <= ends[0] + ends[2]
    assert Fraction(float(total.high)) >= ends[1] + ends[3]
    assert Fraction(float(difference.low)) <= ends[0] - ends[3]
    assert Fraction(float(difference.high)) >= ends[1] - ends[2]


@given(intervals())
# Its middle is no double: one end is twice as far as the other
@example(Interval(np.array(1.0), np.array(1.0 + 3 * 2.0**-52)))
def test_a_radius_reaches_both_ends(interval):
    centre, radius = (Fraction(float(found)) for found in centre_and_radius(interval))
    assert centre - radius <= Fraction(float(interval.low))
    assert centre + radius >= Fraction(float(interval.high))


@given(st.lists(st.floats(0, LARGEST), min_size=1, max_size=20))
def test_an_l2_norm_is_never_below_the_exact_one(magnitudes):
    assert Fraction(l2_norm(np.array(magnitudes))) ** 2 >= sum(Fraction(one) ** 2 for one in magnitudes)


@pytest.mark.parametrize("end", [math.nextafter(LARGEST, math.inf), math.inf, math.nan])
def test_what_has_overflowed_anywhere_is_not_finite(end):
    fine = point(np.ones(2))
    for broken in (Interval(np.array([0.0, 0.0]), np.array([1.0, end])), Interval(np.array([-end, 0.0]), np.ones(2))):
        for place in range(3):
            parts = [fine, fine, fine]
            parts[place] = broken
            assert not Bounds(*parts).is_finite()
    assert Bounds(fine, fine, fine).is_finite()


def test_bounds_are_narrowed_by_each_other():
    before, wide, error = (Interval(np.array([low]), np.array([high])) for low, high in ((0.0, 1.0), (-9.0, 9.0), (-1.0, 1.0)))
    after = Bounds(before, wide, error).settled().after
    assert (after.low[0], after.high[0]) == pytest.approx((-1, 2))
    narrow = Bounds(before, Interval(np.array([0.5]), np.array([0.75])), wide).settled().error
    assert (narrow.low[0], narrow.high[0]) == pytest.approx((-0.5, 0.75))
