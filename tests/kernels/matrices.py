"""Weight matrices of every dtype, hostile and ordinary, and how to compare what makers say of them."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ellq_kernels import Kernels
from ellq_math.dtypes import WEIGHT_DTYPES, Bits, decode
from ellq_math.pool_units import pool_units
from ellq_math.sums import Array
from ellq_math.values import FixedPoints, PoolUnits

DTYPES = tuple(WEIGHT_DTYPES)

# No deadline: the first example compiles, and a loaded machine is no defect.
EXAMPLES = settings(deadline=None, max_examples=60)


@dataclass(frozen=True)
class Matrix:
    dtype: str
    bits: Bits
    """(neurons, fan_in)."""

    @property
    def values(self) -> Array:
        return decode(self.bits, self.dtype)

    @property
    def magnitudes(self) -> Array:
        return np.abs(decode(self.bits, self.dtype))

    @property
    def scale(self) -> bool:
        return self.dtype == "F64"

    @property
    def count(self) -> int:
        return self.bits.size

    def load(self, kernels: Kernels) -> object:
        neurons, fan_in = self.bits.shape
        return kernels.load(bytearray(self.bits.tobytes()), dtype=self.dtype, neurons=neurons, fan_in=fan_in)

    def unloaded(self, kernels: Kernels, weights: object) -> Bits:
        """Return the bits that a maker holds now, in the shape of the matrix."""
        return np.frombuffer(kernels.payload(weights), self.bits.dtype).reshape(self.bits.shape)


def sign_bit(dtype: str) -> int:
    return 1 << (8 * WEIGHT_DTYPES[dtype].itemsize - 1)


def infinity_key(dtype: str) -> int:
    """Return the bits of +infinity; everything below is a finite magnitude."""
    mantissa_bits = WEIGHT_DTYPES[dtype].mantissa_bits
    return (sign_bit(dtype) - 1) >> mantissa_bits << mantissa_bits


@st.composite
def matrices(draw: st.DrawFn, max_fan_in: int = 40) -> Matrix:
    """Small matrices whose weights come from a pool of few values: zeros of both signs, subnormals, extremes, ties."""
    dtype = draw(st.sampled_from(DTYPES))
    largest = infinity_key(dtype) - 1
    smallest_normal = 1 << WEIGHT_DTYPES[dtype].mantissa_bits
    special = st.sampled_from([0, 1, 2, smallest_normal - 1, smallest_normal, largest - 1, largest])
    pool = np.array(draw(st.lists(special | st.integers(0, largest), min_size=1, max_size=12)), WEIGHT_DTYPES[dtype].bits)
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, max_fan_in)))
    chosen = draw(arrays(np.int64, shape, elements=st.integers(0, 2 * len(pool) - 1)))
    signs = np.where(chosen >= len(pool), sign_bit(dtype), 0).astype(pool.dtype)
    return Matrix(dtype, pool[chosen % len(pool)] | signs)


def bell_curve(dtype: str, neurons: int, fan_in: int, *, seed: int = 0) -> Matrix:
    """Return weights as trained networks have them."""
    weights = np.random.default_rng(seed).normal(0.0, 0.02, (neurons, fan_in))
    match dtype:
        case "F64":
            bits = weights.view(np.uint64)
        case "F32":
            bits = weights.astype(np.float32).view(np.uint32)
        case "F16":
            bits = weights.astype(np.float16).view(np.uint16)
        case _:
            bits = (weights.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return Matrix(dtype, bits)


def fixed_points(rows: Array, p: int) -> FixedPoints:
    """Return the resolution for every row: as fine as its sum allows. Shape: (rows, fan_in)."""
    exponents = np.frexp(rows.max(axis=1))[1].astype(np.int64)
    return FixedPoints(p=p, exponents=exponents, bits=61 - rows.shape[1].bit_length())


def pool_point(magnitudes: Array, p: int | None) -> PoolUnits | None:
    """Return the units of a pool; none for no p."""
    return None if p is None else pool_units(magnitudes.size, p=p)


def assert_same(found: object, expected: object) -> None:
    """Compare two values of one dataclass field by field: same shapes, same kind of number, same bits."""
    assert type(found) is type(expected)
    for field in fields(expected):  # type: ignore[arg-type]
        left, right = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(right, np.ndarray):
            assert_identical(left, right, field.name)
        else:
            assert left == right, field.name


def assert_identical(left: npt.NDArray, right: npt.NDArray, name: str = "") -> None:
    assert left.shape == right.shape, name
    assert left.dtype == right.dtype, name
    assert left.tobytes() == right.tobytes(), f"{name}: {left} is not {right}"
