"""Bounds of max pools: windows are walked tap by tap, so that no window is ever laid out."""

from collections.abc import Iterator
from functools import reduce
from itertools import product

import numpy as np

from ellq_math.network.intervals import Interval
from ellq_math.network.nodes import Pool
from ellq_math.sums import Array


def pooled_largest(pool: Pool, values: Interval) -> Interval:
    """Return bounds of the largest value of each window. Exact. Shape: (channels, ...) -> (channels, positions...)."""
    return Interval(
        reduce(np.maximum, _taps(pool, values.low, padding=-np.inf)),
        reduce(np.maximum, _taps(pool, values.high, padding=-np.inf)),
    )


def pooled_largest_difference(pool: Pool, before: Interval, after: Interval, error: Interval) -> Interval:
    """Return bounds of how far the largest value of each window moves.

    With a the values, a' the changed ones: where a'_j is largest, max a' - max a <= a'_j - a_j; where a_j is largest, it is at
    least that. So above counts only what can be largest in the changed network, below what can be in the original one.
    """
    highest = _of_contenders(pool, after, error.high)
    lowest = -_of_contenders(pool, before, -error.low)
    return Interval(lowest, highest)


def _of_contenders(pool: Pool, values: Interval, quantity: Array) -> Array:
    """Return the largest quantity among the values of each window that can be the largest of it."""
    bar = reduce(np.maximum, _taps(pool, values.low, padding=-np.inf))
    taps = zip(_taps(pool, values.high, padding=-np.inf), _taps(pool, quantity, padding=-np.inf), strict=True)
    return reduce(np.maximum, (np.where(high >= bar, one, -np.inf) for high, one in taps))


def _taps(pool: Pool, values: Array, *, padding: float) -> Iterator[Array]:
    """Yield what each tap of the window sees at all positions. Shape: (channels, ...) -> (channels, positions...)."""
    axes = len(pool.kernel)
    sides = [pool.padding[2 * axis : 2 * axis + 2] for axis in range(axes)]
    padded = np.pad(values, [(0, 0), *sides], constant_values=padding)
    ends = [length - span for length, span in zip(padded.shape[1:], pool.kernel, strict=True)]
    for offsets in product(*map(range, pool.kernel)):
        cuts = (slice(at, at + end + 1, step) for at, end, step in zip(offsets, ends, pool.stride, strict=True))
        yield padded[:, *cuts]
