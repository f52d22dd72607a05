"""One pass over chunks: power sums, largest magnitude, zeros, fixed-point totals, the first number that is none."""

import numpy as np

from ellq_kernels.cpu.decoding import Format, chunk_at, chunks_of, decode_chunk, key_of, magnitude_of, padded
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.terms import Powers, fold_chunk, raise_chunk
from ellq_kernels.scaling import Scale, UnitScale
from ellq_math.dtypes import Bits
from ellq_math.sums import CHUNK, Array
from ellq_math.values import Counts


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

    `scale` has one entry for each row, or none where magnitudes are not scaled.
    """
    magnitudes = np.empty(CHUNK)
    terms = np.empty(CHUNK)
    for index in range(first, last):
        chunk = chunk_at(bits, fan_in, index)
        count = len(chunk)
        key, zeros[index] = decode_chunk(chunk, fmt, magnitudes)
        largest[index] = magnitude_of(key, fmt)
        if len(scale.first) > 0:
            row = index // chunks_of(fan_in)
            scale_chunk(magnitudes, count, scale.first[row], scale.second[row])
        for which in range(len(powers.orders)):
            raise_chunk(magnitudes, count, powers, which, terms)
            for j in range(count, padded(count)):
                terms[j] = 0.0
            sums[which, index] = fold_chunk(terms, count)


@kernel
def scale_chunk(magnitudes: Array, count: int, first: float, second: float) -> None:
    """Multiply by both factors, in place."""
    for j in range(count):
        magnitudes[j] = magnitudes[j] * first * second


@kernel
def largest_magnitudes(bits: Bits, fan_in: int, fmt: Format, first: int, last: int, largest: Array) -> None:
    """Fill [first, last) of `largest`, shape (chunks,), with the largest magnitude of each chunk."""
    for index in range(first, last):
        found = 0
        for raw in chunk_at(bits, fan_in, index):
            found = max(found, key_of(raw, fmt))
        largest[index] = magnitude_of(found, fmt)


@kernel
def unit_of(magnitude: float, p: int, first: float, second: float, resolution: float, slack: float) -> float:
    """Return the fixed-point share of a magnitude before it is rounded to an integer: see UnitScale."""
    x = magnitude * first * second
    return x * resolution if p == 1 else x * x * slack * resolution


@kernel
def total_chunks(bits: Bits, fan_in: int, fmt: Format, first: int, last: int, units: UnitScale, totals: Counts) -> None:
    """Fill [first, last) of `totals`, shape (chunks,), with sums of units rounded down."""
    magnitudes = np.empty(CHUNK)
    for index in range(first, last):
        chunk = chunk_at(bits, fan_in, index)
        decode_chunk(chunk, fmt, magnitudes)
        row = index // chunks_of(fan_in)
        p, up, again, resolution, slack = (
            units.p[row],
            units.first[row],
            units.second[row],
            units.resolution[row],
            units.slack[row],
        )
        total = 0
        for j in range(len(chunk)):
            total += int(np.floor(unit_of(magnitudes[j], p, up, again, resolution, slack)))
        totals[index] = total


@kernel
def first_nonfinite(bits: Bits, fan_in: int, fmt: Format, first: int, last: int) -> int:
    """Return the flat index of the first NaN or infinity in chunks [first, last), -1 when there is none."""
    for index in range(first, last):
        chunk = chunk_at(bits, fan_in, index)
        found = 0
        for raw in chunk:
            found += key_of(raw, fmt) >= fmt.infinity
        if found > 0:
            row, position = divmod(index, chunks_of(fan_in))
            for j in range(len(chunk)):
                if key_of(chunk[j], fmt) >= fmt.infinity:
                    return row * fan_in + position * CHUNK + j
    return -1
