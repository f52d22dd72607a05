"""Keys: what cutting each weight costs, as numbers that kernels choose by.

A key is |w_ij| r_i c_j, r being the scale of the neuron and c that of its inputs. It is rounded up at every step, so that a sum
of keys is never below the true cost, and to few bits, so that a threshold over all keys is found in two passes.
"""

import numpy as np

from ellq_math.sums import Array

KEY_MANTISSA_BITS = 23
"""Stored mantissa bits of a key, as many as those of F32."""

DROPPED_BITS = 52 - KEY_MANTISSA_BITS
"""Low bits of a key's float64 pattern, which are zero."""


def weigh(magnitudes: Array, rows: Array, columns: Array) -> Array:
    """Return the key of every weight: what every kernel maker's `weigh` is tested against.

    A product with a zero factor is 0. Any other is rounded to nearest, then moved to the next double above: never below the
    truth, not even where it underflows. After both products the key is rounded up to KEY_MANTISSA_BITS. A normal key without a
    subnormal on the way is above the truth by less than 2^-22 of it. Keys are monotone in each factor.

    Shape: magnitudes (neurons, fan_in); rows (neurons,); columns (groups, fan_in), groups of equally many consecutive neurons
    -> (neurons, fan_in). All float64, finite and at least 0. Errors: ValueError, naming the neuron, where a key overflows.
    """
    down, across = rows[:, np.newaxis], np.repeat(columns, len(rows) // len(columns), axis=0)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # an overflow next to a zero factor is no overflow
        above = np.nextafter(np.nextafter(magnitudes * down, np.inf) * across, np.inf)
    keys = np.where((magnitudes > 0) & (down > 0) & (across > 0), shorten(above), 0.0)
    overflowing = np.flatnonzero(~np.isfinite(keys))
    demand_finite_keys(int(overflowing[0]) if len(overflowing) else None, fan_in=magnitudes.shape[1])
    return keys


def shorten(values: Array) -> Array:
    """Return non-negative values rounded up to KEY_MANTISSA_BITS; the carry may end in the exponent, or in infinity."""
    low = np.uint64(2**DROPPED_BITS - 1)
    return ((values.view(np.uint64) + low) & ~low).view(np.float64)


def demand_finite_keys(first_nonfinite: int | None, *, fan_in: int) -> None:
    """Raise ValueError, naming the neuron, when there is a key that overflows: the flat index of the first."""
    if first_nonfinite is not None:
        neuron = first_nonfinite // fan_in
        raise ValueError(f"a key of neuron {neuron} overflows: scale rows or columns down by a power of two")
