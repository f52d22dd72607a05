"""Selection row by row: linear time whatever the weights, no sorting of rows."""

from typing import Any

import numpy as np

from ellq_kernels.cpu.borrowing import borrowed
from ellq_kernels.cpu.decoding import Format, magnitude_of
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.ranking import FEW, ROOM, pick_largest
from ellq_kernels.cpu.spending import pick_within
from ellq_kernels.cpu.units import units_of_row
from ellq_kernels.scaling import UnitScale
from ellq_math.dtypes import Bits
from ellq_math.sums import LANES, Array
from ellq_math.values import Counts


@kernel
def largest_rows(
    bits: Bits, fan_in: int, fmt: Format, first: int, last: int, kept: Counts, width: int, thresholds: Array, ties: Counts
) -> None:
    """Fill rows [first, last) of `thresholds` and `ties`, both of shape (neurons, groups)."""
    room: Any = np.empty(ROOM, bits.dtype)
    for row in range(first, last):
        for group in range(thresholds.shape[1]):
            start = row * fan_in + group * width
            if kept[row, group] == 0:
                thresholds[row, group] = np.inf
                ties[row, group] = 0
            else:
                weights = borrowed(bits, start, min(start + width, (row + 1) * fan_in))
                key, ties[row, group] = pick_largest(weights, fmt, kept[row, group], room)
                thresholds[row, group] = magnitude_of(key, fmt)


@kernel
def within_rows(
    bits: Bits,
    fan_in: int,
    fmt: Format,
    first: int,
    last: int,
    budgets: Counts,
    units: UnitScale,
    thresholds: Array,
    ties: Counts,
    kept: Counts,
) -> None:
    """Fill rows [first, last) of `thresholds`, `ties` and `kept`, all of shape (neurons, 1)."""
    room: Any = np.empty(fan_in + 2 * LANES, bits.dtype)
    costs = np.empty(FEW, np.int64)
    for row in range(first, last):
        weights = borrowed(bits, row * fan_in, (row + 1) * fan_in)
        key, stay, left = pick_within(weights, fmt, budgets[row], units_of_row(units, row), room, costs)
        thresholds[row, 0] = magnitude_of(key, fmt) if left > 0 else np.inf
        ties[row, 0] = stay
        kept[row, 0] = left
