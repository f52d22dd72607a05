"""Floating point numbers of 8 bits, and what they are worth: widened to a format that the kernels know, and narrowed again.

Nothing is ever rounded. Without a scale the wide format is F16, which holds both formats exactly. With one it is F64, which
holds every product with a scale of 24 bits or fewer: 4 bits times 24 make 28, and exponents stay within -165 and 144.
"""

from functools import cache
from itertools import product
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from ellq_math.dtypes import WEIGHT_DTYPES, Bits, decode
from ellq_math.sums import Array

Codes = npt.NDArray[np.uint8]

MANTISSA_BITS = {"F8_E4M3": 3, "F8_E5M2": 2}
"""The 8-bit formats, with the bits of their mantissa. E4M3 has no infinities: its topmost code is NaN."""

_Wide = TypeVar("_Wide", np.float16, np.float64)

_PIECE = 1 << 16
"""Codes looked up at a time: numpy makes indices of eight bytes out of them."""


def wide_dtype(*, scaled: bool) -> str:
    """Return the format that 8-bit weights are widened to."""
    return "F64" if scaled else "F16"


@cache
def values(dtype: str) -> Array:
    """Return what each code is worth, NaN and infinities included. Shape: (256,) float64."""
    mantissa_bits = MANTISSA_BITS[dtype]
    codes = np.arange(256)
    exponents, mantissas = (codes & 0x7F) >> mantissa_bits, codes & ((1 << mantissa_bits) - 1)
    bias = (1 << (6 - mantissa_bits)) - 1
    whole = mantissas + np.where(exponents > 0, 1 << mantissa_bits, 0)
    magnitudes = np.ldexp(whole.astype(np.float64), np.maximum(exponents, 1) - bias - mantissa_bits)
    if dtype == "F8_E4M3":
        magnitudes[(codes & 0x7F) == 0x7F] = np.nan
    else:
        topmost = exponents == 0x1F
        magnitudes[topmost] = np.where(mantissas[topmost] > 0, np.nan, np.inf)
    found = np.where(codes & 0x80, -magnitudes, magnitudes)
    found.setflags(write=False)
    return found


def scale_values(data: bytes | memoryview, dtype: str) -> Array:
    """Return the numbers of a scale; NaN for those that scale nothing to a number: NaN, infinite, zero and negative ones.

    F8_E8M0 is 2^(code - 127), and NaN for 0xFF. Shape: (numbers,) float64.
    """
    if dtype == "F8_E8M0":
        codes = np.frombuffer(data, np.uint8)
        found = np.where(codes == 0xFF, np.nan, np.ldexp(1.0, codes.astype(np.int64) - 127))
    else:
        found = decode(cast("Bits", np.frombuffer(data, WEIGHT_DTYPES[dtype].bits)), dtype)
    return np.where((found > 0) & (found < np.inf), found, np.nan)


def widen(codes: Codes, dtype: str) -> Bits:
    """Return codes as F16, exactly. Shape: (weights,) -> the same, uint16."""
    return _looked_up(codes, values(dtype).astype(np.float16)).view(np.uint16)


def widen_scaled(
    codes: Codes, dtype: str, scale: Array, *, shape: tuple[int, ...], grid: tuple[int, ...], block: tuple[int, ...]
) -> Bits:
    """Return codes times their scale as F64, exactly; NaN where the scale is.

    Shape: codes (weights,) in the order of `shape`; scale (numbers,) in the order of `grid`, whose cells are `block` weights
    large; -> (weights,), uint64.
    """
    wide = _looked_up(codes, values(dtype))
    shaped, cells = wide.reshape(shape), scale.reshape(grid)
    if all(count in (1, length) for count, length in zip(grid, shape, strict=True)):
        shaped *= cells
        return wide.view(np.uint64)
    for place in product(*map(range, grid[:-1])):
        sides = tuple(slice(at * side, (at + 1) * side) for at, side in zip(place, block, strict=False))
        shaped[sides] *= np.repeat(cells[place], block[-1])[: shape[-1]]
    return wide.view(np.uint64)


def narrow(codes: Codes, wide: Bits) -> None:
    """Put zeros, in place, for codes whose wide weight is +0.0 now; all others stay as they are, bit for bit."""
    codes[wide == 0] = 0


def _looked_up(codes: Codes, table: npt.NDArray[_Wide]) -> npt.NDArray[_Wide]:
    found = np.empty(codes.size, table.dtype)
    for first in range(0, codes.size, _PIECE):
        some = slice(first, first + _PIECE)
        table.take(codes[some], out=found[some], mode="clip")  # all codes have a place; "raise" would copy
    return found
