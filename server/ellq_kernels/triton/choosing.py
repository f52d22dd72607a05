"""Which weights of every group stay: the bits of the threshold, found by bisection over keys that stay in registers.

A step of the bisection counts, or adds up units of, all keys on one side of the middle of what is left. So a group is read
once, and 15 steps at most settle 16 bits. Compiled for an H100, a step takes 2.8 instructions for each BF16 weight, all else
41. A histogram of 8-bit digits would take two steps, of an estimated 40 each: its counters collide where all weights share six
exponents. Between the smallest and the largest of a row lie some eleven binary digits of BF16 (an estimate too); F32 ends when
the count is met.
"""

from typing import Any

import triton.language as tl

from ellq_kernels.triton.jit import kernel
from ellq_kernels.triton.reading import key_of, magnitude_of, place
from ellq_kernels.triton.units import shares_of, units_up


@kernel
def choose_in_registers(
    weights: tl.tensor, tiles: tl.tensor, wanted: tl.tensor, scales: tl.tensor, kept: tl.tensor,
    thresholds: tl.tensor, ties: tl.tensor, ends: tl.tensor, rows: tl.tensor,
    DTYPE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, WITHIN: tl.constexpr, ALIGNMENT: tl.constexpr,
    NOTHING: tl.constexpr,
) -> None:  # fmt: skip
    """Choose from groups no longer than WIDTH.

    `wanted` holds how many weights of each group stay; or, if WITHIN, the budget of units that the smallest may cost. NOTHING
    is the key of infinity.
    """
    start, _, length, group, row = place(tiles, ROWS, ALIGNMENT)
    offset = tl.arange(0, WIDTH)
    inside = offset[None, :] < length[:, None]
    key = key_of(tl.load(weights + (start[:, None] + offset[None, :]), mask=inside, other=0), DTYPE)
    key = tl.where(inside, key, -1)  # below every magnitude
    aim = tl.load(wanted + group, mask=length > 0, other=0)
    smallest = tl.min(tl.where(inside, key, NOTHING), axis=1)
    if WITHIN:
        x = tl.where(inside, magnitude_of(key, DTYPE), 0.0)
        units = units_up(x, shares_of(x, scales, rows, row, length > 0))
        threshold, stay = spend(key, units, aim, smallest, length)
    else:
        threshold, stay = reach(key, aim, smallest, length, ROWS, WIDTH, NOTHING), aim
    threshold = tl.where(stay > 0, threshold, NOTHING)
    staying = stay - tl.sum((key > threshold[:, None]).to(tl.int32), axis=1).to(tl.int64)
    running = tl.cumsum((key == threshold[:, None]).to(tl.int32), axis=1)
    before = tl.sum((running < staying[:, None]).to(tl.int32), axis=1).to(tl.int64)
    tl.store(kept + group, stay, mask=length > 0)
    tl.store(thresholds + group, threshold.to(tl.int64), mask=length > 0)
    tl.store(ties + group, staying, mask=length > 0)
    tl.store(ends + group, tl.where(staying > 0, before + 1, 0), mask=length > 0)


@kernel
def reach(
    key: tl.tensor, count: tl.tensor, smallest: tl.tensor, length: tl.tensor,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, NOTHING: tl.constexpr,
) -> Any:  # fmt: skip
    """Return the `count`-th largest key of every group; anything for a count of 0."""
    low, high, reached = smallest, tl.max(key, axis=1) + 1, length  # `reached`: how many are at or above `low`
    paired: tl.constexpr = NOTHING < 32768 and WIDTH > 1
    if paired:
        pairs = pair_up(key, ROWS, WIDTH)
    searching = (high - low > 1) & (reached > count)
    while tl.max(searching.to(tl.int32), axis=0) > 0:
        middle = low + (high - low) // 2
        if paired:
            halves = tl.sum(((pairs - (middle * 65537)[:, None]) >> 15) & 65537, axis=1)
            found = ((halves & 65535) + (halves >> 16)).to(tl.int64)
        else:
            found = tl.sum((key >= middle[:, None]).to(tl.int32), axis=1).to(tl.int64)
        rises = searching & (found >= count)
        high = tl.where(searching & (found < count), middle, high)
        low, reached = tl.where(rises, middle, low), tl.where(rises, found, reached)
        searching = (high - low > 1) & (reached > count)
    return tl.min(tl.where(key >= low[:, None], key, NOTHING), axis=1)


@kernel
def pair_up(key: tl.tensor, ROWS: tl.constexpr, WIDTH: tl.constexpr) -> Any:
    """Return keys of 15 bits in pairs, under a set bit each, which a subtraction clears if it takes more than the key.

    So a pair is compared in three operations. Padding becomes 0, which is below the middle of any search. Shape:
    (ROWS, WIDTH) -> (ROWS, WIDTH / 2) int32.
    """
    even, odd = tl.split(tl.reshape(tl.maximum(key, 0), [ROWS, WIDTH // 2, 2]))
    return even | (odd << 16) | -2147450880  # 0x80008000


@kernel
def spend(key: tl.tensor, units: tl.tensor, budget: tl.tensor, smallest: tl.tensor, length: tl.tensor) -> Any:
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
