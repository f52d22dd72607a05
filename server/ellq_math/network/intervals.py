"""Intervals of float64, rounded outward: where the true numbers lie in the given ones, the true result lies in the result."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ellq_math.interruption import end_if_unwanted
from ellq_math.sums import Array, canonical_sum, round_up, sum_roundings

LARGEST = 2.0**1000
"""Bounds above this magnitude count as overflow: so far below the last double, no sum or square root here can reach it."""


@dataclass(frozen=True)
class Interval:
    """Values of equal shape, each known to lie in [low, high]."""

    low: Array
    high: Array

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(floor_sum(self.low, other.low), ceil_sum(self.high, other.high))

    def __sub__(self, other: "Interval") -> "Interval":
        return Interval(floor_sum(self.low, -other.high), ceil_sum(self.high, -other.low))

    def __mul__(self, other: "Interval") -> "Interval":
        products = [one * another for one in (self.low, self.high) for another in (other.low, other.high)]
        zero = self.zeros() | other.zeros()  # where a product is zero although no factor is, it has underflowed
        low, high = down(np.minimum.reduce(products)), up(np.maximum.reduce(products))
        return Interval(np.where(zero, 0.0, low), np.where(zero, 0.0, high))

    def __and__(self, other: "Interval") -> "Interval":
        """Return what both allow."""
        return Interval(np.maximum(self.low, other.low), np.minimum(self.high, other.high))

    def __or__(self, other: "Interval") -> "Interval":
        """Return the smallest interval around both."""
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def reshape(self, *shape: int) -> "Interval":
        """Return the same values in another shape, row-major."""
        return Interval(self.low.reshape(shape), self.high.reshape(shape))

    def magnitude(self) -> Array:
        """Return the largest absolute values."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def is_bounded(self) -> bool:
        """Tell whether no bound has overflowed, become NaN or passed the other."""
        return bool(((self.low >= -LARGEST) & (self.low <= self.high) & (self.high <= LARGEST)).all())

    def zeros(self) -> npt.NDArray[np.bool_]:
        """Tell which values are exactly zero."""
        return (self.low == 0) & (self.high == 0)


def point(values: Array) -> Interval:
    """Return the interval of numbers that are known exactly."""
    return Interval(values, values)


def concatenate(intervals: list[Interval]) -> Interval:
    """Return the values of all, one after the other along axis 0."""
    return Interval(np.concatenate([one.low for one in intervals]), np.concatenate([one.high for one in intervals]))


def centre_and_radius(interval: Interval) -> tuple[Array, Array]:
    """Return numbers c, r with |x - c| <= r for all x in the interval; r is zero where the interval is one number."""
    centre = interval.low / 2 + interval.high / 2  # halved first: the sum of two large ones overflows
    centre = np.where(interval.low == interval.high, interval.low, centre)
    return centre, np.maximum(ceil_sum(interval.high, -centre), ceil_sum(centre, -interval.low))


def l2_norm(magnitudes: Array) -> float:
    """Return at least the l_2 norm of all values.

    Scaled by the largest, because squares of doubles overflow. What underflows then is less than one rounding of the sum.
    """
    largest = float(magnitudes.max(initial=0.0))
    if largest == 0:
        return 0.0
    squares = (magnitudes.ravel() / largest) ** 2
    root = np.sqrt(canonical_sum(squares))
    return float(round_up(root * largest, roundings=sum_roundings(squares.size) + 7))


def down(values: Array) -> Array:
    """Return the next numbers below. Nearly every step over values comes by here or at `up`, so here it can end."""
    end_if_unwanted()
    return np.nextafter(values, -np.inf)


def up(values: Array) -> Array:
    """Return the next numbers above."""
    end_if_unwanted()
    return np.nextafter(values, np.inf)


def floor_sum(one: Array, other: Array) -> Array:
    """Return at most the sums. A sum of doubles is rounded to zero only where it is zero: zero stays."""
    total = one + other
    return np.where(total == 0, 0.0, down(total))


def ceil_sum(one: Array, other: Array) -> Array:
    """Return at least the sums. Zero stays, as in floor_sum."""
    total = one + other
    return np.where(total == 0, 0.0, up(total))
