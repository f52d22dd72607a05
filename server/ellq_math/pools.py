"""The threshold over all weights of a network, found digit by digit from histograms that add up over shards.

A magnitude is the 63 low bits of its float64 pattern, whose order is the order of magnitudes. The first histogram counts
its first digit; the bin in which the cut must end becomes the prefix of the next one. Exact, in at most four passes.
"""

from dataclasses import dataclass

import numpy as np

from ellq_math.sums import Array
from ellq_math.values import Counts, Histogram

DIGITS = (18, 16, 15, 14)
"""Bits of each digit, from the top: after one, two, ... digits all bits of BF16, F32, -, F64 are seen (F16 takes two)."""

EXPONENT_BITS = 11


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
    """Their fixed-point units; 0 when units are not counted."""


START = Descent(level=0, prefix=0, weights_below=0, units_below=0)


@dataclass(frozen=True, kw_only=True)
class KeepCount:
    """Keep the `kept` largest of `weights` weights."""

    kept: int
    weights: int


@dataclass(frozen=True, kw_only=True)
class KeepWithin:
    """Cut as many as possible of `weights` weights, smallest first, whose units add up to at most `budget`."""

    budget: int
    weights: int


Target = KeepCount | KeepWithin


@dataclass(frozen=True)
class Threshold:
    """Where the search ended: weights above `magnitude` stay, and the first `ties_kept` of those equal to it."""

    magnitude: float
    """Smallest magnitude that stays; infinity keeps nothing."""
    ties_kept: int
    kept: int
    """Weights that stay in all."""


def descend(descent: Descent, histogram: Histogram, target: Target, *, mantissa_bits: int) -> Descent | Threshold:
    """Return where to look next, or the threshold once bins hold single magnitudes.

    `histogram` is that of digit `descent.level` under `descent.prefix`, over all weights; KeepWithin needs its units.
    `mantissa_bits` is the most that any counted dtype stores. The threshold may come early only when nothing is kept.
    """
    match target:
        case KeepCount():
            sums, room = histogram.weights.cumsum(), target.weights - target.kept - descent.weights_below
        case KeepWithin():
            sums, room = _units(histogram).cumsum(), target.budget - descent.units_below
    digit = int(np.searchsorted(sums, room, side="right"))  # the first bin that the cut cannot take whole
    if digit == len(sums):
        return Threshold(magnitude=np.inf, ties_kept=0, kept=0)
    found = Descent(
        level=descent.level + 1,
        prefix=descent.prefix << DIGITS[descent.level] | digit,
        weights_below=descent.weights_below + int(histogram.weights[:digit].sum()),
        units_below=0 if histogram.units is None else descent.units_below + int(histogram.units[:digit].sum()),
    )
    if not bins_are_single(descent.level, mantissa_bits=mantissa_bits):
        return found
    ties = int(histogram.weights[digit])
    match target:
        case KeepCount():
            ties_cut = target.weights - target.kept - found.weights_below
        case KeepWithin():
            ties_cut = (target.budget - found.units_below) // (int(_units(histogram)[digit]) // ties)
    return Threshold(
        magnitude=_magnitude(found.prefix, shift=_shift(descent.level)),
        ties_kept=ties - ties_cut,
        kept=target.weights - found.weights_below - ties_cut,
    )


def bins_are_single(level: int, *, mantissa_bits: int) -> bool:
    """Return whether every bin at this level holds a single magnitude: all bits that follow are zero.

    Subnormals of shorter formats are normal doubles with fewer mantissa bits still, so they need no more digits.
    """
    return sum(DIGITS[: level + 1]) >= EXPONENT_BITS + mantissa_bits


def count_digits(magnitudes: Array, units: Counts | None, *, level: int, prefix: int) -> Histogram:
    """Return the histogram of one digit over the magnitudes that start with the prefix.

    Shape: magnitudes any float64, non-negative; units the same shape or None.
    """
    bits = magnitudes.ravel().view(np.uint64)
    leading = bits >> np.uint64(_shift(level))
    inside = leading >> np.uint64(DIGITS[level]) == prefix
    digits = (leading[inside] & np.uint64(2 ** DIGITS[level] - 1)).astype(np.int64)
    weights = np.bincount(digits, minlength=2 ** DIGITS[level]).astype(np.int64)
    if units is None:
        return Histogram(weights=weights, units=None)
    totals = np.zeros_like(weights)
    np.add.at(totals, digits, units.ravel()[inside])  # bincount would add in float64
    return Histogram(weights=weights, units=totals)


def merge(first: Histogram, second: Histogram) -> Histogram:
    """Return the histogram of both; either both count units or neither does."""
    if first.units is None or second.units is None:
        return Histogram(weights=first.weights + second.weights, units=None)
    return Histogram(weights=first.weights + second.weights, units=first.units + second.units)


def _units(histogram: Histogram) -> Counts:
    if histogram.units is None:
        raise ValueError("a budget needs a histogram that counts units")
    return histogram.units


def _shift(level: int) -> int:
    """Return how many bits follow the digit."""
    return 63 - sum(DIGITS[: level + 1])


def _magnitude(prefix: int, *, shift: int) -> float:
    return float(np.array([prefix << shift], dtype=np.uint64).view(np.float64)[0])
