"""Keys that weights are chosen by: ellq_math.network.weighing, restated for numba."""

from ellq_kernels.cpu.decoding import Format, key_of, magnitude_of
from ellq_kernels.cpu.jit import bits_of, float_of, kernel
from ellq_math.dtypes import Bits
from ellq_math.network.weighing import DROPPED_BITS
from ellq_math.sums import Array

INFINITY = 2047 << 52
"""Bits of infinity."""

LOW_BITS = (1 << DROPPED_BITS) - 1


@kernel
def weigh_rows(
    bits: Bits, fan_in: int, fmt: Format, first: int, last: int, rows: Array, columns: Array, rows_each: int, keys: Bits
) -> None:
    """Fill rows [first, last) of `keys`, shape (neurons * fan_in,); `rows_each` neurons share a row of `columns`."""
    for row in range(first, last):
        down = rows[row]
        across = columns[row // rows_each]
        for j in range(fan_in):
            at = row * fan_in + j
            keys[at] = key_pattern(magnitude_of(key_of(bits[at], fmt), fmt), down, across[j])


@kernel
def key_pattern(magnitude: float, down: float, across: float) -> int:
    """Return the float64 bits of a key."""
    pattern = bits_of(above(above(magnitude * down) * across))
    shortened = (pattern + LOW_BITS) & ~LOW_BITS
    return shortened if magnitude > 0.0 and down > 0.0 and across > 0.0 else 0


@kernel
def above(value: float) -> float:
    """Return the next double above a non-negative one; infinity stays."""
    return float_of(min(bits_of(value) + 1, INFINITY))
