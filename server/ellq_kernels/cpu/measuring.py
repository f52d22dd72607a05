"""One pass over chunks: power sums, largest magnitude, zeros, fixed-point totals, the first number that is none."""

from typing import NamedTuple

import numpy as np

from ellq_kernels.cpu.decoding import (
    Format,
    chunk_at,
    chunks_of,
    key_of,
    keys_at,
    magnitude_of,
    padded,
    scaled_magnitudes,
)
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.lane_memory import AHEAD, prefetch, store
from ellq_kernels.cpu.lanes import both, count, equal, highest, larger, plus, splat, times, total
from ellq_kernels.cpu.roots import roots_of
from ellq_kernels.cpu.terms import Powers, sum_looked_up, sum_powers
from ellq_kernels.cpu.units import units_down, units_of_row
from ellq_kernels.scaling import Scale, UnitScale
from ellq_math.dtypes import Bits
from ellq_math.sums import CHUNK, LANES, Array
from ellq_math.values import Counts


class Chunk(NamedTuple):
    """What one pass over a chunk finds."""

    key: int
    """Largest key."""
    zeros: int
    l1: float
    l2_squared: float
    half: float
    """Sum of square roots, where asked for."""


@kernel
def measure_chunks(
    bits: Bits,
    fan_in: int,
    fmt: Format,
    first: int,
    last: int,
    powers: Powers,
    scale: Scale,
    sums: Array,
    largest: Array,
    zeros: Counts,
) -> None:
    """Fill columns [first, last) of `sums`, shape (orders, chunks), and of the largest magnitudes and zero counts, (chunks,).

    The largest of a chunk with a NaN or infinity is infinite. `scale` has one entry for each row, or none where magnitudes
    are not scaled.
    """
    magnitudes = np.empty(CHUNK)
    rooting = powers.by_key.shape[1] == 0 and (powers.orders == 0.5).any()
    for index in range(first, last):
        chunk = chunk_at(bits, fan_in, index)
        found = read_chunk(chunk, fmt, scale, index // chunks_of(fan_in), rooting, magnitudes)
        largest[index] = magnitude_of(found.key, fmt) if found.key < fmt.infinity else np.inf
        zeros[index] = found.zeros
        for which in range(len(powers.orders)):
            order = powers.orders[which]
            if order == 1.0:
                sums[which, index] = found.l1
            elif order == 2.0:
                sums[which, index] = found.l2_squared
            elif powers.by_key.shape[1] > 0:
                sums[which, index] = sum_looked_up(chunk, fmt, powers.by_key[which])
            elif order == 0.5:
                sums[which, index] = found.half
            else:
                sums[which, index] = sum_powers(magnitudes, len(chunk), powers, which)


@kernel
def read_chunk(chunk: Bits, fmt: Format, scale: Scale, row: int, rooting: bool, magnitudes: Array) -> Chunk:
    """Sum a chunk and store its scaled magnitudes, padded to full lanes.

    Everything in one loop: what is not a square root costs nothing while the divider takes one.
    """
    l1, l2_squared, half = splat(0.0), splat(0.0), splat(0.0)
    most = both(keys_at(chunk, 0, fmt), 0)
    zeros = len(chunk) - padded(len(chunk))  # what pads is no weight
    for j in range(0, len(chunk), LANES):
        prefetch(chunk, j + AHEAD)
        keys = keys_at(chunk, j, fmt)
        x = scaled_magnitudes(keys, fmt, scale, row)
        most = larger(most, keys)
        zeros += count(equal(keys, 0))
        l1 = plus(l1, x)
        l2_squared = plus(l2_squared, times(x, x))
        if rooting:
            half = plus(half, roots_of(x, keys))
        store(magnitudes, j, x)
    return Chunk(highest(most), zeros, total(l1), total(l2_squared), total(half))


@kernel
def largest_magnitudes(bits: Bits, fan_in: int, fmt: Format, first: int, last: int, largest: Array) -> None:
    """Fill [first, last) of `largest`, shape (chunks,), with the largest magnitude of each chunk, infinite as above."""
    for index in range(first, last):
        key = largest_key(chunk_at(bits, fan_in, index), fmt)
        largest[index] = magnitude_of(key, fmt) if key < fmt.infinity else np.inf


@kernel
def largest_key(chunk: Bits, fmt: Format) -> int:
    """Return the largest key of a chunk, as int64."""
    most = both(keys_at(chunk, 0, fmt), 0)
    for j in range(0, len(chunk), LANES):
        most = larger(most, keys_at(chunk, j, fmt))
    return highest(most)


@kernel
def total_chunks(bits: Bits, fan_in: int, fmt: Format, first: int, last: int, units: UnitScale, totals: Counts) -> None:
    """Fill [first, last) of `totals`, shape (chunks,), with sums of units rounded down."""
    for index in range(first, last):
        of_row = units_of_row(units, index // chunks_of(fan_in))
        chunk = chunk_at(bits, fan_in, index)
        added = splat(np.int64(0))
        for j in range(0, len(chunk), LANES):
            prefetch(chunk, j + AHEAD)
            added = plus(added, units_down(keys_at(chunk, j, fmt), fmt, of_row))
        totals[index] = total(added)


@kernel
def first_nonfinite(bits: Bits, fan_in: int, fmt: Format, first: int, last: int) -> int:
    """Return the flat index of the first NaN or infinity in chunks [first, last), -1 when there is none."""
    for index in range(first, last):
        chunk = chunk_at(bits, fan_in, index)
        if largest_key(chunk, fmt) >= fmt.infinity:
            row, position = divmod(index, chunks_of(fan_in))
            for j in range(len(chunk)):
                if key_of(chunk[j], fmt) >= fmt.infinity:
                    return row * fan_in + position * CHUNK + j
    return -1
