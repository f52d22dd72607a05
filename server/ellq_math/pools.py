"""The threshold over all weights of a pool, found digit by digit from histograms that add up over shards.

A pool is one tensor, or all tensors of a network that a rule counts together. A magnitude is the 63 low bits of its float64
pattern, whose order is the order of magnitudes. The first histogram counts its first digit; the bin in which the cut must end
becomes the prefix of the next one. Exact, in at most four passes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ellq_math.pool_units import scale_bits, spend, units_of, whole_units
from ellq_math.sums import Array
from ellq_math.values import Counts, Histogram, PoolUnits

DIGITS = (18, 16, 15, 14)
"""Bits of each digit, from the top: after one, two, ... digits all bits of BF16, F32, -, F64 are seen (F16 takes two)."""

EXPONENT_BITS = 11


class Contradiction(ValueError):
    """A histogram, descent and target that cannot belong together: the cut does not end behind the prefix."""


@dataclass(frozen=True)
class Descent:
    """How far the search has come: the cut ends among the magnitudes that start with `prefix`."""

    level: int
    """Digits resolved; the next histogram looks at DIGITS[level]."""
    prefix: int
    """The resolved bits."""
    weights_below: int
    """Weights smaller than any that start with the prefix."""
    units_below: int
    """Their whole units, rounded up (see pool_units); 0 when units are not counted."""
    unit_total: int
    """Whole units of all weights, rounded down, once level 0 has counted them; 0 before."""


START = Descent(level=0, prefix=0, weights_below=0, units_below=0, unit_total=0)


@dataclass(frozen=True, kw_only=True)
class KeepCount:
    """Keep the `kept` largest of `weights` weights."""

    kept: int
    weights: int
    units: None = None
    """A count needs none."""


@dataclass(frozen=True, kw_only=True)
class KeepWithin:
    """Cut as many as possible of `weights` weights, smallest first, whose units are at most `share` of those of all."""

    share: Fraction
    weights: int
    units: PoolUnits


@dataclass(frozen=True, kw_only=True)
class KeepWithinRoom:
    """Cut as many as possible of `weights` weights, smallest first, whose whole units are at most `room`."""

    room: int
    weights: int
    units: PoolUnits


Target = KeepCount | KeepWithin | KeepWithinRoom


@dataclass(frozen=True)
class Threshold:
    """Where the search ended: weights above `magnitude` stay, and the first `ties_kept` of those equal to it."""

    magnitude: float
    """Smallest magnitude that stays; infinity keeps nothing."""
    ties_kept: int
    kept: int
    """Weights that stay in all."""


def search(count: Callable[[Descent], Histogram], target: Target, *, mantissa_bits: int) -> Threshold:
    """Return the threshold; `count` returns the histogram of a descent over all weights, with units if the target has any."""
    step: Descent | Threshold = START
    while isinstance(step, Descent):
        step = descend(step, count(step), target, mantissa_bits=mantissa_bits)
    return step


def descend(descent: Descent, histogram: Histogram, target: Target, *, mantissa_bits: int) -> Descent | Threshold:
    """Return where to look next, or the threshold once bins hold single magnitudes.

    `histogram` is that of digit `descent.level` under `descent.prefix`, over all weights. `mantissa_bits` is the most that any
    counted dtype stores. The threshold may come early only when nothing is kept. Errors: Contradiction; ValueError when the
    target needs units and the histogram has none.
    """
    end = (
        _end_of_count(descent, histogram, target)
        if isinstance(target, KeepCount)
        else _end_of_budget(descent, histogram, target)
    )
    if end.digit == len(histogram.weights):
        if descent.level > 0:
            raise Contradiction("the cut ends above the prefix")
        return Threshold(magnitude=np.inf, ties_kept=0, kept=0)
    weights_below = descent.weights_below + int(histogram.weights[: end.digit].sum())
    prefix = descent.prefix << DIGITS[descent.level] | end.digit
    if not bins_are_single(descent.level, mantissa_bits=mantissa_bits):
        return Descent(descent.level + 1, prefix, weights_below, end.units_below, end.unit_total)
    return Threshold(
        magnitude=float(np.array([prefix << following_bits(descent.level)], dtype=np.uint64).view(np.float64)[0]),
        ties_kept=int(histogram.weights[end.digit]) - end.ties_cut,
        kept=target.weights - weights_below - end.ties_cut,
    )


@dataclass(frozen=True)
class _End:
    """Where the cut ends in one histogram."""

    digit: int
    """The first bin that the cut cannot take whole; their number when it takes all."""
    ties_cut: int
    """Weights of that bin that it can take, were they all equal."""
    units_below: int = 0
    unit_total: int = 0


def _end_of_count(descent: Descent, histogram: Histogram, target: KeepCount) -> _End:
    room = target.weights - target.kept - descent.weights_below
    if room < 0:
        raise Contradiction("the cut ends below the prefix")
    running = histogram.weights.cumsum()
    digit = int(np.searchsorted(running, room, side="right"))
    return _End(digit, ties_cut=room - int(running[digit - 1]) if digit else room)


def _end_of_budget(descent: Descent, histogram: Histogram, target: KeepWithin | KeepWithinRoom) -> _End:
    if histogram.units is None:
        raise ValueError("a budget needs a histogram that counts units")
    total = descent.unit_total if histogram.lower_total is None else histogram.lower_total
    room = _room(target, total) - descent.units_below
    if room < 0:
        raise Contradiction("the cut ends below the prefix")
    p, fields = target.units.p, exponent_fields(descent.level, descent.prefix)
    digit, spent = spend(histogram.units, fields, room, p=p)
    below = descent.units_below + spent
    if digit == len(histogram.units):
        return _End(digit, 0, below, total)
    scale = scale_bits(fields[digit * len(fields) // len(histogram.units)], p=p)
    each = max(int(histogram.units[digit]) // int(histogram.weights[digit]), 1)  # an average where bins are not single
    return _End(digit, ((room - spent) >> scale) // each, below, total)


def _room(target: KeepWithin | KeepWithinRoom, total: int) -> int:
    if isinstance(target, KeepWithinRoom):
        return target.room
    return total * target.share.numerator // target.share.denominator


def exponent_fields(level: int, prefix: int) -> range:
    """Return the float64 exponent fields of a histogram, each of as many consecutive bins as any other."""
    if level == 0:
        return range(2**EXPONENT_BITS)
    field = prefix >> (sum(DIGITS[:level]) - EXPONENT_BITS)
    return range(field, field + 1)


def bins_are_single(level: int, *, mantissa_bits: int) -> bool:
    """Return whether every bin at this level holds a single magnitude: all bits that follow are zero.

    Subnormals of shorter formats are normal doubles with fewer mantissa bits still, so they need no more digits.
    """
    return sum(DIGITS[: level + 1]) >= EXPONENT_BITS + mantissa_bits


def following_bits(level: int) -> int:
    """Return how many bits of a magnitude follow its digit at this level."""
    return 63 - sum(DIGITS[: level + 1])


def count_digits(magnitudes: Array, units: PoolUnits | None, *, level: int, prefix: int) -> Histogram:
    """Return the histogram of one digit over the magnitudes that start with the prefix. Shape: any, float64, non-negative."""
    flat = magnitudes.ravel()
    leading = flat.view(np.uint64) >> np.uint64(following_bits(level))
    inside = leading >> np.uint64(DIGITS[level]) == prefix
    digits = (leading[inside] & np.uint64(2 ** DIGITS[level] - 1)).astype(np.int64)
    weights = np.bincount(digits, minlength=2 ** DIGITS[level]).astype(np.int64)
    if units is None:
        return Histogram(weights=weights, units=None, lower_total=None)
    upper, lower = np.zeros_like(weights), np.zeros_like(weights)
    for sums, each in zip((upper, lower), units_of(flat[inside], units), strict=True):
        np.add.at(sums, digits, each)  # bincount would add in float64
    return histogram_of(weights, upper, lower, level=level, p=units.p)


def histogram_of(weights: Counts, upper: Counts, lower: Counts, *, level: int, p: int) -> Histogram:
    """Return a histogram that counts units, from the sums of each bin. Shape of all: (2^digit bits,) int64."""
    lower_total = whole_units(lower, exponent_fields(0, 0), p=p) if level == 0 else None
    return Histogram(weights=weights, units=upper, lower_total=lower_total)


def merge(first: Histogram, second: Histogram) -> Histogram:
    """Return the histogram of both; either both count units or neither does."""
    units = None if first.units is None or second.units is None else first.units + second.units
    totals = None if first.lower_total is None or second.lower_total is None else first.lower_total + second.lower_total
    return Histogram(weights=first.weights + second.weights, units=units, lower_total=totals)
