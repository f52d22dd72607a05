import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.powers import power
from ellq_math.sums import CHUNK, LANES, UNIT_ROUNDOFF, canonical_sum, round_down, round_up, sum_roundings

COUNTS = (1, LANES - 1, LANES, LANES + 1, CHUNK - 1, CHUNK, CHUNK + 1, 5000, CHUNK * CHUNK + 1)


def heavy_tailed(count, seed=0):
    return np.exp(8 * np.random.default_rng(seed).standard_normal(count))


def test_an_empty_sum_is_zero():
    assert canonical_sum(np.zeros((3, 0))).tolist() == [0, 0, 0]


@pytest.mark.parametrize("count", COUNTS)
def test_the_sum_is_within_its_roundings_of_the_exact_one(count):
    terms = heavy_tailed(count)
    exact = math.fsum(terms)  # itself within one rounding; one more for the product below
    allowed = math.expm1((sum_roundings(count) + 2) * math.log1p(UNIT_ROUNDOFF)) * exact
    assert abs(canonical_sum(terms) - exact) <= allowed


@pytest.mark.parametrize("count", COUNTS[:-1])
def test_padding_with_zeros_changes_no_bit(count):
    terms = heavy_tailed(count)
    for padding in (1, LANES, CHUNK, CHUNK * 3 + 7):
        assert canonical_sum(np.concatenate([terms, np.zeros(padding)])) == canonical_sum(terms)


def test_rows_are_added_each_for_itself():
    rows = heavy_tailed(7 * 1500).reshape(7, 1500)
    assert canonical_sum(rows).tolist() == [float(canonical_sum(row)) for row in rows]


def test_the_order_is_the_documented_one():
    """Lanes of 16 down a chunk, then halves of the lanes: a naive twin."""
    terms = heavy_tailed(CHUNK)
    lanes = [0.0] * LANES
    for position, term in enumerate(terms.tolist()):
        lanes[position % LANES] += term
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [lanes[i] + lanes[i + half] for i in range(half)]
    assert canonical_sum(terms) == lanes[0]


def test_no_bit_of_sums_and_powers_ever_changes():
    """Whoever changes the order or the power changes kept counts everywhere. If that is meant, record the new digest."""
    terms = np.ldexp(np.random.default_rng(1).random((9, 3000)), np.arange(9)[:, np.newaxis] * 20 - 90)
    found = [canonical_sum(power(terms, order)) for order in (0.05, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)]
    digest = hashlib.sha256(np.array(found, dtype="<f8").tobytes()).hexdigest()
    assert digest == "a035a54c8cb198c0b0b120672347ee29a69b9884dee2887efec3456851b1d528"


def test_every_level_of_a_sum_adds_the_roundings_of_a_chunk():
    """63 down a lane of 64 terms, and four halvings of the lanes."""
    found = [sum_roundings(count) for count in (0, 1, CHUNK, CHUNK + 1, CHUNK**2, CHUNK**2 + 1, CHUNK**3 + 1)]
    assert found == [67 * levels for levels in (1, 1, 1, 2, 2, 3, 4)]


@given(st.floats(0, 1e300), st.integers(0, 1000))
def test_rounding_outward_covers_every_value_that_many_roundings_away(value, roundings):
    """(1 + u)^r and 1/(1 - u)^r as exact fractions: what `value` may be the rounded form of."""
    u = Fraction(1, 2**53)
    array = np.array([value])
    assert Fraction(float(round_up(array, roundings=roundings)[0])) >= Fraction(value) / (1 - u) ** roundings
    assert Fraction(float(round_down(array, roundings=roundings)[0])) <= Fraction(value) / (1 + u) ** roundings


def test_rounding_outward_keeps_zero_and_infinity():
    assert round_up(np.array([0.0, np.inf]), roundings=5).tolist() == [0, np.inf]
    assert round_down(np.array([0.0, 5e-324]), roundings=5).tolist() == [0, 0]
