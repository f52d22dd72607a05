"""What magnitudes of a pool cost in whole units, each on the scale of its own power of two (see values.PoolUnits).

A bin of a histogram (pools.py) holds magnitudes of one exponent field E, so its units are one int64. Whole units are those
of all fields on the finest scale, that of E = 1: 2^-bits of 2^(-1021 p). They are exact Python integers of up to some four
thousand bits, and there are few of them.
"""

import math
from fractions import Fraction

import numpy as np

from ellq_math.sums import Array
from ellq_math.values import Counts, PoolUnits

UNIT_BITS = 61
"""Sums of the units of one exponent field stay within 2^61, well inside int64."""

DOUBLE_MANTISSA_BITS = 52
"""Above them lies the exponent field of a pattern."""

INEXACT_BITS = 2**27 - 1
"""Mantissa bits of a double that must all be zero for its square to be exact: 26 bits are left, 52 in the square."""


def pool_units(weights: int, *, p: int) -> PoolUnits:
    """Return units as fine as the sums over this many weights allow."""
    return PoolUnits(p=p, bits=UNIT_BITS - weights.bit_length())


def units_of(magnitudes: Array, units: PoolUnits) -> tuple[Counts, Counts]:
    """Return the units of every magnitude, rounded up and rounded down. Shape: any -> twice the same, int64.

    They depend on the magnitude alone, whatever dtype it came from: equal weights cost the same. A rounded square is off by
    at most half an ulp, and a factor of 1 +- 2^-52 moves it by at least a whole one.
    """
    patterns = magnitudes.view(np.int64)
    above = below = np.ldexp(magnitudes, 1022 - np.maximum(patterns >> DOUBLE_MANTISSA_BITS, 1))
    if units.p == 2:
        inexact = np.where(patterns & INEXACT_BITS != 0, 2.0**-52, 0.0)
        square = above * below
        above, below = square * (1 + inexact), square * (1 - inexact)
    upper = np.ceil(np.ldexp(above, units.bits)).astype(np.int64)
    lower = np.floor(np.ldexp(below, units.bits)).astype(np.int64)
    return np.where(magnitudes > 0, np.maximum(upper, 1), 0), lower


def whole_units(sums: Counts, fields: range, *, p: int) -> int:
    """Return the whole units of bins that share out evenly, in order, among the exponent fields. Shape: (bins,) int64."""
    by_field = sums.reshape(len(fields), -1).sum(axis=1).tolist()
    return sum(units << scale_bits(field, p=p) for field, units in zip(fields, by_field, strict=True) if units)


def units_within(value: float, units: PoolUnits) -> int:
    """Return the most whole units whose sum of powers is at most `value`, which is finite and not negative. Exact."""
    return math.floor(Fraction(value) / _whole_unit(units))


def value_of(whole: int, units: PoolUnits) -> float:
    """Return the least double that is at least the sum of powers of this many whole units; infinity beyond all doubles."""
    exact = whole * _whole_unit(units)
    try:
        nearest = float(exact)
    except OverflowError:
        return math.inf
    return nearest if nearest >= exact else math.nextafter(nearest, math.inf)


def spend(sums: Counts, fields: range, budget: int, *, p: int) -> tuple[int, int]:
    """Return the first bin that the budget of whole units cannot pay after all before it, and what those before it cost.

    The number of bins when it pays for all. Bins and fields are those of `whole_units`.
    """
    by_field = sums.reshape(len(fields), -1)
    spent = 0
    for index, (field, units) in enumerate(zip(fields, by_field.sum(axis=1).tolist(), strict=True)):
        if units == 0:
            continue  # most fields are empty
        scale = scale_bits(field, p=p)
        affordable = (budget - spent) >> scale
        if units > affordable:
            running = by_field[index].cumsum()
            paid = int(np.searchsorted(running, affordable, side="right"))
            return index * len(running) + paid, spent + (int(running[paid - 1]) << scale if paid else 0)
        spent += units << scale
    return len(sums), spent


def scale_bits(field: int, *, p: int) -> int:
    """Return log2 of how many whole units one unit of this exponent field is."""
    return p * (max(field, 1) - 1)


def _whole_unit(units: PoolUnits) -> Fraction:
    return Fraction(1, 2 ** (1021 * units.p + units.bits))
