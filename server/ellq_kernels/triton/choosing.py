"""Which weights of every group stay: the bits of the threshold, found by bisection over keys that stay in registers.

A step of the bisection counts, or adds up units of, all keys on one side of the middle of what is left. So a group is read
once, and 15 steps at most settle 16 bits. Compiled for an H100, a step takes 2.2 instructions for each BF16 weight of a row of
8192, all else 21. A histogram of 8-bit digits would take two steps, of an estimated 40 each: its counters collide
where all weights share six exponents. Between the smallest and the largest of a row lie some eleven binary digits of BF16 (an
estimate too); F32 ends when the count is met.
"""

from typing import Any

import triton.language as tl

from ellq_kernels.triton.jit import kernel
from ellq_kernels.triton.reading import key_of, magnitude_of, place
from ellq_kernels.triton.units import shares_of, units_up


@kernel
def choose_in_registers(
    weights: tl.tensor, tiles: tl.tensor, wanted: tl.tensor, scales: tl.tensor, kept: tl.tensor,
    above: tl.tensor, ties: tl.tensor, ends: tl.tensor, rows: tl.tensor,
    DTYPE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, WITHIN: tl.constexpr, ALIGNMENT: tl.constexpr,
    NOTHING: tl.constexpr,
) -> None:  # fmt: skip
    """Choose from groups no longer than WIDTH.

    `wanted` holds how many weights of each group stay; or, if WITHIN, the budget of units that the smallest may cost. NOTHING
    is the key of infinity. Behind the end of a group lie zeros, the last to stay of any; budgets do not see them.
    """
    start, _, length, group, row = place(tiles, ROWS, ALIGNMENT)
    offset = tl.arange(0, WIDTH)
    inside = offset[None, :] < length.to(tl.int32)[:, None]
    key = key_of(tl.load(weights + (start[:, None] + offset[None, :]), mask=inside, other=0), DTYPE)
    aim = tl.load(wanted + group, mask=length > 0, other=0)
    smallest = tl.min(tl.where(inside, key, NOTHING), axis=1)
    if WITHIN:
        x = tl.where(inside, magnitude_of(key, DTYPE), 0.0)
        units = units_up(x, shares_of(x, scales, rows, row, length > 0))
        key = tl.where(inside, key, -1)
        threshold, stay = spend(key, units, aim, smallest)
        reached = tl.sum((key >= threshold[:, None]).to(tl.int32), axis=1)
    else:
        stay = aim
        threshold, reached = reach(key, aim.to(tl.int32), smallest, length.to(tl.int32), ROWS, WIDTH, NOTHING)
    threshold = tl.where(stay > 0, threshold, NOTHING)
    staying, end = end_among(key == threshold[:, None], stay.to(tl.int32), reached, ROWS, WIDTH)
    tl.store(kept + group, stay, mask=length > 0)
    tl.store(above + group, threshold.to(tl.int64) + 1, mask=length > 0)
    tl.store(ties + group, tl.where(stay > 0, staying, 0).to(tl.int64), mask=length > 0)
    tl.store(ends + group, tl.where(stay > 0, end, 0).to(tl.int64), mask=length > 0)


@kernel
def reach(
    key: tl.tensor, count: tl.tensor, smallest: tl.tensor, length: tl.tensor,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, NOTHING: tl.constexpr,
) -> Any:  # fmt: skip
    """Return the `count`-th largest key of every group, and how many keys reach it; anything for a count of 0."""
    low, high = smallest, tl.max(key, axis=1) + 1
    reached = tl.where(smallest > 0, length, WIDTH)  # how many are at or above `low`, zeros behind the end among them
    paired: tl.constexpr = NOTHING < 32768 and WIDTH > 1
    if paired:
        pairs = pair_up(key, ROWS, WIDTH)
    searching = (high - low > 1) & (reached > count)
    while tl.max(searching.to(tl.int32), axis=0) > 0:
        middle = low + (high - low) // 2
        if paired:
            halves = tl.sum(((pairs - (middle * 65537)[:, None]) >> 15) & 65537, axis=1)
            found = (halves & 65535) + (halves >> 16)
        else:
            found = tl.sum((key >= middle[:, None]).to(tl.int32), axis=1)
        rises = searching & (found >= count)
        high = tl.where(searching & (found < count), middle, high)
        low, reached = tl.where(rises, middle, low), tl.where(rises, found, reached)
        searching = (high - low > 1) & (reached > count)
    if tl.max((high - low > 1).to(tl.int32), axis=0) > 0:  # the count was met before the key was; rare in long groups
        low = tl.min(tl.where(key >= low[:, None], key, NOTHING), axis=1)
    return low, reached


@kernel
def end_among(equal: tl.tensor, stay: tl.tensor, reached: tl.tensor, ROWS: tl.constexpr, WIDTH: tl.constexpr) -> Any:
    """Return how many ties stay, and the place behind the last of them. Shape: equal (ROWS, WIDTH) -> (ROWS,) int32 each.

    `reached` counts the ties and what is above them. In a long group the place is found among parts of eight first, then in its
    part: so an eighth of the weights is added up in order.
    """
    if WIDTH < 256:
        staying = stay - reached + tl.sum(equal.to(tl.int32), axis=1)
        place_of = tl.sum((tl.cumsum(equal.to(tl.int32), axis=1) < staying[:, None]).to(tl.int32), axis=1)
    else:
        flag = (1 << tl.arange(0, 8)) + 256  # which of its part, and one more
        parts = tl.sum(tl.where(tl.reshape(equal, [ROWS, WIDTH // 8, 8]), flag[None, None, :], 0), axis=2)
        counts = parts >> 8
        staying = stay - reached + tl.sum(counts, axis=1)
        earlier = tl.cumsum(counts, axis=1) < staying[:, None]
        full = tl.sum(earlier.to(tl.int32), axis=1)
        last = tl.sum(tl.where(tl.arange(0, WIDTH // 8)[None, :] == full[:, None], parts, 0), axis=1)
        left = staying - tl.sum(tl.where(earlier, counts, 0), axis=1)
        running = tl.cumsum((last[:, None] >> tl.arange(0, 8)[None, :]) & 1, axis=1)
        place_of = full * 8 + tl.sum((running < left[:, None]).to(tl.int32), axis=1)
    return staying, tl.where(staying > 0, place_of + 1, 0)


@kernel
def pair_up(key: tl.tensor, ROWS: tl.constexpr, WIDTH: tl.constexpr) -> Any:
    """Return keys of 15 bits in pairs, under a set bit each, which a subtraction clears if it takes more than the key.

    So a pair is compared in three operations. Shape: (ROWS, WIDTH) -> (ROWS, WIDTH / 2) int32.
    """
    even, odd = tl.split(tl.reshape(key, [ROWS, WIDTH // 2, 2]))
    return even | (odd << 16) | -2147450880  # 0x80008000


@kernel
def spend(key: tl.tensor, units: tl.tensor, budget: tl.tensor, smallest: tl.tensor) -> Any:
    """Return the key at which the units of all smaller weights no longer fit the budget, and how many weights stay."""
    low, high = smallest, tl.max(key, axis=1) + 2  # below the smallest nothing is spent; `low` may pass the largest
    while tl.max(high - low, axis=0) > 1:
        middle = low + (high - low) // 2
        fits = tl.sum(tl.where(key < middle[:, None], units, 0), axis=1) <= budget
        searching = high - low > 1
        high = tl.where(searching & ~fits, middle, high)
        low = tl.where(searching & fits, middle, low)
    equal = key == low[:, None]
    spent = tl.sum(tl.where(key < low[:, None], units, 0), axis=1)
    each = tl.maximum(tl.max(tl.where(equal, units, 0), axis=1), 1)
    same = tl.sum(equal.to(tl.int32), axis=1).to(tl.int64)
    staying = tl.sum((key >= low[:, None]).to(tl.int32), axis=1).to(tl.int64)
    return low, staying - tl.minimum(tl.maximum(budget - spent, 0) // each, same)
