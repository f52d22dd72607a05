"""Powers of a chunk's magnitudes and their canonical sum: ellq_math.powers and ellq_math.sums, restated in lanes."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ellq_kernels.cpu.decoding import FORMATS, Format, keys_at, raw_at
from ellq_kernels.cpu.jit import kernel, part
from ellq_kernels.cpu.lane_memory import load, look_up
from ellq_kernels.cpu.lanes import (
    above,
    both,
    down,
    either,
    equal,
    minus,
    numbers_of,
    patterns_of,
    plus,
    splat,
    times,
    total,
    where,
    widened,
)
from ellq_math.dtypes import WEIGHT_DTYPES, Bits, decode
from ellq_math.powers import LOWEST_EXPONENT, TABLE_BITS, power_table
from ellq_math.powers import power as plain_power
from ellq_math.sums import LANES, Array

PLAIN_ORDERS = (0.5, 1.0, 2.0)
"""Orders that need no table where a key has too many values for one."""

LARGEST_SUBNORMAL = 2.0**-1022 - 2.0**-1074
ONE = 1023 << 52
"""Bits of 1.0."""
LEADING_BITS = (2**TABLE_BITS - 1) << (52 - TABLE_BITS)
HALF_AN_INTERVAL = 1 << (51 - TABLE_BITS)


class Powers(NamedTuple):
    """The tables of several orders side by side; those that an order does not need are left empty."""

    orders: Array
    by_key: Array
    """(orders, keys) for dtypes of 16 bits, the power of every finite magnitude, 256 KiB an order; else (orders, 0)."""
    exponents: Array
    """(orders, exponents of a double, infinity's included)."""
    centres: Array
    """(orders, 2^TABLE_BITS)."""
    inverses: Array
    """(orders, 2^TABLE_BITS): of the centres themselves."""
    series: Array
    """(orders, 4)."""


@lru_cache(maxsize=16)
def powers_of(orders: tuple[float, ...], dtype: str) -> Powers:
    """Return the tables of these orders. Shared between calls: never write to them."""
    if WEIGHT_DTYPES[dtype].itemsize == 2:
        empty = np.empty((len(orders), 0))
        by_key = np.zeros((len(orders), 1 << FORMATS[dtype].key_bits))
        for row, order in enumerate(orders):
            if order not in (1.0, 2.0):
                by_key[row] = _power_of_keys(order, dtype)
        return Powers(np.array(orders, np.float64), by_key, empty, empty, empty, empty)
    powers = Powers(
        orders=np.array(orders, np.float64),
        by_key=np.empty((len(orders), 0)),
        exponents=np.full((len(orders), 1025 - LOWEST_EXPONENT), np.inf),
        centres=np.zeros((len(orders), 2**TABLE_BITS)),
        inverses=np.zeros((len(orders), 2**TABLE_BITS)),
        series=np.zeros((len(orders), 4)),
    )
    for row, order in enumerate(orders):
        if order not in PLAIN_ORDERS:
            table = power_table(order)
            powers.exponents[row, :-1] = table.exponents
            powers.centres[row] = table.centres
            powers.inverses[row] = table.inverse_centres
            powers.series[row] = table.series
    return powers


def _power_of_keys(order: float, dtype: str) -> Array:
    """Return the power of every magnitude of a dtype of 16 bits, infinite for keys from infinity's on. Shape: (2^15,)."""
    found = np.full(1 << FORMATS[dtype].key_bits, np.inf)
    finite = np.arange(FORMATS[dtype].infinity, dtype=np.uint16)
    found[: len(finite)] = plain_power(decode(finite, dtype), order)
    return found


@kernel
def sum_powers(magnitudes: Array, count: int, powers: Powers, which: int) -> float:
    """Return the canonical sum of magnitudes ^ orders[which]; at most CHUNK of them, padded with zeros to full lanes."""
    exponents, centres, inverses = powers.exponents[which], powers.centres[which], powers.inverses[which]
    sums = splat(0.0)
    for j in range(0, count, LANES):
        sums = plus(sums, power(load(magnitudes, j), exponents, centres, inverses, powers.series[which]))
    return total(sums)


@part
def power(x: Any, exponents: Array, centres: Array, inverses: Array, series: Array) -> Any:
    """See ellq_math.powers.power: the same operations in the same order. An inverse is looked up because dividing is slow."""
    normal = above(x, LARGEST_SUBNORMAL)
    bits = patterns_of(times(x, where(normal, splat(1.0), 2.0**54)))
    exponent = plus(down(bits, 52), where(normal, both(bits, 0), -54))
    place = plus(exponent, -1023 - LOWEST_EXPONENT)
    interval = both(down(bits, 52 - TABLE_BITS), 2**TABLE_BITS - 1)
    centre = numbers_of(either(both(bits, LEADING_BITS), HALF_AN_INTERVAL | ONE))
    r = times(minus(numbers_of(either(both(bits, 2**52 - 1), ONE)), centre), look_up(inverses, interval))
    rest = times(r, plus(times(r, plus(times(r, plus(times(r, series[3]), series[2])), series[1])), series[0]))
    near = look_up(centres, interval)
    found = times(plus(near, times(near, rest)), look_up(exponents, where(above(x, 0.0), place, 0)))
    return where(equal(x, 0.0), 0.0, found)


@kernel
def sum_looked_up(chunk: Bits, fmt: Format, table: Array) -> float:
    """Return the canonical sum of what a table has for the keys of at most CHUNK weights; nothing for zero."""
    sums = splat(0.0)
    for j in range(0, len(chunk), LANES):
        sums = plus(sums, look_up(table, widened(keys_at(chunk, j, fmt))))
    return total(sums)


@kernel
def fold_partial_sums(partial_sums: Array, sums: Array) -> None:
    """Set sums to the canonical sums over the last axis, of at most CHUNK. Shape: (n, partial sums) -> (n,)."""
    for row in range(len(sums)):
        lanes = splat(0.0)
        for j in range(0, partial_sums.shape[1], LANES):
            lanes = plus(lanes, raw_at(partial_sums[row], j))
        sums[row] = total(lanes)
