"""All weights as one row: histograms of the digits of their magnitudes.

Digits are those of the float64 bit pattern, whatever the dtype, so that tensors of several dtypes add up.
"""

import numpy as np

from ellq_kernels.cpu.decoding import Format, key_of, magnitude_of
from ellq_kernels.cpu.jit import bits_of, float_of, kernel
from ellq_math.dtypes import Bits
from ellq_math.pool_units import INEXACT_BITS
from ellq_math.values import Counts

MANTISSA = 2**52 - 1
HALF = 1022 << 52
"""Bits of 0.5."""


@kernel
def count_digits(bits: Bits, fmt: Format, shift: int, digit_bits: int, prefix: int) -> Counts:
    """Return how many magnitudes have each digit behind the prefix. Shape: (1, 2^digit_bits)."""
    counts = np.zeros((1, 1 << digit_bits), np.int64)
    weights = counts[0]
    mask = (1 << digit_bits) - 1
    for raw in bits:
        pattern = bits_of(magnitude_of(key_of(raw, fmt), fmt)) >> shift
        if pattern >> digit_bits == prefix:
            weights[pattern & mask] += 1
    return counts


@kernel
def count_units(bits: Bits, fmt: Format, shift: int, digit_bits: int, prefix: int, p: int, resolution: float) -> Counts:
    """Return the same, and below it the sums of units rounded up and down. Shape: (3, 2^digit_bits)."""
    counts = np.zeros((3, 1 << digit_bits), np.int64)
    weights, upper, lower = counts[0], counts[1], counts[2]
    mask = (1 << digit_bits) - 1
    for raw in bits:
        pattern = bits_of(magnitude_of(key_of(raw, fmt), fmt))
        leading = pattern >> shift
        if leading >> digit_bits == prefix:
            digit = leading & mask
            above, below = units_of(pattern, p, resolution)
            weights[digit] += 1
            upper[digit] += above
            lower[digit] += below
    return counts


@kernel
def units_of(pattern: int, p: int, resolution: float) -> tuple[int, int]:
    """Return the units of a magnitude, rounded up and down: see ellq_math.pool_units.units_of."""
    if pattern == 0:
        return 0, 0
    above = float_of((pattern & MANTISSA) | HALF)
    if pattern <= MANTISSA:
        above -= 0.5  # a subnormal has no leading one
    below = above
    if p == 2:
        inexact = 2.0**-52 if pattern & INEXACT_BITS else 0.0
        square = above * above
        above, below = square * (1.0 + inexact), square * (1.0 - inexact)
    return max(int(np.ceil(above * resolution)), 1), int(np.floor(below * resolution))
