"""Selection row by row: counts by ranking, budgets by radix descent; linear time whatever the weights, no sorting of rows."""

from typing import Any

import numpy as np

from ellq_kernels.cpu.decoding import Format, key_of, magnitude_of
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.measuring import unit_of
from ellq_kernels.cpu.ranking import FEW, ROOM, pick_largest
from ellq_kernels.scaling import UnitScale
from ellq_math.dtypes import Bits
from ellq_math.sums import Array
from ellq_math.values import Counts

DIGIT_BITS = 11
"""Bits decided by one pass; wide enough that the first digit of a 32-bit float holds its exponent and part of the mantissa."""


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
                weights = bits[start : min(start + width, (row + 1) * fan_in)]
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
    keys = np.empty(fan_in, np.int64)
    for row in range(first, last):
        copy_keys(bits[row * fan_in : (row + 1) * fan_in], fmt, keys)
        key, stay, left = pick_within(keys, budgets[row], fmt, units, row)
        thresholds[row, 0] = magnitude_of(key, fmt) if left > 0 else np.inf
        ties[row, 0] = stay
        kept[row, 0] = left


@kernel
def copy_keys(row: Bits, fmt: Format, keys: Counts) -> None:
    """Set keys to the magnitude keys of a row."""
    for j in range(len(row)):
        keys[j] = key_of(row[j], fmt)


@kernel
def pick_within(keys: Counts, budget: int, fmt: Format, units: UnitScale, row: int) -> tuple[int, int, int]:
    """Return the smallest key that stays, how many keys equal to it stay, and how many keys stay in all.

    What goes are the smallest keys whose units, rounded up, fit the budget. Nothing stays: (0, 0, 0). Overwrites keys.
    """
    p, first, second = units.p[row], units.first[row], units.second[row]
    resolution, slack = units.resolution[row], units.slack[row]
    histogram = np.empty(1 << DIGIT_BITS, np.int64)
    costs = np.empty(1 << DIGIT_BITS, np.int64)
    left = count = len(keys)  # those that stay, and candidates for the first of them
    open_bits = fmt.key_bits  # in which candidates may differ
    while count > FEW and open_bits > 0:
        shift = max(open_bits - DIGIT_BITS, 0)
        mask = (1 << (open_bits - shift)) - 1
        histogram[: mask + 1] = 0
        costs[: mask + 1] = 0
        for j in range(count):
            digit = (keys[j] >> shift) & mask
            histogram[digit] += 1
            costs[digit] += unit_up(magnitude_of(keys[j], fmt), p, first, second, resolution, slack)
        digit = 0
        while digit <= mask and costs[digit] <= budget:
            budget -= costs[digit]
            left -= histogram[digit]
            digit += 1
        if digit > mask:
            return 0, 0, left
        count = _compact(keys, count, shift, mask, digit)
        open_bits = shift
    _sort_few(keys, count)
    for j in range(count):
        budget -= unit_up(magnitude_of(keys[j], fmt), p, first, second, resolution, slack)
        if budget < 0:
            stay = 1
            while j + stay < count and keys[j + stay] == keys[j]:
                stay += 1
            return keys[j], stay, left
        left -= 1
    return 0, 0, left


@kernel
def unit_up(magnitude: float, p: int, first: float, second: float, resolution: float, slack: float) -> int:
    """Return the units of a magnitude, rounded up; nothing but zero is free."""
    if magnitude == 0.0:
        return 0
    return max(int(np.ceil(unit_of(magnitude, p, first, second, resolution, slack))), 1)


@kernel
def _compact(keys: Counts, count: int, shift: int, mask: int, digit: int) -> int:
    """Move the keys with this digit to the front and return how many they are."""
    found = 0
    for j in range(count):
        key = keys[j]
        keys[found] = key
        found += ((key >> shift) & mask) == digit
    return found


@kernel
def _sort_few(keys: Counts, count: int) -> None:
    """Sort the first `count` keys, ascending. Linear when they are all equal, the only case in which they may be many."""
    for j in range(1, count):
        key = keys[j]
        at = j
        while at > 0 and keys[at - 1] > key:
            keys[at] = keys[at - 1]
            at -= 1
        keys[at] = key
