"""Deciding which weights a cut keeps, group by group."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ellq_kernels.cpu.decoding import Format, chunks_of, key_below, key_of, keys_at, padded
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.lane_memory import store, store_part
from ellq_kernels.cpu.lanes import above, bytes_of, count, equal
from ellq_math.dtypes import Bits
from ellq_math.sums import CHUNK, LANES, Array
from ellq_math.values import Counts

Marks = npt.NDArray[np.uint8]


class Choice(NamedTuple):
    """A cut, and what it is a cut of: the weights themselves or keys in their place."""

    keys: Bits
    """(neurons * fan_in,)."""
    format: Format
    """Of the keys."""
    thresholds: Array
    """(neurons, groups)."""
    ties: Counts
    """(neurons, groups): equals of the threshold that stay."""
    width: int
    """Weights in a full group."""


@kernel
def mark_chunk(choice: Choice, fan_in: int, index: int, seen: int, marks: Marks) -> int:
    """Mark a chunk's weights that stay with 1, others with 0.

    `seen`: ties of the group under way that earlier chunks have; the return value is the same for the next chunk.
    """
    row, position = divmod(index, chunks_of(fan_in))
    j = position * CHUNK
    end = min(j + CHUNK, fan_in)
    while j < end:
        group = j // choice.width
        begin, stop = group * choice.width, min(end, (group + 1) * choice.width)
        seen = 0 if j == begin else seen
        keys = choice.keys[row * fan_in + j : row * fan_in + stop]
        marked = marks[j - position * CHUNK : stop - position * CHUNK]
        seen += mark_segment(keys, choice.format, choice.thresholds[row, group], choice.ties[row, group] - seen, marked)
        j = stop
    return seen


@kernel
def mark_segment(keys: Bits, fmt: Format, threshold: float, room: int, marks: Marks) -> int:
    """Mark what is above the threshold, and the first `room` that equal it. Return how many equal it."""
    limit, exact = key_below(threshold, fmt)
    ties = len(keys) - padded(len(keys)) if limit == 0 else 0  # what pads is no weight
    for j in range(0, len(keys), LANES):
        sixteen = keys_at(keys, j, fmt)
        ties += count(equal(sixteen, limit))
        stays = bytes_of(above(sixteen, limit))
        if j + LANES <= len(keys):
            store(marks, j, stays)
        else:
            store_part(marks, j, stays, len(keys) - j)
    if not exact:
        return 0
    left = min(room, ties)
    for j in range(0, len(keys), LANES):
        if left <= 0:
            break
        if count(equal(keys_at(keys, j, fmt), limit)) > 0:
            left -= mark_ties(keys[j : j + LANES], fmt, limit, left, marks[j : j + LANES])
    return ties


@kernel
def mark_ties(keys: Bits, fmt: Format, limit: int, room: int, marks: Marks) -> int:
    """Mark the first `room` keys that equal the limit, one by one. Return how many were marked."""
    left = room
    for j in range(len(keys)):
        if key_of(keys[j], fmt) == limit and left > 0:
            marks[j] = 1
            left -= 1
    return room - left


@kernel
def ties_at_end(choice: Choice, fan_in: int, first: int, last: int) -> tuple[int, bool]:
    """Return the ties that chunks [first, last) have of the group under way at their end, and whether it began before them."""
    row, position = divmod(last - 1, chunks_of(fan_in))
    end = min((position + 1) * CHUNK, fan_in)
    group = (end - 1) // choice.width
    begin = row * fan_in + group * choice.width
    row_first, position = divmod(first, chunks_of(fan_in))
    start = row_first * fan_in + position * CHUNK
    limit, exact = key_below(choice.thresholds[row, group], choice.format)
    keys = choice.keys[max(begin, start) : row * fan_in + end]
    ties = len(keys) - padded(len(keys)) if limit == 0 else 0
    for j in range(0, len(keys), LANES):
        ties += count(equal(keys_at(keys, j, choice.format), limit))
    return ties if exact else 0, begin < start
