"""Sparsity indices of rows, from their power sums.

Everything here is scale-invariant except the norms, so the exponents of scaled statistics cancel and are left out.
`ignore_zeros` makes the population of a row its non-zero weights instead of all stored ones.
"""

import numpy as np

from ellq_math.blocks import in_blocks
from ellq_math.sums import Array
from ellq_math.values import Counts, RowStatistics


def population(stats: RowStatistics, *, ignore_zeros: bool) -> Counts:
    """Return how many weights d of each row count. Shape: (rows,) int64."""
    return stats.fan_in - stats.zeros if ignore_zeros else np.full_like(stats.zeros, stats.fan_in)


def l1_norm(stats: RowStatistics) -> Array:
    """Return ||w||_1 of each row, rounded to nearest; infinity beyond a double. Shape: (rows,)."""
    with np.errstate(over="ignore"):
        return np.ldexp(power_sum(stats, 1.0), stats.exponents)


def l2_norm(stats: RowStatistics) -> Array:
    """Return ||w||_2 of each row, rounded to nearest; infinity beyond a double. Shape: (rows,)."""
    with np.errstate(over="ignore"):
        return np.ldexp(np.sqrt(power_sum(stats, 2.0)), stats.exponents)


def log_effective_count(stats: RowStatistics, lower: float, upper: float) -> Array:
    """Return the log of (||w||_lower / ||w||_upper)^(1/(1/lower - 1/upper)), lower < upper.

    This is how many equal weights would have the same ratio of norms: 1 for a single weight, d for a flat row. Every
    index and every index rule is a function of it. Shape: (rows,). A zero row has none and gives 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        log_lower, log_upper = np.log(power_sum(stats, lower)), np.log(power_sum(stats, upper))
        log_count = (upper * log_lower - lower * log_upper) / (upper - lower)
    return np.where(stats.max_magnitude > 0, log_count, 0.0)


@in_blocks
def sparsity_index(stats: RowStatistics, *, q: float, ignore_zeros: bool) -> Array:
    """Return SI_q = d^(1/q-1) ||w||_1 / ||w||_q in [1, d^(1/q-1)], q < 1. Shape: (rows,).

    1 = flat, large = sparse; a zero row has 1; infinity beyond a double. Source: index of [Y22], docs/theory.md.
    """
    with np.errstate(over="ignore"):
        return np.exp((1 / q - 1) * _log_surplus(stats, q, 1.0, ignore_zeros=ignore_zeros))


@in_blocks
def pq_index(stats: RowStatistics, *, p: float, q: float, ignore_zeros: bool) -> Array:
    """Return PQI_{p,q} = 1 - d^(1/q-1/p) ||w||_p / ||w||_q in [0, 1), p < q. Shape: (rows,).

    0 = flat; a zero row has 0. Source: [D23], docs/theory.md.
    """
    found = -np.expm1((1 / q - 1 / p) * _log_surplus(stats, p, q, ignore_zeros=ignore_zeros))
    return np.minimum(found, np.nextafter(1.0, 0.0))  # rounding must not reach the 1 that no row has


def hoyer(stats: RowStatistics, *, ignore_zeros: bool) -> Array:
    """Return (sqrt(d) - ||w||_1 / ||w||_2) / (sqrt(d) - 1) in [0, 1]. Shape: (rows,). Zero rows and single weights have 0."""
    root = np.sqrt(population(stats, ignore_zeros=ignore_zeros).astype(np.float64))
    defined = (stats.max_magnitude > 0) & (root > 1)
    ratio = power_sum(stats, 1.0) / np.sqrt(np.where(defined, power_sum(stats, 2.0), 1.0))
    return np.where(defined, np.clip((root - ratio) / np.where(defined, root - 1, 1.0), 0.0, 1.0), 0.0)


def power_sum(stats: RowStatistics, order: float) -> Array:
    """Return the scaled power sums of one order. Shape: (rows,). Raises KeyError when the order was not measured."""
    if order not in stats.orders:
        raise KeyError(f"order {order} was not measured, only {stats.orders}")
    return stats.sums[:, stats.orders.index(order)]


def _log_surplus(stats: RowStatistics, lower: float, upper: float, *, ignore_zeros: bool) -> Array:
    """Return the log of d over the effective count, held to its range [0, log d]; 0 for a zero row."""
    count = population(stats, ignore_zeros=ignore_zeros)
    log_count = np.log(np.maximum(count, 1))
    surplus = np.clip(log_count - log_effective_count(stats, lower, upper), 0.0, log_count)
    return np.where(stats.max_magnitude > 0, surplus, 0.0)
