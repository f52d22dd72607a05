import math
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.dtypes import WEIGHT_DTYPES, decode
from ellq_math.pool_units import pool_units, scale_bits, units_of, units_within, value_of
from ellq_math.pools import (
    DIGITS,
    START,
    Contradiction,
    KeepCount,
    KeepWithin,
    KeepWithinRoom,
    Threshold,
    bins_are_single,
    count_digits,
    descend,
    merge,
    search,
)
from ellq_math.values import PoolUnits


@st.composite
def mixed_weights(draw):
    """Shards of finite magnitudes of several dtypes, with ties and zeros, and the most mantissa bits among them."""
    shards, mantissa_bits = [], 0
    for name in draw(st.lists(st.sampled_from(sorted(WEIGHT_DTYPES)), min_size=1, max_size=3)):
        dtype = WEIGHT_DTYPES[name]
        infinity = (2 ** (8 * dtype.itemsize - 1 - dtype.mantissa_bits) - 1) << dtype.mantissa_bits
        near = draw(st.integers(0, infinity - 1))
        bits = st.one_of(
            st.sampled_from([0, 1, near]), st.integers(near, min(near + 40, infinity - 1)), st.integers(0, infinity - 1)
        )
        shard = draw(st.lists(bits, min_size=1, max_size=25))
        shards.append(decode(np.array(shard, dtype=dtype.bits), name))
        mantissa_bits = max(mantissa_bits, dtype.mantissa_bits)
    return shards, mantissa_bits


def find(shards, target, mantissa_bits):
    """Descend to the threshold, one pass over all shards for each digit. Return it and the number of passes."""
    passes = []

    def count(descent):
        passes.append(descent)
        counted = (count_digits(w, target.units, level=descent.level, prefix=descent.prefix) for w in shards)
        return reduce(merge, counted)

    return search(count, target, mantissa_bits=mantissa_bits), len(passes)


def plain_threshold(magnitudes, kept):
    if kept == 0:
        return Threshold(magnitude=np.inf, ties_kept=0, kept=0)
    least = sorted(magnitudes, reverse=True)[kept - 1]
    return Threshold(magnitude=least, ties_kept=kept - sum(w > least for w in magnitudes), kept=kept)


@given(mixed_weights(), st.data())
def test_a_count_ends_where_a_plain_sort_does(weights, data):
    shards, mantissa_bits = weights
    magnitudes = np.concatenate(shards).tolist()
    kept = data.draw(st.integers(0, len(magnitudes)))
    target = KeepCount(kept=kept, weights=len(magnitudes))
    found, passes = find(shards, target, mantissa_bits)
    assert found == plain_threshold(magnitudes, kept)
    assert passes <= {7: 1, 10: 2, 23: 2, 52: 4}[mantissa_bits]


def true_unit(magnitude, units):
    """Return (|w| 2^(1022-E))^p 2^bits and the scale of the unit, both exact."""
    scale = Fraction(2) ** (max(math.frexp(magnitude)[1], -1021))
    return (Fraction(magnitude) / scale) ** units.p * 2**units.bits, scale**units.p / Fraction(2) ** units.bits


@given(mixed_weights(), st.fractions(0, 1), st.sampled_from([1, 2]))
def test_a_budget_ends_where_a_plain_sort_of_whole_units_does(weights, share, p):
    shards, mantissa_bits = weights
    everything = np.sort(np.concatenate(shards))
    target = KeepWithin(share=share, weights=len(everything), units=pool_units(len(everything), p=p))
    upper, lower = (units.tolist() for units in units_of(everything, target.units))
    scales = [true_unit(w, target.units)[1] for w in everything.tolist()]
    budget = share * sum(u * scale for u, scale in zip(lower, scales, strict=True))
    running = list(accumulate(u * scale for u, scale in zip(upper, scales, strict=True)))
    cut = sum(cost <= budget for cost in running)
    found, _ = find(shards, target, mantissa_bits)
    assert found == plain_threshold(everything.tolist(), len(everything) - cut)
    assert sum(Fraction(w) ** p for w in everything.tolist()[:cut]) <= share * sum(
        Fraction(w) ** p for w in everything.tolist()
    )


@given(mixed_weights(), st.fractions(0, 1), st.sampled_from([1, 2]))
def test_a_room_ends_where_the_share_that_it_is_does(weights, share, p):
    shards, mantissa_bits = weights
    everything = np.concatenate(shards)
    units = pool_units(len(everything), p=p)
    total = count_digits(everything, units, level=0, prefix=0).lower_total
    room = total * share.numerator // share.denominator
    by_room = KeepWithinRoom(room=room, weights=len(everything), units=units)
    by_share = KeepWithin(share=share, weights=len(everything), units=units)
    assert find(shards, by_room, mantissa_bits) == find(shards, by_share, mantissa_bits)


def test_a_room_is_filled_to_the_last_unit():
    units = pool_units(3, p=1)
    room = units_within(2.0, units)
    cut = [3 - find([np.ones(3)], KeepWithinRoom(room=room + more, weights=3, units=units), 23)[0].kept for more in (-1, 0)]
    assert cut == [1, 2]


@given(st.floats(0, allow_infinity=False), st.integers(1, 2**48), st.sampled_from([1, 2]))
def test_whole_units_within_a_value_are_the_most_that_fit(value, population, p):
    units = pool_units(population, p=p)
    whole = units_within(value, units)
    each = Fraction(1, 2 ** (1021 * p + units.bits))
    assert whole * each <= Fraction(value) < (whole + 1) * each
    assert value_of(whole, units) <= value


@given(st.integers(0, 2**2000), st.integers(1, 2**48), st.sampled_from([1, 2]))
def test_the_value_of_whole_units_is_the_least_double_that_covers_them(whole, population, p):
    units = pool_units(population, p=p)
    exact = Fraction(whole, 2 ** (1021 * p + units.bits))
    value = value_of(whole, units)
    assert exact <= Fraction(value)
    assert whole == 0 or Fraction(math.nextafter(value, 0)) < exact


def test_whole_units_beyond_all_doubles_are_worth_infinity():
    assert value_of(2**4000, pool_units(1, p=1)) == math.inf


@given(mixed_weights(), st.integers(1, 2**48), st.sampled_from([1, 2]))
def test_pool_units_enclose_the_truth_and_waste_less_than_theory_says(weights, population, p):
    units = pool_units(population, p=p)
    for magnitude in np.concatenate(weights[0]).tolist():
        upper, lower = (int(found[0]) for found in units_of(np.array([magnitude]), units))
        true, _ = true_unit(magnitude, units)
        excess = Fraction(2) ** (p - units.bits) + Fraction(2) ** -50
        assert lower <= true <= upper
        assert (upper == 0) == (magnitude == 0)
        assert population * upper <= 2**61
        if magnitude >= 2.0**-1022:
            assert true * (1 - excess) <= lower
            assert upper <= true * (1 + excess)


@given(st.floats(2.0**-149, 2.0**127, width=32), st.sampled_from([1, 2]))
def test_units_of_short_formats_are_the_nearest_whole_numbers(magnitude, p):
    units = pool_units(1000, p=p)
    upper, lower = (int(found[0]) for found in units_of(np.array([magnitude]), units))
    true, _ = true_unit(magnitude, units)
    assert (lower, upper) == (math.floor(true), math.ceil(true))


def test_units_of_squares_that_a_double_rounds_enclose_them():
    """As fine as units can be, they have no rounding of their own to hide that of the square."""
    units = pool_units(1, p=2)
    for magnitude in np.random.default_rng(0).random(100).tolist():
        upper, lower = (int(found[0]) for found in units_of(np.array([magnitude]), units))
        assert lower <= true_unit(magnitude, units)[0] <= upper


@pytest.mark.parametrize("p", [1, 2])
def test_subnormals_are_counted_on_the_scale_of_the_least_normal_ones(p):
    assert [scale_bits(field, p=p) for field in (0, 1, 2, 3)] == [0, 0, p, 2 * p]
    assert units_of(np.array([0.0, 5e-324]), pool_units(2**48, p=p))[0].tolist() == [0, 1]


def test_equal_magnitudes_of_different_dtypes_cost_the_same():
    """Were squares of F64 moved past their rounding whatever their mantissa, a bin could not be shared out evenly."""
    short = decode(np.array([0.75, 1 / 3], np.float32).view(np.uint32), "F32")
    units = pool_units(4, p=2)
    histogram = count_digits(np.concatenate([short, short.copy()]), units, level=0, prefix=0)
    assert histogram.units is not None
    assert histogram.units[np.flatnonzero(histogram.weights)].tolist() == sorted(2 * units_of(short, units)[0])


def test_digits_cover_a_magnitude_and_end_with_the_dtypes():
    assert sum(DIGITS) == 63
    singles = {
        name: [bins_are_single(level, mantissa_bits=dtype.mantissa_bits) for level in range(len(DIGITS))]
        for name, dtype in WEIGHT_DTYPES.items()
    }
    assert singles == {
        "BF16": [True] * 4,
        "F16": [False, True, True, True],
        "F32": [False, True, True, True],
        "F64": [False, False, False, True],
    }


@pytest.mark.parametrize("name", ["BF16", "F16", "F32"])
def test_a_single_bin_never_holds_two_magnitudes(name):
    """Subnormals of the short formats included: all of them for 16 bits, the ends of every binade for F32."""
    dtype = WEIGHT_DTYPES[name]
    bits = np.arange(2**15) if dtype.itemsize == 2 else np.unique((np.arange(2**12)[:, np.newaxis] << 19) + np.arange(-8, 9))
    values = decode(bits[bits >= 0].astype(dtype.bits), name)
    patterns = values[np.isfinite(values)].view(np.uint64)
    level = next(level for level in range(4) if bins_are_single(level, mantissa_bits=dtype.mantissa_bits))
    prefixes = patterns >> np.uint64(63 - sum(DIGITS[: level + 1]))
    assert all(a < b for a, b in pairwise(prefixes.tolist()))


def test_histograms_count_only_what_starts_with_the_prefix():
    magnitudes = np.array([0.0, 1.0, 1.0, 1.0 + 2.0**-8, 1.0 + 2.0**-7, 2.0])
    one = int(np.array([1.0]).view(np.uint64)[0]) >> 45
    first = count_digits(magnitudes, None, level=0, prefix=0)
    assert {int(d): int(first.weights[d]) for d in np.flatnonzero(first.weights)} == {0: 1, one: 3, one + 1: 1, one + 128: 1}
    second = count_digits(magnitudes, PoolUnits(p=1, bits=9), level=1, prefix=one)
    assert second.units is not None
    assert {int(d): (int(second.weights[d]), int(second.units[d])) for d in np.flatnonzero(second.weights)} == {
        0: (2, 256 + 256),
        2**15: (1, 257),
    }
    assert second.lower_total is None  # only level 0 sees all weights


def test_a_budget_needs_units():
    histogram = count_digits(np.ones(3), None, level=0, prefix=0)
    target = KeepWithin(share=Fraction(1, 2), weights=3, units=pool_units(3, p=1))
    with pytest.raises(ValueError, match="counts units"):
        descend(START, histogram, target, mantissa_bits=7)


@pytest.mark.parametrize("below", [0, 9])
def test_a_cut_that_ends_elsewhere_is_a_contradiction(below):
    """Behind the prefix of 1.0 are three of ten weights; five are to go."""
    prefix = int(np.float64(1.0).view(np.uint64)) >> 45
    histogram = count_digits(np.ones(3), None, level=1, prefix=prefix)
    descent = replace(START, level=1, prefix=prefix, weights_below=below)
    with pytest.raises(Contradiction):
        descend(descent, histogram, KeepCount(kept=5, weights=10), mantissa_bits=23)
    units = pool_units(10, p=1)
    costs = count_digits(np.ones(3), units, level=1, prefix=prefix)
    one = 2 ** (units.bits - 1 + 1022)  # whole units of 1.0
    target = KeepWithin(share=Fraction(1, 2), weights=10, units=units)
    with pytest.raises(Contradiction):
        descend(replace(descent, units_below=below * one, unit_total=10 * one), costs, target, mantissa_bits=23)
