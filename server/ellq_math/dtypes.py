"""The floating point formats whose weights ellq reads: safetensors name -> size, mantissa, and exact float64 value."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ellq_math.sums import Array

Bits = npt.NDArray[np.uint16] | npt.NDArray[np.uint32] | npt.NDArray[np.uint64]


@dataclass(frozen=True)
class WeightDtype:
    """One floating point format."""

    name: str
    """As the safetensors header writes it."""
    bits: type[np.uint16] | type[np.uint32] | type[np.uint64]
    """Unsigned integer of the same width, little-endian in the file."""
    mantissa_bits: int
    """Stored mantissa bits."""

    @property
    def itemsize(self) -> int:
        """Bytes of one weight."""
        return np.dtype(self.bits).itemsize


WEIGHT_DTYPES = {
    dtype.name: dtype
    for dtype in (
        WeightDtype("F64", np.uint64, 52),
        WeightDtype("F32", np.uint32, 23),
        WeightDtype("F16", np.uint16, 10),
        WeightDtype("BF16", np.uint16, 7),
    )
}


def decode(bits: Bits, dtype: str) -> Array:
    """Return the float64 values of raw weights; exact for every dtype of WEIGHT_DTYPES.

    Shape: any -> the same. NaN and infinity come out as such.
    """
    with np.errstate(invalid="ignore"):  # casting a signalling NaN
        match dtype:
            case "F64":
                return bits.view(np.float64).copy()
            case "F32":
                return bits.view(np.float32).astype(np.float64)
            case "F16":
                return bits.view(np.float16).astype(np.float64)
            case "BF16":
                return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
            case _:
                raise ValueError(f"dtype {dtype!r} is not one of {', '.join(WEIGHT_DTYPES)}")


def nearest(values: Array, dtype: str) -> Array:
    """Return the nearest finite numbers that a dtype has, ties to even; either zero is +0.0, and NaN stays.

    In one rounding, unlike conversions to 16 bits that go through 32. Shape: any -> the same.
    """
    size = WEIGHT_DTYPES[dtype]
    bias = 2 ** (8 * size.itemsize - 2 - size.mantissa_bits) - 1
    exponents = np.maximum(np.frexp(values)[1] - 1, 1 - bias)
    whole = np.rint(np.ldexp(values, size.mantissa_bits - exponents))
    largest = np.ldexp(2 - 2.0**-size.mantissa_bits, bias)
    return np.clip(np.ldexp(whole, exponents - size.mantissa_bits), -largest, largest) + 0.0
