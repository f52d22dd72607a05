"""Histograms of the digits of magnitudes, shared out to threads."""

from collections.abc import Callable
from threading import Lock

import numpy as np

from ellq_kernels.cpu import pooling
from ellq_kernels.cpu.threads import Threads
from ellq_kernels.cpu.weights import CpuWeights
from ellq_math.pools import DIGITS, following_bits
from ellq_math.values import Counts


def count_weights(threads: Threads, weights: CpuWeights, level: int, prefix: int) -> Counts:
    """Return how many magnitudes have each value of a digit behind the prefix. Shape: (2^digit bits,)."""
    return _first_digits(threads, weights) if level == 0 else _later_digits(threads, weights, level, prefix)


def _first_digits(threads: Threads, weights: CpuWeights) -> Counts:
    """Count leading bits of keys, which are fewer than digits, and subnormals apart."""
    shift = pooling.leading_shift(weights.format)
    digits = np.zeros(1 << DIGITS[0], np.int64)
    leading = sum_over(threads, weights, pooling.count_leading, shift)
    counted = pooling.digits_of_leading(leading, weights.format, shift, digits)
    left = weights.count - counted
    if left > 0:
        subnormal = sum_over(threads, weights, pooling.count_digits, 1, weights.format.normal, following_bits(0), len(digits))
        digits += subnormal
        digits[0] += left - subnormal.sum()
    return digits


def _later_digits(threads: Threads, weights: CpuWeights, level: int, prefix: int) -> Counts:
    """Count keys in the range that has the prefix."""
    shift = following_bits(level)
    low, high = (pooling.first_key(first, shift + DIGITS[level], weights.format) for first in (prefix, prefix + 1))
    return sum_over(threads, weights, pooling.count_digits, low, high, shift, 1 << DIGITS[level])


def sum_over(threads: Threads, weights: CpuWeights, kernel: Callable[..., Counts], *arguments: object) -> Counts:
    """Return the sum of kernel(bits, format, *arguments) over blocks of weights, added at once because parts are large."""
    adding, parts = Lock(), list[Counts]()

    def count(first: int, last: int) -> None:
        part = kernel(weights.bits[first:last], weights.format, *arguments)
        with adding:
            if parts:
                np.add(parts[0], part, out=parts[0])
            else:
                parts.append(part)

    threads.over(weights.count, weights_each=1, task=count)
    return parts[0]
