"""The plain values that pass between measuring, allocating, choosing and certifying."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ellq_math.sums import Array

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowStatistics:
    """What one pass over a weight matrix measures, row by row.

    Sums are of scaled magnitudes x = |w| 2^-exponent, added in canonical order (sums.py) with powers from powers.py:
    sum |w|^s = sums * 2^(exponent s). Exponents are 0 for dtypes of 32 bits and fewer, whose powers no double overflows;
    for F64 they are the frexp exponent of the row's largest magnitude (0 for a zero row).
    """

    orders: tuple[float, ...]
    """Orders s of the power sums, ascending and distinct."""
    sums: Array
    """(rows, len(orders)) float64."""
    exponents: Counts
    """(rows,) int64."""
    max_magnitude: Array
    """(rows,) float64, unscaled."""
    zeros: Counts
    """(rows,) int64: exact zeros of either sign."""
    fan_in: int
    """Stored weights of each row."""

    def __len__(self) -> int:
        return len(self.zeros)

    def __getitem__(self, rows: slice) -> "RowStatistics":
        """Return the statistics of some of the rows."""
        sums, exponents, largest, zeros = self.sums[rows], self.exponents[rows], self.max_magnitude[rows], self.zeros[rows]
        return RowStatistics(self.orders, sums, exponents, largest, zeros, self.fan_in)


@dataclass(frozen=True)
class Cut:
    """Which weights stay: in every group those above the threshold, and of those equal to it the first `ties_kept`.

    A group is `width` consecutive weights of a row; the last group of a row may be shorter. One group as wide as the row is
    the ordinary case.
    """

    threshold: Array
    """(rows, groups) float64 magnitudes; infinity keeps nothing."""
    ties_kept: Counts
    """(rows, groups) int64."""
    kept: Counts
    """(rows, groups) int64: weights that stay, zeros among them included."""
    width: int
    """Weights in a full group."""

    def __getitem__(self, rows: slice) -> "Cut":
        """Return the cut of some of the rows."""
        return Cut(self.threshold[rows], self.ties_kept[rows], self.kept[rows], self.width)


@dataclass(frozen=True)
class Tails:
    """What a cut removed from each neuron, as sums of scaled magnitudes x = |w| 2^-exponent in canonical order.

    ||cut||_1 = l1 2^exponent, ||cut||_2^2 = l2_squared 2^(2 exponent). Exponents are 0 for dtypes of 32 bits and fewer; for F64
    the frexp exponent of the largest magnitude cut (0 when nothing but zeros was cut).
    """

    l1: Array
    """(neurons,) float64."""
    l2_squared: Array
    """(neurons,) float64."""
    exponents: Counts
    """(neurons,) int64."""
    zeros: Counts
    """(neurons,) int64: exact zeros after the cut."""

    def __getitem__(self, neurons: slice) -> "Tails":
        """Return the tails of some of the neurons."""
        return Tails(self.l1[neurons], self.l2_squared[neurons], self.exponents[neurons], self.zeros[neurons])


@dataclass(frozen=True)
class FixedPoint:
    """Integers in place of the magnitudes of a row, so that sums of powers are exact in any order.

    units(w) = ceil((|w| 2^-exponent)^p 2^bits), at least 1 for every non-zero weight: never less than the true share. With
    |w| < 2^exponent and at most 2^(61 - bits) weights no sum exceeds 2^61.
    """

    p: int
    """Order of the power, 1 or 2."""
    exponent: int
    """frexp exponent of the largest magnitude: |w| < 2^exponent."""
    bits: int
    """Resolution: a unit is 2^-bits of 2^(p exponent)."""


@dataclass(frozen=True)
class FixedPoints:
    """A FixedPoint for each of many rows: a sequence of them, in arrays because there may be millions."""

    p: int
    exponents: Counts
    """(rows,)."""
    bits: int

    def __len__(self) -> int:
        return len(self.exponents)

    def __getitem__(self, row: int) -> FixedPoint:
        return FixedPoint(p=self.p, exponent=int(self.exponents[row]), bits=self.bits)

    def __iter__(self) -> Iterator[FixedPoint]:
        return (self[row] for row in range(len(self)))


@dataclass(frozen=True)
class PoolUnits:
    """The same for a pool, whose magnitudes may lie far apart: each in units of its own power of two.

    With E the exponent field of |w| as a float64, at least 1, and x = |w| 2^(1022 - E), so x < 1, and x >= 1/2 unless |w| is
    below 2^-1022: units(w) = ceil(x^p 2^bits), at least 1 for every non-zero weight. Magnitudes with the same exponent field
    have the same scale, so their units add up in int64; across fields they add up as whole numbers without bounds.
    """

    p: int
    """Order of the power, 1 or 2."""
    bits: int
    """Resolution: a unit is 2^-bits of 2^(p (E - 1022)). At most 2^(61 - bits) weights."""


@dataclass(frozen=True)
class Histogram:
    """How many magnitudes fall into each value of one digit of their float64 bit pattern.

    Only magnitudes whose leading digits equal a given prefix are counted (see ellq_math.pools.DIGITS).
    """

    weights: Counts
    """(2^digit bits,) int64."""
    units: Counts | None
    """(2^digit bits,) int64 sums of units, rounded up; None when not asked for."""
    lower_total: int | None
    """Whole units of everything counted, rounded down (see pools.whole_units). Only where units are counted at level 0."""
