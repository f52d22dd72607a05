"""From raw bits to float64 magnitudes, the same few integer operations for every dtype."""

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from ellq_kernels.cpu.borrowing import borrowed
from ellq_kernels.cpu.jit import bits_of, float_of, kernel, part
from ellq_kernels.cpu.lane_memory import load, load_part
from ellq_kernels.cpu.lanes import above, both, converted, floats_widened, numbers_of, plus, times, up, where, widened
from ellq_kernels.scaling import Scale
from ellq_math.dtypes import WEIGHT_DTYPES, Bits
from ellq_math.sums import CHUNK, LANES, Array


class Format(NamedTuple):
    """A floating point format, as the constants that decode it.

    A magnitude key is a weight's bits without the sign: an integer that orders as the magnitude does.
    """

    key_bits: int
    """Bits of a key."""
    normal: int
    """Smallest key that is not subnormal; 0 for F64, whose subnormals need no care."""
    infinity: int
    """Key of infinity; NaNs are above."""
    shift: int
    """From this mantissa to that of float64."""
    rebias: int
    """From this exponent bias to that of float64, in place; added after the shift."""
    step: float
    """Value of key 1; 0 for F64, because every multiplication by a subnormal stalls the processor, needed or not."""
    smallest_normal: float
    """Smallest magnitude that is not subnormal; 0 for F64."""


def format_of(dtype: str) -> Format:
    """Return the constants of a dtype in WEIGHT_DTYPES."""
    size = WEIGHT_DTYPES[dtype]
    key_bits = 8 * size.itemsize - 1
    bias = (1 << (key_bits - size.mantissa_bits - 1)) - 1
    return Format(
        key_bits=key_bits,
        normal=0 if dtype == "F64" else 1 << size.mantissa_bits,
        infinity=(2 * bias + 1) << size.mantissa_bits,
        shift=52 - size.mantissa_bits,
        rebias=(1023 - bias) << 52,
        step=0.0 if dtype == "F64" else 2.0 ** (1 - bias - size.mantissa_bits),
        smallest_normal=0.0 if dtype == "F64" else 2.0 ** (1 - bias),
    )


FORMATS = {dtype: format_of(dtype) for dtype in WEIGHT_DTYPES}


@part
def key_of(bits: Any, fmt: Format) -> Any:
    """Return the magnitude key of raw bits of any width, as int64."""
    return np.int64(bits) & ((1 << fmt.key_bits) - 1)


@part
def magnitude_of(key: int, fmt: Format) -> float:
    """Return the float64 magnitude of a finite key, exactly; both branches are cheap so that loops over it vectorise."""
    normal = float_of((key << fmt.shift) + fmt.rebias)
    return normal if key >= fmt.normal else np.float64(key) * fmt.step


@kernel
def signed_of(bits: Any, fmt: Format) -> float:
    """Return the float64 value of raw bits of any width, exactly."""
    magnitude = magnitude_of(key_of(bits, fmt), fmt)
    return -magnitude if (np.int64(bits) >> fmt.key_bits) & 1 else magnitude


@kernel
def bits_nearest(value: float, fmt: Format) -> int:
    """Return the bits of the number that a format has nearest to a value, ties to even, as int64.

    Beyond the largest finite number that is the nearest; either zero is +0.0.
    """
    magnitude = abs(value)
    if magnitude < fmt.smallest_normal:
        whole = fmt.step * 2.0**52  # a sum from here to its double is a multiple of the step
        key = bits_of(magnitude + whole) - bits_of(whole)
    else:
        scaled = bits_of(magnitude) - fmt.rebias
        half = (1 << fmt.shift) >> 1
        odd = (scaled >> fmt.shift) & 1
        key = (scaled + max(half - 1, 0) + (odd if half > 0 else 0)) >> fmt.shift
    key = min(key, fmt.infinity - 1)
    return key | (1 << fmt.key_bits) if key > 0 and value < 0.0 else key


@part
def key_below(magnitude: float, fmt: Format) -> tuple[int, bool]:
    """Return the largest key of at most a magnitude, which may be infinite, and whether that is the magnitude itself."""
    if magnitude >= fmt.smallest_normal:
        key = max(min((bits_of(magnitude) - fmt.rebias) >> fmt.shift, fmt.infinity), 0)
    else:
        key = int(magnitude / fmt.step)
    return key, magnitude_of(key, fmt) == magnitude


@part
def raw_at(bits: Bits | Array, j: int) -> Any:
    """Return sixteen entries from `j` on; where the array ends, zeros follow."""
    return load(bits, j) if j + LANES <= len(bits) else load_part(bits, j, len(bits) - j)


@part
def keys_at(bits: Bits, j: int, fmt: Format) -> Any:
    """Return the magnitude keys of sixteen weights from `j` on; where the array ends, zeros follow."""
    return both(raw_at(bits, j), (1 << fmt.key_bits) - 1)


def magnitudes_of(keys: Any, fmt: Format) -> Any:
    """Return the float64 magnitudes of sixteen keys; infinity and NaN come out as such where `floats_widened` does it."""
    raise NotImplementedError


@overload(magnitudes_of, strict=False, jit_options={"forceinline": True})
def _magnitudes_of(keys: Any, fmt: Any) -> Any:
    if keys.element.bitwidth == 64:
        return lambda keys, fmt: numbers_of(keys)
    if keys.element.bitwidth == 32:
        return lambda keys, fmt: floats_widened(keys)
    return lambda keys, fmt: where(
        above(keys, fmt.normal - 1),
        numbers_of(plus(up(widened(keys), fmt.shift), fmt.rebias)),
        times(converted(keys), fmt.step),
    )


@part
def scaled_magnitudes(keys: Any, fmt: Format, scale: Scale, row: int) -> Any:
    """Return the magnitudes of sixteen keys of a row, scaled where `scale` has an entry for each row rather than none."""
    if len(scale.first) == 0:
        return magnitudes_of(keys, fmt)
    return times(times(magnitudes_of(keys, fmt), scale.first[row]), scale.second[row])


@part
def padded(count: int) -> int:
    """Return the next multiple of LANES."""
    return (count + LANES - 1) // LANES * LANES


@part
def chunks_of(fan_in: int) -> int:
    """Return how many chunks a row has."""
    return (fan_in + CHUNK - 1) // CHUNK


@part
def chunk_at(bits: Bits, fan_in: int, index: int) -> Bits:
    """Return one chunk of the matrix, counted through all rows; chunks never cross rows."""
    row, position = divmod(index, chunks_of(fan_in))
    start = row * fan_in + position * CHUNK
    return borrowed(bits, start, min(start + CHUNK, (row + 1) * fan_in))
