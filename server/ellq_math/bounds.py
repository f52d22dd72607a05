"""What is known of a tail before it is looked at: Stechkin's inequality with its sharp constant.

Source: [FR13] Theorem 2.5; statement and proof of an easy version in docs/theory.md.
"""

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np

from ellq_math.blocks import in_blocks
from ellq_math.indices import power_sum
from ellq_math.pooling import RESCALE_ROUNDINGS
from ellq_math.powers import POWER_ROUNDINGS
from ellq_math.sums import UNIT_ROUNDOFF, Array, sum_roundings
from ellq_math.values import Counts, RowStatistics

LOG_ROUNDINGS = 16
"""Roundings paid for each term of a log: a library log within 4 ulp (8 roundings), a product, a quotient, three sums."""


def log_stechkin_constant(*, q: float, p: float) -> float:
    """Return log c, c = [x^x (1 - x)^(1 - x)]^(1/q) with x = q/p; 0 < q < p.

    The least c with sigma_M(w)_p <= c M^(1/p - 1/q) ||w||_q for all rows w and counts M >= 1.
    """
    x = q / p
    return (x * math.log(x) + (1 - x) * math.log1p(-x)) / q


@in_blocks
def tail_bound(stats: RowStatistics, kept: Counts, *, q: float, p: float) -> Array:
    """Return an upper bound of the l_p norm of all but the `kept` largest weights of each row, rounded up.

    The least of three: Stechkin's bound, the norm of the whole row, and 0 once every non-zero weight is kept (that is the
    definition of the tail; Stechkin alone would never reach it). Shape: kept (rows,) -> (rows,). 0 < q < p, p 1 or 2;
    orders q and p must have been measured. Infinity beyond a double.
    """
    covered = kept >= stats.fan_in - stats.zeros
    sum_q = np.where(covered, 1.0, power_sum(stats, q))
    sum_p = np.where(covered, 1.0, power_sum(stats, p))
    log_kept = np.log(np.maximum(kept, 1))
    log_c = np.float64(log_stechkin_constant(q=q, p=p))
    stechkin = _exp_up(stats, [log_c, np.log(sum_q) / q, (1 / p - 1 / q) * log_kept], order=q)
    norm = _exp_up(stats, [np.log(sum_p) / p], order=p)
    return np.where(covered, 0.0, np.where(kept > 0, np.minimum(stechkin, norm), norm))


def _exp_up(stats: RowStatistics, logs: Sequence[Array | np.float64], *, order: float) -> Array:
    """Return exp of the sum of the logs times 2^exponent, rounded up. One of the logs is that of a power sum over `order`.

    An absolute error of a log is a relative error of its exp. Paid for: the power sum's own roundings divided by its order
    (a row, rows of a tensor, tensors: three sums of at most fan_in terms), LOG_ROUNDINGS relative to every term, and as much
    again for the exp; all doubled for higher-order terms.
    """
    measured = 3 * sum_roundings(stats.fan_in) + POWER_ROUNDINGS + 2 * RESCALE_ROUNDINGS
    spread = reduce(np.add, (np.abs(log) for log in logs))
    slack = 2 * UNIT_ROUNDOFF * (measured / order + LOG_ROUNDINGS * (1 + spread))
    with np.errstate(over="ignore"):
        return np.nextafter(np.ldexp(np.exp(reduce(np.add, logs) + slack), stats.exponents), np.inf)
