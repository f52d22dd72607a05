from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.allocation import fixed_points
from ellq_math.dtypes import WEIGHT_DTYPES, decode
from ellq_math.measuring import fixed_units, measure
from ellq_math.pools import (
    DIGITS,
    START,
    Descent,
    KeepCount,
    KeepWithin,
    Threshold,
    bins_are_single,
    count_digits,
    descend,
    merge,
)
from ellq_math.rules import Tail


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


def search(shards, units, target, mantissa_bits):
    """Descend to the threshold, one pass over all shards for each digit."""
    state, passes = START, 0
    while isinstance(state, Descent):
        histograms = [count_digits(w, u, level=state.level, prefix=state.prefix) for w, u in zip(shards, units, strict=True)]
        merged = histograms[0]
        for histogram in histograms[1:]:
            merged = merge(merged, histogram)
        state = descend(state, merged, target, mantissa_bits=mantissa_bits)
        passes += 1
    return state, passes


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
    found, passes = search(shards, [None] * len(shards), target, mantissa_bits)
    assert found == plain_threshold(magnitudes, kept)
    assert passes <= {7: 1, 10: 2, 23: 2, 52: 4}[mantissa_bits]


@given(mixed_weights(), st.integers(0, 100), st.sampled_from([1, 2]))
def test_a_budget_ends_where_a_plain_sort_does(weights, percent, p):
    shards, mantissa_bits = weights
    everything = np.concatenate(shards).reshape(1, -1)
    fixed = fixed_points(Tail(epsilon=0.5, p=p), measure(everything, (), scale=True))[0]
    units = [fixed_units(shard, fixed, inexact_square=mantissa_bits == 52)[0] for shard in shards]
    costs = sorted(zip(everything[0].tolist(), np.concatenate(units).tolist(), strict=True))
    budget = sum(cost for _, cost in costs) * percent // 100
    cut = next((i for i in range(len(costs)) if sum(cost for _, cost in costs[: i + 1]) > budget), len(costs))
    found, _ = search(shards, units, KeepWithin(budget=budget, weights=len(costs)), mantissa_bits)
    assert found == plain_threshold(everything[0].tolist(), len(costs) - cut)


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
    second = count_digits(magnitudes, np.arange(6), level=1, prefix=one)
    assert second.units is not None
    assert {int(d): (int(second.weights[d]), int(second.units[d])) for d in np.flatnonzero(second.weights)} == {
        0: (2, 1 + 2),
        2**15: (1, 3),
    }


def test_a_budget_needs_units():
    histogram = count_digits(np.ones(3), None, level=0, prefix=0)
    with pytest.raises(ValueError, match="counts units"):
        descend(START, histogram, KeepWithin(budget=1, weights=3), mantissa_bits=7)
