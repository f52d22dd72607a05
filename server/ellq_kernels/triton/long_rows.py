"""The bisections of `choosing` for groups too long for registers: one program a group reads it again at every step.

After the first reading a group comes from the caches: the 50 MB of an H100's L2 hold one for each of 132 multiprocessors up to
a length of some 190 000 16-bit weights. So memory is read about once here too, but each step costs the bandwidth of L2.
"""

from typing import Any

import triton.language as tl

from ellq_kernels.triton.jit import kernel
from ellq_kernels.triton.marking import end_of_ties
from ellq_kernels.triton.reading import key_of, magnitude_of, place
from ellq_kernels.triton.units import shares_of, units_up


@kernel
def choose_long(
    weights: tl.tensor, tiles: tl.tensor, wanted: tl.tensor, scales: tl.tensor, kept: tl.tensor,
    above: tl.tensor, ties: tl.tensor, ends: tl.tensor, rows: tl.tensor,
    DTYPE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, WITHIN: tl.constexpr, ALIGNMENT: tl.constexpr,
    NOTHING: tl.constexpr,
) -> None:  # fmt: skip
    """Do what `choose_in_registers` does, WIDTH weights at a time; ROWS is 1."""
    start, _, length, group, row = place(tiles, ROWS, ALIGNMENT)
    aim = tl.load(wanted + group)
    low, high = extent(weights, start, length, DTYPE, WIDTH, NOTHING)
    high += 2
    while tl.max(high - low, axis=0) > 1:
        middle = low + (high - low) // 2
        spent, smaller, _ = tally(weights, start, length, middle, scales, rows, row, DTYPE, WIDTH, WITHIN)
        rises = spent <= aim if WITHIN else length - smaller >= tl.maximum(aim, 1)
        low, high = tl.where(rises, middle, low), tl.where(rises, high, middle)
    spent, smaller, same = tally(weights, start, length, low, scales, rows, row, DTYPE, WIDTH, WITHIN)
    stay = aim
    if WITHIN:
        through, _, _ = tally(weights, start, length, low + 1, scales, rows, row, DTYPE, WIDTH, WITHIN)
        each = tl.maximum((through - spent) // tl.maximum(same, 1), 1)  # equal weights have equal units
        stay = length - smaller - tl.minimum(tl.maximum(aim - spent, 0) // each, same)
    threshold = tl.where(stay > 0, low, NOTHING)
    staying = tl.where(stay > 0, stay - (length - smaller - same), 0)
    tl.store(kept + group, stay)
    tl.store(above + group, threshold + 1)
    tl.store(ties + group, staying)
    tl.store(ends + group, end_of_ties(weights, start, length, threshold, staying, DTYPE, ROWS, WIDTH))


@kernel
def extent(
    weights: tl.tensor, start: tl.tensor, length: tl.tensor, DTYPE: tl.constexpr, WIDTH: tl.constexpr, NOTHING: tl.constexpr
) -> Any:
    """Return the smallest and the largest key of a group. Shape: (1,) int64 each."""
    smallest, largest = tl.full([1], NOTHING, tl.int64), tl.zeros([1], tl.int64)
    for at in range(0, tl.max(length, axis=0), WIDTH):
        offset = tl.arange(0, WIDTH) + at
        inside = offset[None, :] < length[:, None]
        key = key_of(tl.load(weights + (start[:, None] + offset[None, :]), mask=inside, other=0), DTYPE).to(tl.int64)
        smallest = tl.minimum(smallest, tl.min(tl.where(inside, key, NOTHING), axis=1))
        largest = tl.maximum(largest, tl.max(key, axis=1))
    return smallest, largest


@kernel
def tally(
    weights: tl.tensor, start: tl.tensor, length: tl.tensor, bound: tl.tensor, scales: tl.tensor, rows: tl.tensor,
    row: tl.tensor, DTYPE: tl.constexpr, WIDTH: tl.constexpr, WITHIN: tl.constexpr,
) -> Any:  # fmt: skip
    """Return the units below a bound (0 unless WITHIN), the count below it, and the count at it. Shape: (1,) int64 each."""
    spent, smaller, same = tl.zeros([1], tl.int64), tl.zeros([1], tl.int64), tl.zeros([1], tl.int64)
    for at in range(0, tl.max(length, axis=0), WIDTH):
        offset = tl.arange(0, WIDTH) + at
        inside = offset[None, :] < length[:, None]
        key = key_of(tl.load(weights + (start[:, None] + offset[None, :]), mask=inside, other=0), DTYPE)
        below = inside & (key < bound[:, None])
        smaller += tl.sum(below.to(tl.int32), axis=1)
        same += tl.sum((inside & (key == bound[:, None])).to(tl.int32), axis=1)
        if WITHIN:
            x = tl.where(below, magnitude_of(key, DTYPE), 0.0)
            spent += tl.sum(units_up(x, shares_of(x, scales, rows, row, length > 0)), axis=1)
    return spent, smaller, same
