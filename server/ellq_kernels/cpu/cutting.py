"""Applying a cut: what goes becomes +0.0, and its tails are summed."""

from typing import NamedTuple

import numpy as np

from ellq_kernels.cpu.decoding import Format, chunk_at, chunks_of, decode_chunk, key_of, padded
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.measuring import scale_chunk
from ellq_kernels.cpu.terms import fold_chunk
from ellq_kernels.scaling import Scale
from ellq_math.dtypes import Bits
from ellq_math.sums import CHUNK, Array
from ellq_math.values import Counts


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
def compare_chunks(
    bits: Bits, fan_in: int, fmt: Format, first: int, last: int, threshold: float, above: Counts, equal: Counts
) -> None:
    """Fill [first, last) of `above` and `equal`, shape (chunks,): how each chunk stands against one threshold."""
    magnitudes = np.empty(CHUNK)
    for index in range(first, last):
        chunk = chunk_at(bits, fan_in, index)
        decode_chunk(chunk, fmt, magnitudes)
        more = 0
        same = 0
        for j in range(len(chunk)):
            more += magnitudes[j] > threshold
            same += magnitudes[j] == threshold
        above[index] = more
        equal[index] = same


@kernel
def largest_cut_rows(bits: Bits, fan_in: int, fmt: Format, first: int, last: int, choice: Choice, largest: Array) -> None:
    """Fill [first, last) of `largest`, shape (neurons,), with the largest magnitude that goes, 0 when nothing does."""
    marks, magnitudes = np.empty(CHUNK), np.empty(CHUNK)
    chunks = chunks_of(fan_in)
    for row in range(first, last):
        found = 0.0
        stayed = 0
        for position in range(chunks):
            chunk = chunk_at(bits, fan_in, row * chunks + position)
            stayed = choose_chunk(choice, fan_in, row, position, stayed, marks)
            decode_chunk(chunk, fmt, magnitudes)
            for j in range(len(chunk)):
                found = max(found, 0.0 if marks[j] < 0.0 else magnitudes[j])
        largest[row] = found


@kernel
def cut_rows(
    bits: Bits,
    fan_in: int,
    fmt: Format,
    first: int,
    last: int,
    choice: Choice,
    erasing: bool,
    scale: Scale,
    l1: Array,
    l2_squared: Array,
    zeros: Counts,
) -> None:
    """Cut rows [first, last), in place when `erasing`, else only for what it would remove.

    `l1`, `l2_squared` and `zeros`, shape (chunks,), tell of each chunk after the cut. What goes is scaled before it is summed;
    `scale` has one entry for each row.
    """
    marks, magnitudes = np.empty(CHUNK), np.empty(CHUNK)
    chunks = chunks_of(fan_in)
    for row in range(first, last):
        stayed = 0
        for position in range(chunks):
            index = row * chunks + position
            chunk = chunk_at(bits, fan_in, index)
            count = len(chunk)
            stayed = choose_chunk(choice, fan_in, row, position, stayed, marks)
            decode_chunk(chunk, fmt, magnitudes)
            zeros[index] = take_chunk(chunk, fmt, marks, magnitudes, erasing)
            scale_chunk(magnitudes, count, scale.first[row], scale.second[row])
            l1[index], l2_squared[index] = fold_both(magnitudes, count)


@kernel
def choose_chunk(choice: Choice, fan_in: int, row: int, position: int, stayed: int, marks: Array) -> int:
    """Set marks to the keys of what goes and to -1 for what stays; `stayed` and the return value as in mark_chunk."""
    keys = chunk_at(choice.keys, fan_in, row * chunks_of(fan_in) + position)
    decode_chunk(keys, choice.format, marks)
    marks = marks[: len(keys)]
    return mark_chunk(marks, position * CHUNK, choice.thresholds[row], choice.ties[row], choice.width, stayed)


@kernel
def mark_chunk(magnitudes: Array, start: int, thresholds: Array, ties: Counts, width: int, stayed: int) -> int:
    """Overwrite the magnitudes that stay with -1 in a chunk that starts at weight `start` of its row.

    `stayed`: ties that the group under way has kept before this chunk; the return value is the same for the next chunk.
    """
    j = 0
    while j < len(magnitudes):
        group, offset = divmod(start + j, width)
        if offset == 0:
            stayed = 0
        stop = min(len(magnitudes), j + width - offset)
        stayed += mark_segment(magnitudes[j:stop], thresholds[group], ties[group] - stayed)
        j = stop
    return stayed


@kernel
def mark_segment(magnitudes: Array, threshold: float, room: int) -> int:
    """Overwrite what is above the threshold, and the first `room` that equal it, with -1. Return how many ties stayed."""
    same = 0
    for j in range(len(magnitudes)):
        same += magnitudes[j] == threshold
    if 0 < room < same:
        left = room
        for j in range(len(magnitudes)):
            if magnitudes[j] == threshold and left > 0:
                left -= 1
                magnitudes[j] = -1.0
            elif magnitudes[j] > threshold:
                magnitudes[j] = -1.0
        return room
    all_stay = room > 0
    for j in range(len(magnitudes)):
        magnitude = magnitudes[j]
        stays = (magnitude > threshold) | ((magnitude == threshold) & all_stay)
        magnitudes[j] = -1.0 if stays else magnitude
    return same if all_stay else 0


@kernel
def take_chunk(chunk: Bits, fmt: Format, marks: Array, magnitudes: Array, erasing: bool) -> int:
    """Zero the weights that go when `erasing`, and the magnitudes that stay. Return how many weights are zero after the cut."""
    nothing = chunk.dtype.type(0)  # a plain 0 would make numba pass 64-bit weights through float64
    zeros = 0
    for j in range(len(chunk)):
        stays = marks[j] < 0.0
        left = chunk[j] if stays else nothing
        magnitudes[j] = 0.0 if stays else magnitudes[j]
        if erasing:
            chunk[j] = left
        zeros += key_of(left, fmt) == 0
    return zeros


@kernel
def fold_both(magnitudes: Array, count: int) -> tuple[float, float]:
    """Return the canonical sums of the magnitudes and of their squares; overwrites the magnitudes."""
    squares = np.empty(CHUNK)
    for j in range(padded(count)):
        squares[j] = magnitudes[j] * magnitudes[j]
    return fold_chunk(magnitudes, count), fold_chunk(squares, count)
