"""Reading weights inside kernels: raw bits -> key -> exact float64 magnitude.

A key is the bits without the sign, an integer whose order is the order of magnitudes.
"""

from typing import Any

import triton.language as tl

from ellq_kernels.triton.jit import kernel
from ellq_math import sums
from ellq_math.dtypes import WEIGHT_DTYPES

LANES = tl.constexpr(sums.LANES)
"""As kernels want their constants."""


def infinity_key(dtype: str) -> int:
    """Return the key of infinity: above it lie the NaNs, and below it every finite magnitude."""
    size = WEIGHT_DTYPES[dtype]
    return (2 ** (8 * size.itemsize - 1) - 1) >> size.mantissa_bits << size.mantissa_bits


@kernel
def key_of(bits: tl.tensor, DTYPE: tl.constexpr) -> Any:
    """Return the keys of raw bits: int64 for F64, int32 for all others."""
    if DTYPE == "F64":
        key = bits & 0x7FFFFFFFFFFFFFFF
    elif DTYPE == "F32":
        key = bits & 0x7FFFFFFF
    else:
        key = bits.to(tl.int32) & 0x7FFF
    return key


@kernel
def magnitude_of(key: tl.tensor, DTYPE: tl.constexpr) -> Any:
    """Return the float64 magnitudes of keys. BF16 is the upper half of F32, so it needs no conversion of its own."""
    if DTYPE == "F64":
        x = key.to(tl.float64, bitcast=True)
    elif DTYPE == "F32":
        x = key.to(tl.float32, bitcast=True).to(tl.float64)
    elif DTYPE == "F16":
        x = key.to(tl.int16).to(tl.float16, bitcast=True).to(tl.float64)
    else:
        x = (key << 16).to(tl.float32, bitcast=True).to(tl.float64)
    return x


@kernel
def place(tiles: tl.tensor, ROWS: tl.constexpr, ALIGNMENT: tl.constexpr) -> Any:
    """Return where the stretches of this program's tile lie (see layout.Layout).

    start: index of the first weight; inside: the same within its row; length: weights, 0 past the end of the tensor;
    stretch and row: their places among those of all tensors. Shape: (ROWS,) int64 each.
    """
    tile = tiles + tl.program_id(0).to(tl.int64) * 8
    source, fan_in, width, a_row = tl.load(tile), tl.load(tile + 1), tl.load(tile + 2), tl.load(tile + 3)
    first, count, stretches, rows = tl.load(tile + 4), tl.load(tile + 5), tl.load(tile + 6), tl.load(tile + 7)
    here = first + tl.arange(0, ROWS).to(tl.int64)
    row = here // a_row
    inside = (here - row * a_row) * width
    length = tl.where(here < count, tl.minimum(fan_in - inside, width), 0)
    start = source + row * fan_in + inside
    start, length = tl.multiple_of(start, [ALIGNMENT]), tl.multiple_of(length, [ALIGNMENT])  # for loads of up to 16 bytes
    return start, inside, length, stretches + here, rows + row


@kernel
def fold_lanes(lanes: tl.tensor, ROWS: tl.constexpr) -> Any:
    """Return the sums of sixteen lanes, half onto half: sums of two know no order. Shape: (ROWS, 16) -> (ROWS,)."""
    lanes = tl.sum(tl.reshape(lanes, [ROWS, 2, 8]), axis=1)
    lanes = tl.sum(tl.reshape(lanes, [ROWS, 2, 4]), axis=1)
    lanes = tl.sum(tl.reshape(lanes, [ROWS, 2, 2]), axis=1)
    return tl.sum(lanes, axis=1)
