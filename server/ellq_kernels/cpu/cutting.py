"""Applying a cut: what goes becomes +0.0, and its tails are summed."""

from typing import Any

import numpy as np

from ellq_kernels.cpu.decoding import (
    Format,
    chunk_at,
    chunks_of,
    key_below,
    keys_at,
    magnitude_of,
    padded,
    raw_at,
    scaled_magnitudes,
)
from ellq_kernels.cpu.jit import kernel, part
from ellq_kernels.cpu.lane_memory import AHEAD, load, prefetch, store, store_part
from ellq_kernels.cpu.lanes import (
    above,
    both,
    count,
    equal,
    flags_of,
    highest,
    larger,
    pattern_of,
    plus,
    splat,
    times,
    total,
    unlike,
    where,
)
from ellq_kernels.cpu.marking import Choice, Marks, mark_chunk
from ellq_kernels.scaling import Scale
from ellq_math.dtypes import Bits
from ellq_math.sums import CHUNK, LANES, Array
from ellq_math.values import Counts


@kernel
def compare_chunks(
    bits: Bits, fan_in: int, fmt: Format, first: int, last: int, threshold: float, over: Counts, ties: Counts
) -> None:
    """Fill [first, last) of `over` and `ties`, shape (chunks,): how each chunk stands against one threshold."""
    limit, exact = key_below(threshold, fmt)
    for index in range(first, last):
        chunk = chunk_at(bits, fan_in, index)
        more = 0
        same = len(chunk) - padded(len(chunk)) if limit == 0 else 0  # what pads is no weight
        for j in range(0, len(chunk), LANES):
            prefetch(chunk, j + AHEAD)
            keys = keys_at(chunk, j, fmt)
            more += count(above(keys, limit))
            same += count(equal(keys, limit))
        over[index] = more
        ties[index] = same if exact else 0


@kernel
def largest_cut_chunks(
    bits: Bits, fan_in: int, fmt: Format, first: int, last: int, seen: int, choice: Choice, largest: Array
) -> None:
    """Fill [first, last) of `largest`, shape (chunks,), with the largest magnitude that goes, 0 when nothing does."""
    marks = np.zeros(CHUNK, np.uint8)
    for index in range(first, last):
        chunk = chunk_at(bits, fan_in, index)
        seen = mark_chunk(choice, fan_in, index, seen, marks)
        most = both(keys_at(chunk, 0, fmt), 0)
        for j in range(0, len(chunk), LANES):
            most = larger(most, gone(keys_at(chunk, j, fmt), marks, j))
        largest[index] = magnitude_of(highest(most), fmt)


@kernel
def cut_chunks(
    bits: Bits,
    fan_in: int,
    fmt: Format,
    first: int,
    last: int,
    seen: int,
    choice: Choice,
    erasing: bool,
    scale: Scale,
    l1: Array,
    l2_squared: Array,
    zeros: Counts,
) -> None:
    """Cut chunks [first, last), in place when `erasing`, else only for what it would remove.

    `seen`: see mark_chunk. `l1`, `l2_squared` and `zeros`, shape (chunks,), tell of each chunk after the cut. What goes is
    scaled before it is summed.
    """
    marks = np.zeros(CHUNK, np.uint8)
    for index in range(first, last):
        row, position = divmod(index, chunks_of(fan_in))
        chunk = chunk_at(bits, fan_in, index)
        if choice.width == fan_in:  # no marks need to pass through memory
            seen = seen if position > 0 else 0
            keys, threshold, room = chunk_at(choice.keys, fan_in, index), choice.thresholds[row, 0], choice.ties[row, 0] - seen
            found, ties = take_above(chunk, fmt, keys, choice.format, threshold, room, erasing, scale, row)
            seen += ties
        else:
            seen = mark_chunk(choice, fan_in, index, seen, marks)
            found = take_unmarked(chunk, fmt, marks, erasing, scale, row)
        l1[index], l2_squared[index], zeros[index] = found


@kernel
def take_unmarked(chunk: Bits, fmt: Format, marks: Marks, erasing: bool, scale: Scale, row: int) -> tuple[float, float, int]:
    """Zero the weights that go when `erasing`. Return the l_1 and squared l_2 sums of what goes, and the zeros after."""
    l1, l2_squared = splat(0.0), splat(0.0)
    zeros = len(chunk) - padded(len(chunk))
    for j in range(0, len(chunk), LANES):
        own, stays = keys_at(chunk, j, fmt), above(load(marks, j), 0)
        x = scaled_magnitudes(where(stays, 0, own), fmt, scale, row)
        l1 = plus(l1, x)
        l2_squared = plus(l2_squared, times(x, x))
        zeros += count(equal(where(stays, own, 0), 0))
        if erasing:
            erase(chunk, j, stays)
    return total(l1), total(l2_squared), zeros


@kernel
def take_above(
    chunk: Bits, fmt: Format, keys: Bits, key_fmt: Format, threshold: float, room: int, erasing: bool, scale: Scale, row: int
) -> tuple[tuple[float, float, int], int]:
    """Return what take_unmarked does when keys above the threshold stay, and the ties; the first `room` of them stay."""
    limit, exact = key_below(threshold, key_fmt)
    padding = padded(len(chunk)) - len(chunk)  # zeros, behind all weights
    l1, l2_squared = splat(0.0), splat(0.0)
    zeros, ties = -padding, 0
    for j in range(0, len(chunk), LANES):
        prefetch(chunk, j + AHEAD)
        choosing, own = keys_at(keys, j, key_fmt), keys_at(chunk, j, fmt)
        stays = above(choosing, limit)
        same = equal(choosing, limit)
        here = count(same) if exact else 0
        if here > 0:
            if ties < room:
                stays = unlike(stays, first_flags(same, room - ties))
            ties += here
        x = scaled_magnitudes(where(stays, 0, own), fmt, scale, row)
        l1 = plus(l1, x)
        l2_squared = plus(l2_squared, times(x, x))
        zeros += count(equal(where(stays, own, 0), 0))
        if erasing:
            erase(chunk, j, stays)
    return (total(l1), total(l2_squared), zeros), ties - (padding if exact and limit == 0 else 0)


@part
def erase(chunk: Bits, j: int, stays: Any) -> None:
    """Zero those of sixteen weights that go."""
    left = where(stays, raw_at(chunk, j), 0)
    if j + LANES <= len(chunk):
        store(chunk, j, left)
    else:
        store_part(chunk, j, left, len(chunk) - j)


@part
def first_flags(flags: Any, wanted: int) -> Any:
    """Return the first `wanted` of the flags that are set."""
    given = pattern_of(flags)
    rest = given
    while rest != 0 and wanted > 0:
        rest &= rest - 1
        wanted -= 1
    return flags_of(given ^ rest)


@part
def gone(keys: Any, marks: Marks, j: int) -> Any:
    """Return the keys that go, and 0 for those that stay."""
    return where(equal(load(marks, j), 0), keys, 0)
