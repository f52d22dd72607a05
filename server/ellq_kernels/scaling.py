"""Powers of two that all makers scale by. Multiplying by them is exact wherever the result matters."""

import math
from typing import NamedTuple

import numpy as np

from ellq_math.sums import Array
from ellq_math.values import Counts, FixedPoints


class Scale(NamedTuple):
    """2^-exponent as two factors, because no double holds 2^1074. Both of shape (rows,) float64.

    Multiply by `first`, then by `second`. Only one of them can round (scaling down goes through `first` alone), so the product
    is the one that ldexp gives.
    """

    first: Array
    second: Array


class UnitScale(NamedTuple):
    """How the magnitudes of each row become fixed-point units.

    x = |w| first second; y = x resolution for p = 1, (x x slack) resolution for p = 2.
    """

    p: int
    first: Array
    """(rows,), as in Scale."""
    second: Array
    resolution: float
    """2^bits."""
    slack: float
    """Moves an inexact square past its rounding: x x 2^-52 is at least a unit in its last place."""


def scale_down(exponents: Counts) -> Scale:
    """Return the factors of 2^-exponent for exponents in [-1073, 1024]."""
    first = np.minimum(-exponents, 1023)
    return Scale(np.ldexp(1.0, first), np.ldexp(1.0, -exponents - first))


def scale_exponents(max_magnitude: Array, dtype: str) -> Counts:
    """Return the exponents that RowStatistics and Tails scale by: frexp of the largest magnitude for F64, else 0."""
    if dtype != "F64":
        return np.zeros(max_magnitude.shape, np.int64)
    finite = np.fmin(max_magnitude, np.finfo(np.float64).max)  # a difference may overflow, a weight may be NaN
    return np.frexp(finite)[1].astype(np.int64)


def unit_scale(fixed: FixedPoints, dtype: str, *, upper: bool) -> UnitScale:
    """Return what turns magnitudes into units that are rounded up (`upper`) or down.

    Squares of weights of 32 bits and fewer are exact in float64; only those of F64 need slack.
    """
    inexact = 2.0**-52 if dtype == "F64" and fixed.p == 2 else 0.0
    return UnitScale(
        fixed.p,
        *scale_down(fixed.exponents),
        resolution=math.ldexp(1.0, fixed.bits),
        slack=1.0 + inexact if upper else 1.0 - inexact,
    )
