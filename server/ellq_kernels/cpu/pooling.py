"""All weights as one row: histograms of the digits of their magnitudes.

Digits are those of the float64 bit pattern, whatever the dtype, so that tensors of several dtypes add up.
"""

import numpy as np

from ellq_kernels.cpu.decoding import Format, key_of, keys_at, magnitude_of
from ellq_kernels.cpu.jit import bits_of, float_of, kernel
from ellq_kernels.cpu.lanes import above, count
from ellq_math.dtypes import Bits
from ellq_math.pool_units import INEXACT_BITS
from ellq_math.pools import DIGITS
from ellq_math.sums import LANES
from ellq_math.values import Counts

MANTISSA = 2**52 - 1
HALF = 1022 << 52
"""Bits of 0.5."""


LEADING_BITS = 15
"""Most leading bits of a shorter dtype's key that a first digit depends on, subnormals apart."""


def leading_shift(fmt: Format) -> int:
    """Return how many bits of a key follow those that count_leading counts: F64 keys are patterns themselves."""
    return fmt.key_bits - (DIGITS[0] if fmt.shift == 0 else LEADING_BITS)


@kernel
def count_leading(bits: Bits, fmt: Format, shift: int) -> Counts:
    """Return how many keys have each leading bits. Shape: (2^(key bits - shift),).

    Two tables in turn, because equal bits in a row would wait for each other's count.
    """
    tables = np.zeros((2, 1 << (fmt.key_bits - shift)), np.int64)
    even, odd = tables[0], tables[1]
    for j in range(0, len(bits) - 1, 2):
        even[key_of(bits[j], fmt) >> shift] += 1
        odd[key_of(bits[j + 1], fmt) >> shift] += 1
    if len(bits) % 2 == 1:
        even[key_of(bits[-1], fmt) >> shift] += 1
    return even + odd


@kernel
def digits_of_leading(leading: Counts, fmt: Format, shift: int, digits: Counts) -> int:
    """Add what count_leading found to the first digits of the magnitudes. Return how many weights that are.

    Left out are zeros and subnormals where they share their leading bits.
    """
    counted = 0
    for place in range(fmt.normal >> shift if shift > 0 else 0, len(leading)):
        if leading[place] > 0:
            digits[bits_of(magnitude_of(place << shift, fmt)) >> (63 - DIGITS[0])] += leading[place]
            counted += leading[place]
    return counted


@kernel
def count_digits(bits: Bits, fmt: Format, low: int, high: int, shift: int, digits: int) -> Counts:
    """Return how many keys from `low` to below `high` have each digit, `digits` values behind `shift` bits."""
    counts = np.zeros(digits, np.int64)
    for j in range(0, len(bits), LANES):
        keys = keys_at(bits, j, fmt)
        if low == 0 or count(above(keys, low - 1)) > count(above(keys, high - 1)):
            for place in range(j, min(j + LANES, len(bits))):  # a slice would cost more than the loop
                key = key_of(bits[place], fmt)
                if low <= key < high:
                    counts[(bits_of(magnitude_of(key, fmt)) >> shift) & (digits - 1)] += 1
    return counts


@kernel
def first_key(prefix: int, shift: int, fmt: Format) -> int:
    """Return the smallest key whose float64 pattern has at least this prefix in front of `shift` bits; infinity's for none."""
    low, high = 0, fmt.infinity
    while low < high:
        middle = low + (high - low) // 2
        if bits_of(magnitude_of(middle, fmt)) >> shift < prefix:
            low = middle + 1
        else:
            high = middle
    return low


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
