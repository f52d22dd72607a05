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
from ellq_kernels.cpu.lane_memory import load, store, store_part
from ellq_kernels.cpu.lanes import above, both, count, equal, highest, larger, plus, splat, times, total, where
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
        chunk = chunk_at(bits, fan_in, index)
        seen = mark_chunk(choice, fan_in, index, seen, marks)
        row = index // chunks_of(fan_in)
        l1[index], l2_squared[index], zeros[index] = take_chunk(chunk, fmt, marks, erasing, scale, row)


@kernel
def take_chunk(chunk: Bits, fmt: Format, marks: Marks, erasing: bool, scale: Scale, row: int) -> tuple[float, float, int]:
    """Zero the weights that go when `erasing`. Return the l_1 and squared l_2 sums of what goes, and the zeros after."""
    l1, l2_squared = splat(0.0), splat(0.0)
    zeros = len(chunk) - padded(len(chunk))
    for j in range(0, len(chunk), LANES):
        keys = keys_at(chunk, j, fmt)
        cut = gone(keys, marks, j)
        x = scaled_magnitudes(cut, fmt, scale, row)
        l1 = plus(l1, x)
        l2_squared = plus(l2_squared, times(x, x))
        zeros += count(equal(where(equal(load(marks, j), 0), 0, keys), 0))
        if erasing:
            left = where(equal(load(marks, j), 0), 0, raw_at(chunk, j))
            if j + LANES <= len(chunk):
                store(chunk, j, left)
            else:
                store_part(chunk, j, left, len(chunk) - j)
    return total(l1), total(l2_squared), zeros


@part
def gone(keys: Any, marks: Marks, j: int) -> Any:
    """Return the keys that go, and 0 for those that stay."""
    return where(equal(load(marks, j), 0), keys, 0)
