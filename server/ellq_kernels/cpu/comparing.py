"""What became of weights: magnitudes of differences, and their sums."""

import numpy as np

from ellq_kernels.cpu.decoding import Format, chunk_at, chunks_of, key_of, padded, signed_of
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.lane_memory import load
from ellq_kernels.cpu.lanes import plus, splat, times, total
from ellq_kernels.cpu.weighing import above
from ellq_kernels.scaling import Scale
from ellq_math.dtypes import Bits
from ellq_math.sums import CHUNK, LANES, Array
from ellq_math.values import Counts


@kernel
def largest_differences(before: Bits, fan_in: int, fmt: Format, first: int, last: int, after: Bits, largest: Array) -> None:
    """Fill [first, last) of `largest`, shape (chunks,), with the largest difference of each chunk."""
    gaps = np.empty(CHUNK)
    for index in range(first, last):
        chunk = chunk_at(before, fan_in, index)
        compare_chunk(chunk, chunk_at(after, fan_in, index), fmt, gaps)
        found = 0.0
        for j in range(len(chunk)):
            found = max(found, gaps[j])
        largest[index] = found


@kernel
def difference_chunks(
    before: Bits,
    fan_in: int,
    fmt: Format,
    first: int,
    last: int,
    after: Bits,
    scale: Scale,
    l1: Array,
    l2_squared: Array,
    zeros: Counts,
) -> None:
    """Fill [first, last) of `l1`, `l2_squared` and `zeros`, shape (chunks,). `scale` has one entry for each row."""
    gaps = np.empty(CHUNK)
    for index in range(first, last):
        chunk = chunk_at(before, fan_in, index)
        row = index // chunks_of(fan_in)
        zeros[index] = compare_chunk(chunk, chunk_at(after, fan_in, index), fmt, gaps)
        first_sums, second_sums = splat(0.0), splat(0.0)
        for j in range(0, len(chunk), LANES):
            x = times(times(load(gaps, j), scale.first[row]), scale.second[row])
            first_sums = plus(first_sums, x)
            second_sums = plus(second_sums, times(x, x))
        l1[index], l2_squared[index] = total(first_sums), total(second_sums)


@kernel
def compare_chunk(before: Bits, after: Bits, fmt: Format, gaps: Array) -> int:
    """Set gaps to the differences, rounded up, and pad with zeros to full lanes. Return how many weights are zero after."""
    zeros = 0
    for j in range(len(before)):
        gap = abs(signed_of(before[j], fmt) - signed_of(after[j], fmt))
        gone = key_of(after[j], fmt) == 0
        zeros += gone
        gaps[j] = gap if gone or gap == 0.0 else above(gap)
    for j in range(len(before), padded(len(before))):
        gaps[j] = 0.0
    return zeros
