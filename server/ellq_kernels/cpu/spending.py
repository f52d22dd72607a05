"""The most weights that a budget pays for, smallest first: nothing is sorted.

One pass adds up what the keys below two pivots cost, in fixed-point units, whose sums are exact in any order. A few weights
of the row, paid for likewise, tell the pivots; what is left between them is moved together and counted on.
"""

from typing import NamedTuple

import numpy as np

from ellq_kernels.cpu.decoding import Format, key_of, keys_at, padded
from ellq_kernels.cpu.jit import kernel, part
from ellq_kernels.cpu.lane_memory import AHEAD, load, prefetch, store
from ellq_kernels.cpu.lanes import above, count, equal, highest, plus, splat, total, where
from ellq_kernels.cpu.ranking import FEW, STRAY, gather_between, pick_of_few
from ellq_kernels.cpu.units import RowUnits, units_up
from ellq_math.dtypes import Bits
from ellq_math.sums import LANES
from ellq_math.values import Counts


class Bracket(NamedTuple):
    """The cut ends among keys from `low` to below `high`: what is below can all go, but not all below `high` can."""

    low: int
    high: int
    spent: int
    """What the keys below `low` cost."""
    inside: int
    """Those keys, and zeros as long as `low` is 0."""
    from_high: int
    """Keys that are at least `high`; all stay."""


class Found(NamedTuple):
    """What a pass finds of two pivots, the second not below the first."""

    below_first: int
    """Units of the keys below it."""
    below_second: int
    from_first: int
    """Keys that are at least that."""
    from_second: int


@part
def pick_within(bits: Bits, fmt: Format, budget: int, units: RowUnits, room: Bits, costs: Counts) -> tuple[int, int, int]:
    """Return the smallest key that stays, how many keys equal to it stay, and how many keys stay in all.

    What goes are the smallest keys whose units, rounded up, fit the budget. Nothing stays: (0, 0, 0). `room` has 2 LANES
    places more than the row has weights, `costs` has FEW.
    """
    if len(bits) <= FEW:
        key, stay, more = pay_few(room, gather_between(bits, fmt, 0, fmt.infinity, room), fmt, budget, units, costs)
        return key, stay, stay + more
    return pay_many(bits, fmt, budget, units, room, costs)


@kernel
def pay_many(bits: Bits, fmt: Format, budget: int, units: RowUnits, room: Bits, costs: Counts) -> tuple[int, int, int]:
    """Return what pick_within does, for more than FEW keys. Apart from it, or short rows would pay for what it needs."""
    at, left, step = Bracket(0, fmt.infinity, 0, len(bits), 0), bits, 0
    while len(left) > FEW and at.high - at.low > 1:
        if step % 4 == 3:
            first = second = at.low + (at.high - at.low) // 2  # so that no distribution takes more than a few passes a bit
        else:
            share = (budget - at.spent) // (len(left) // LANES)
            first, second = likely_pivots(left, fmt, share, units, room[-LANES:], costs)
        step += 1
        first = min(max(first, at.low + 1), at.high - 1)
        second = min(max(second, first), at.high - 1)
        at = narrowed(at, first, second, add_up(left, fmt, first, second, units), budget)
        left = room[: gather_between(left, fmt, at.low, at.high, room)]
    if len(left) > FEW:  # all equal
        goes = (budget - at.spent) // highest(units_up(keys_at(left, 0, fmt), fmt, units))
        key, stay, more = at.low, len(left) - goes, 0
    else:
        key, stay, more = pay_few(room, len(left), fmt, budget - at.spent, units, costs)
    return (key, stay, stay + more + at.from_high) if stay > 0 else (0, 0, 0)


@kernel
def likely_pivots(left: Bits, fmt: Format, budget: int, units: RowUnits, sample: Bits, costs: Counts) -> tuple[int, int]:
    """Return a key that is probably below the end of a cut, and one that is probably above; `budget` is for the sample."""
    for place in range(LANES):
        sample[place] = key_of(left[place * (len(left) // LANES)], fmt)
    _, stay, more = pay_few(sample, LANES, fmt, budget, units, costs)
    rank = stay + more
    below = pick_of_few(sample, LANES, min(rank + STRAY, LANES))[0]
    return below, pick_of_few(sample, LANES, max(rank - STRAY, 1))[0]


@kernel
def add_up(bits: Bits, fmt: Format, first: int, second: int, units: RowUnits) -> Found:
    """Return what keys below two pivots cost and how many are not below; both are above 0, the second not below the first."""
    below_first = below_second = splat(np.int64(0))
    from_first = from_second = 0
    for j in range(0, len(bits), LANES):
        prefetch(bits, j + AHEAD)
        keys = keys_at(bits, j, fmt)
        cost = units_up(keys, fmt, units)
        not_first, not_second = above(keys, first - 1), above(keys, second - 1)
        from_first += count(not_first)
        from_second += count(not_second)
        below_first = plus(below_first, where(not_first, 0, cost))
        below_second = plus(below_second, where(not_second, 0, cost))
    return Found(total(below_first), total(below_second), from_first, from_second)


@kernel
def narrowed(at: Bracket, first: int, second: int, found: Found, budget: int) -> Bracket:
    """Return what a pass over all keys from `low` to below `high` leaves open."""
    if at.spent + found.below_first > budget:
        return Bracket(at.low, first, at.spent, at.inside - found.from_first, at.from_high + found.from_first)
    spent, over = at.spent + found.below_first, at.from_high + found.from_second
    if at.spent + found.below_second > budget:
        return Bracket(first, second, spent, found.from_first - found.from_second, over)
    return Bracket(second, at.high, at.spent + found.below_second, found.from_second, at.from_high)


@kernel
def pay_few(few: Bits, found: int, fmt: Format, budget: int, units: RowUnits, costs: Counts) -> tuple[int, int, int]:
    """Return the smallest of the first `found` keys that stays, how many equal to it stay, and how many are larger.

    By adding up for each what all smaller ones cost, sixteen at once. (0, 0, 0) when all go. Needs room for full lanes.
    """
    for j in range(found, padded(found)):
        few[j] = 0
    for at in range(0, found, LANES):
        store(costs, at, units_up(load(few, at), fmt, units))
    key = 0
    for at in range(0, found, LANES):
        keys, smaller = load(few, at), splat(np.int64(0))
        for j in range(found):
            smaller = plus(smaller, where(above(keys, few[j]), splat(costs[j]), 0))
        key = max(key, highest(where(above(smaller, budget), 0, keys)))
    each = spent = same = larger = 0
    for at in range(0, found, LANES):
        keys, cost = load(few, at), load(costs, at)
        each = max(each, highest(where(equal(keys, key), cost, 0)))
        spent += total(where(above(keys, key - 1), 0, cost))
        same += count(equal(keys, key))
        larger += count(above(keys, key))
    stay = same - (budget - spent) // each if key > 0 else 0
    return (key, stay, larger) if stay > 0 else (0, 0, 0)
