"""Bounds of softmax, p_i = exp(z_i) / sum_j exp(z_j), over boxes."""

import numpy as np

from ellq_math.network.intervals import Interval, down, up
from ellq_math.sums import UNIT_ROUNDOFF, Array

EXPONENTIAL_SLACK = 2.0**-42
"""Relative error of exp(fl(z - m)) at most: an exponent above -746 is off by 746 u, exp itself by 16 u (see curves.py)."""

UNDERFLOW = 2.0**-1000
"""More than an exponential that underflows."""


def softmax_image(where: Interval) -> Interval:
    """Return bounds of the values. Shape: (n,) -> (n,).

    p_i rises with z_i and falls with all others, so it is least where z_i is least and all others are largest.
    """
    least, largest = _exponentials(where)
    slack = 2 * (len(least) + 8) * UNIT_ROUNDOFF * largest.sum()
    others_least = np.maximum(least.sum() - least - slack, 0.0)
    others_largest = largest.sum() - largest + slack
    low = least / (least + others_largest) * (1 - 8 * UNIT_ROUNDOFF)
    high = largest / (largest + others_least) * (1 + 8 * UNIT_ROUNDOFF)
    return Interval(np.maximum(down(low), 0.0), np.minimum(up(high), 1.0))


def softmax_difference(where: Interval, error: Interval) -> Interval:
    """Return bounds of softmax(z + d) - softmax(z) for z and z + d in `where`, d in `error`. Shape: (n,) -> (n,).

    Along the way from z to z + d, p_i changes by p_i (1 - p_i) (d_i - a mean of the other d_j).
    """
    if len(error.low) == 1:
        return Interval(np.zeros(1), np.zeros(1))
    ahead = error - Interval(-_largest_other(-error.low), _largest_other(error.high))
    return _slopes(softmax_image(where)) * ahead


def _exponentials(where: Interval) -> tuple[Array, Array]:
    """Return bounds of exp(z_i - m) below and above, m the largest value that any z_i can have."""
    least, largest = (np.exp(end - where.high.max()) for end in (where.low, where.high))
    return np.maximum(least * (1 - EXPONENTIAL_SLACK) - UNDERFLOW, 0.0), largest * (1 + EXPONENTIAL_SLACK) + UNDERFLOW


def _slopes(shares: Interval) -> Interval:
    """Return bounds of p (1 - p): largest at 1/2, least at an end."""
    ends = [share * (1 - share) for share in (shares.low, shares.high)]
    slack = 4 * UNIT_ROUNDOFF
    highest = np.where((shares.low <= 0.5) & (shares.high >= 0.5), 0.25, np.maximum(*ends) + slack)
    return Interval(np.maximum(np.minimum(*ends) - slack, 0.0), np.minimum(highest, 0.25))


def _largest_other(values: Array) -> Array:
    """Return, for each place, the largest value at any other. Shape: (n,) -> (n,), n at least 2."""
    first = int(np.argmax(values))
    found = np.full(len(values), values[first])
    found[first] = np.delete(values, first).max()
    return found
