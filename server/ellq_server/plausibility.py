"""Whether the numbers of a sketch can be those of any weights: what a caller sends back is not trusted to be what it got."""

import math
from collections.abc import Iterator

import numpy as np

from ellq_math.pool_units import pool_units, scale_bits, units_of, whole_units
from ellq_math.pools import DIGITS, START, Descent, bins_are_single, exponent_fields, following_bits
from ellq_math.rules import ErrorBudget, Rule, Tail
from ellq_math.values import Counts, Histogram, RowStatistics

LOG_TOLERANCE = 2.0**-30
"""Logs of power sums are below 2^11 and come from sums within 2^-40 of the truth: far above any error, far below a lie."""

STORED_MANTISSA_BITS = (7, 10, 23, 52)


def unit_power(rule: Rule) -> int | None:
    """Return the power of the magnitudes whose sums a rule counts in units; None: it goes by the number of weights."""
    if isinstance(rule, ErrorBudget):
        return None if rule.max_error is None else 1
    return rule.p if isinstance(rule, Tail) else None


def complaints_about(
    stats: RowStatistics, descent: Descent, histogram: Histogram, rule: Rule, mantissa_bits: int
) -> Iterator[str]:
    """Yield what cannot be, or nothing. `stats` are of one row; later checks rely on earlier ones, so stop at the first.

    Expected in range already: counts, level, prefix, digits and whole units, each for itself.
    """
    free = isinstance(rule, ErrorBudget)  # other weights than zeros can cost nothing, too
    yield from _about_weights(stats, mantissa_bits, free=free)
    yield from _about_sums(stats)
    yield from _about_bins(stats, descent, histogram, mantissa_bits, free=free)
    p = unit_power(rule)
    if p is None:
        if histogram.units is not None or descent.units_below or descent.unit_total:
            yield "it counts units, which its rule does not need"
    elif histogram.units is not None:
        yield from _about_units(stats, descent, histogram, histogram.units, p=p, mantissa_bits=mantissa_bits, free=free)
    elif descent != START:
        yield "it counts no units beyond the first pass, which its rule needs"


def _about_weights(stats: RowStatistics, mantissa_bits: int, *, free: bool) -> Iterator[str]:
    largest = float(stats.max_magnitude[0])
    if mantissa_bits not in STORED_MANTISSA_BITS:
        yield "no dtype stores as many mantissa bits"
    if not 0 <= largest < math.inf or math.copysign(1.0, largest) < 0:
        yield "its max_magnitude is no finite magnitude"
    elif _pattern(largest) & (2 ** (52 - mantissa_bits) - 1):
        yield "its max_magnitude has more mantissa bits than its dtypes"
    all_zero = int(stats.zeros[0]) == stats.fan_in
    if all_zero if largest > 0 else not (all_zero or free):
        yield "its max_magnitude and its zeros contradict each other"


def _about_sums(stats: RowStatistics) -> Iterator[str]:
    """Every power sum lies between that of the largest magnitude alone and that of all non-zero weights being as large."""
    largest, shift = math.frexp(float(stats.max_magnitude[0]))
    exponent, nonzero = int(stats.exponents[0]), stats.fan_in - int(stats.zeros[0])
    if not min(shift, 0) <= exponent <= max(shift, 0):
        yield "its exponent does not fit its max_magnitude"
    for order, total in zip(stats.orders, stats.sums[0].tolist(), strict=True):
        if not 0 <= total < math.inf or (total > 0) != (largest > 0):
            yield "a power sum is not finite, or zero where it cannot be"
        elif largest > 0:
            least = order * (math.log(largest) + (shift - exponent) * math.log(2))
            if not least - LOG_TOLERANCE <= math.log(total) <= least + math.log(nonzero) + LOG_TOLERANCE:
                yield "a power sum does not fit its weights and max_magnitude"


def _about_bins(
    stats: RowStatistics, descent: Descent, histogram: Histogram, mantissa_bits: int, *, free: bool
) -> Iterator[str]:
    level, weights, zeros = descent.level, histogram.weights, int(stats.zeros[0])
    if level == 0 and (int(weights.sum()) != stats.fan_in or descent != START):
        yield "its first histogram does not hold all weights"
    if level > 0 and bins_are_single(level - 1, mantissa_bits=mantissa_bits):
        yield "it looks beyond the mantissa of its dtypes"
    highest = descent.prefix << DIGITS[level] | int(np.flatnonzero(weights)[-1])
    largest = _pattern(float(stats.max_magnitude[0])) >> following_bits(level)
    if highest > largest or (level == 0 and highest < largest):
        yield "its bins contradict its max_magnitude"
    if descent.prefix > 0:
        if descent.weights_below < zeros:
            yield "it has more zeros than weights below its prefix"
    elif descent.weights_below > 0 or int(weights[0]) < zeros:
        yield "its smallest bin has no room for its zeros"
    elif not free and bins_are_single(level, mantissa_bits=mantissa_bits) and int(weights[0]) > zeros:
        yield "its smallest bin holds more than its zeros"


def _about_units(
    stats: RowStatistics,
    descent: Descent,
    histogram: Histogram,
    costs: Counts,
    *,
    p: int,
    mantissa_bits: int,
    free: bool,
) -> Iterator[str]:
    units, level, weights = pool_units(stats.fan_in, p=p), descent.level, histogram.weights
    fields = exponent_fields(level, descent.prefix)
    if bins_are_single(level, mantissa_bits=mantissa_bits):
        filled = np.flatnonzero(weights)
        magnitudes = (np.uint64(descent.prefix << DIGITS[level]) | filled.astype(np.uint64)) << np.uint64(following_bits(level))
        if (costs[filled] != weights[filled] * units_of(magnitudes.view(np.float64), units)[0]).any():
            yield "its units are not those of its magnitudes"
    else:
        least = weights.copy()
        if descent.prefix == 0:
            least[0] -= least[0] if free else int(stats.zeros[0])  # zeros cost nothing
        if (costs < least).any() or (costs > least << units.bits).any():
            yield "its units do not fit its weights"
    below, dear = descent.weights_below, units.bits + scale_bits(fields[0], p=p)
    dues = 0 if free else max(below - int(stats.zeros[0]), 0)
    if not dues <= descent.units_below <= below << dear:
        yield "its units_below do not fit its weights_below"
    here, total = whole_units(costs, fields, p=p), histogram.lower_total
    above = stats.fan_in - below - int(weights.sum())
    dearest = units.bits + scale_bits(_pattern(float(stats.max_magnitude[0])) >> 52, p=p)
    if (descent.unit_total if total is None else total) > descent.units_below + here + (above << dearest):
        yield "its unit_total is more than its weights can cost"


def digit_of(magnitude: float, *, level: int) -> int:
    """Return the digit of a finite magnitude at this level, which numbers its bin there."""
    return (_pattern(magnitude) >> following_bits(level)) % 2 ** DIGITS[level]


def _pattern(magnitude: float) -> int:
    return int(np.float64(magnitude).view(np.int64))
