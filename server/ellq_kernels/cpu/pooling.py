"""All weights as one row: histograms of the digits of their magnitudes.

Digits are those of the float64 bit pattern, whatever the dtype, so that tensors of several dtypes add up.
"""

import numpy as np

from ellq_kernels.cpu.decoding import Format, key_of, magnitude_of
from ellq_kernels.cpu.jit import bits_of, kernel
from ellq_kernels.cpu.selecting import unit_up
from ellq_kernels.scaling import UnitScale
from ellq_math.dtypes import Bits
from ellq_math.values import Counts


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
def count_digits_and_units(bits: Bits, fmt: Format, shift: int, digit_bits: int, prefix: int, scale: UnitScale) -> Counts:
    """Return the same, and the sums of units rounded up below it. Shape: (2, 2^digit_bits)."""
    counts = np.zeros((2, 1 << digit_bits), np.int64)
    weights, units = counts[0], counts[1]
    mask = (1 << digit_bits) - 1
    p, up, again, resolution, slack = scale.p[0], scale.first[0], scale.second[0], scale.resolution[0], scale.slack[0]
    for raw in bits:
        magnitude = magnitude_of(key_of(raw, fmt), fmt)
        pattern = bits_of(magnitude) >> shift
        if pattern >> digit_bits == prefix:
            weights[pattern & mask] += 1
            units[pattern & mask] += unit_up(magnitude, p, up, again, resolution, slack)
    return counts
