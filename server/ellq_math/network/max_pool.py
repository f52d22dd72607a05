"""Bounds of max pools."""

from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ellq_math.network.intervals import Interval
from ellq_math.network.linear_maps import position_blocks, with_padding
from ellq_math.network.nodes import Pool
from ellq_math.sums import Array


def pooled_largest(pool: Pool, values: Interval) -> Interval:
    """Return bounds of the largest value of each window. Exact. Shape: (channels, ...) -> (channels, positions...)."""
    return Interval(_largest(pool, values.low), _largest(pool, values.high))


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
    bar = _largest(pool, values.low)
    high, counted = _windows(pool, values.high), _windows(pool, quantity)
    taps = tuple(range(len(pool.kernel)))
    found = np.empty_like(bar)
    for part in position_blocks(bar.shape[1:], len(bar) * prod(pool.kernel)):
        contends = high[..., *part] >= bar[:, *part]
        found[:, *part] = np.where(contends, counted[..., *part], -np.inf).max(axis=taps)
    return found


def _windows(pool: Pool, values: Array) -> Array:
    """Return a view of all windows. Shape: (channels, ...) -> (*kernel, channels, *positions): positions lie side by side."""
    padded = with_padding(values, pool.padding, -np.inf)
    axes = tuple(range(1, padded.ndim))
    windows = sliding_window_view(padded, pool.kernel, axis=axes)[:, *(slice(None, None, step) for step in pool.stride)]
    return np.moveaxis(windows, range(padded.ndim, windows.ndim), range(len(axes)))


def _largest(pool: Pool, values: Array) -> Array:
    """Return the largest value of each window, along one axis after the other. Shape: (channels, ...) -> (channels, ...)."""
    found = with_padding(values, pool.padding, -np.inf)
    for axis, (length, stride) in enumerate(zip(pool.kernel, pool.stride, strict=True), start=1):
        found = np.moveaxis(_largest_in_a_row(np.moveaxis(found, axis, 0), length)[::stride], 0, axis)
    return found


def _largest_in_a_row(values: Array, length: int) -> Array:
    """Return the largest of every `length` values in a row along axis 0.

    Of twice as many each time, and at last of two runs that overlap.
    """
    reach = 1
    while 2 * reach <= length:
        values = np.maximum(values[:-reach], values[reach:])
        reach *= 2
    rest = length - reach
    return np.maximum(values[: len(values) - rest], values[rest:])
