"""Powers of a chunk's magnitudes and their canonical sum: ellq_math.powers and ellq_math.sums, restated for numba."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ellq_kernels.cpu.decoding import padded
from ellq_kernels.cpu.jit import bits_of, float_of, kernel
from ellq_math.powers import LOWEST_EXPONENT, MANTISSA_BITS, power_table
from ellq_math.sums import CHUNK, LANES, Array

PLAIN_ORDERS = (0.5, 1.0, 2.0)
"""Orders that need no table."""

SMALLEST_NORMAL = 2.0**-1022
ONE = 1023 << 52
"""Bits of 1.0."""
LEADING_BITS = (2**MANTISSA_BITS - 1) << (52 - MANTISSA_BITS)
HALF_AN_INTERVAL = 1 << (51 - MANTISSA_BITS)


class Powers(NamedTuple):
    """The tables of several orders side by side; rows of PLAIN_ORDERS are left empty."""

    orders: Array
    exponents: Array
    """(orders, exponents of a double)."""
    centres: Array
    """(orders, 2^MANTISSA_BITS)."""
    series: Array
    """(orders, 4)."""


@lru_cache(maxsize=64)
def powers_of(orders: tuple[float, ...]) -> Powers:
    """Return the tables of these orders. Shared between calls: never write to them."""
    powers = Powers(
        orders=np.array(orders, np.float64),
        exponents=np.zeros((len(orders), 1024 - LOWEST_EXPONENT)),
        centres=np.zeros((len(orders), 2**MANTISSA_BITS)),
        series=np.zeros((len(orders), 4)),
    )
    for row, order in enumerate(orders):
        if order not in PLAIN_ORDERS:
            table = power_table(order)
            powers.exponents[row] = table.exponents
            powers.centres[row] = table.centres
            powers.series[row] = table.series
    return powers


@kernel
def raise_chunk(magnitudes: Array, count: int, powers: Powers, which: int, terms: Array) -> None:
    """Set terms = magnitudes ^ orders[which] for `count` magnitudes."""
    order = powers.orders[which]
    if order == 1.0:
        for j in range(count):
            terms[j] = magnitudes[j]
    elif order == 2.0:
        for j in range(count):
            terms[j] = magnitudes[j] * magnitudes[j]
    elif order == 0.5:
        for j in range(count):
            terms[j] = np.sqrt(magnitudes[j])
    else:
        _raise_by_table(magnitudes, count, powers.exponents[which], powers.centres[which], powers.series[which], terms)


@kernel
def _raise_by_table(magnitudes: Array, count: int, exponents: Array, centres: Array, series: Array, terms: Array) -> None:
    """See ellq_math.powers.power: the same operations in the same order.

    Two loops, because a loop with table look-ups does not vectorise. The second divides where the table of inverses would be
    looked up: both round 1/c once.
    """
    first, second, third, fourth = series[0], series[1], series[2], series[3]
    heads = np.empty(CHUNK)
    for j in range(count):
        bits = _normal_bits(magnitudes[j])
        exponent = (bits >> 52) - 1023 - (54 if magnitudes[j] < SMALLEST_NORMAL else 0)
        interval = (bits >> (52 - MANTISSA_BITS)) & (2**MANTISSA_BITS - 1)
        heads[j] = centres[np.uint64(interval)]
        terms[j] = exponents[np.uint64(max(exponent, LOWEST_EXPONENT) - LOWEST_EXPONENT)]
    for j in range(count):
        bits = _normal_bits(magnitudes[j])
        mantissa = float_of((bits & (2**52 - 1)) | ONE)
        centre = float_of((bits & LEADING_BITS) | HALF_AN_INTERVAL | ONE)
        r = (mantissa - centre) * (1.0 / centre)
        rest = r * (first + r * (second + r * (third + r * fourth)))
        found = (heads[j] + heads[j] * rest) * terms[j]
        terms[j] = found if magnitudes[j] != 0.0 else 0.0


@kernel
def _normal_bits(magnitude: float) -> int:
    """Return the bits of a magnitude, of 2^54 times it when it is subnormal."""
    return bits_of(magnitude * (2.0**54 if magnitude < SMALLEST_NORMAL else 1.0))


@kernel
def fold_chunk(terms: Array, count: int) -> float:
    """Return the canonical sum of at most CHUNK terms, which are padded with zeros; overwrites them."""
    last = padded(count) - LANES
    for j in range(LANES, last + LANES):
        terms[j] += terms[j - LANES]
    width = LANES
    while width > 1:
        width //= 2
        for lane in range(width):
            terms[last + lane] += terms[last + lane + width]
    return terms[last]
