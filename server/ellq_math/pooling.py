"""Statistics of many rows as those of one row."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ellq_math.powers import LOWEST_EXPONENT, power_table
from ellq_math.sums import Array, canonical_sum
from ellq_math.values import Counts, RowStatistics

RESCALE_ROUNDINGS = 4
"""Most roundings that bringing a sum to another exponent costs: two table entries and two products."""


def fold(stats: RowStatistics) -> RowStatistics:
    """Return the statistics of all rows as one row, added in canonical order."""
    return _gather(stats, fan_in=stats.fan_in * len(stats.zeros))


def pool(parts: Sequence[RowStatistics]) -> RowStatistics:
    """Return the statistics of several one-row statistics as one row; `parts` is not empty and has the same orders.

    The order of `parts` is the order of the sum, so it must be the same wherever the same bits are wanted: offset order.
    """
    orders = parts[0].orders
    if any(part.orders != orders or len(part.zeros) != 1 for part in parts):
        raise ValueError("only one-row statistics of the same orders can be pooled")
    rows = RowStatistics(
        orders=orders,
        sums=np.concatenate([part.sums for part in parts]),
        exponents=np.concatenate([part.exponents for part in parts]),
        max_magnitude=np.concatenate([part.max_magnitude for part in parts]),
        zeros=np.concatenate([part.zeros for part in parts]),
        fan_in=0,
    )
    return _gather(rows, fan_in=sum(part.fan_in for part in parts))


def with_orders(stats: RowStatistics, orders: tuple[float, ...]) -> RowStatistics:
    """Return the same statistics with these of their orders alone."""
    places = [stats.orders.index(order) for order in orders]
    return replace(stats, orders=orders, sums=stats.sums[:, places])


def common_exponent(exponents: Counts, *, present: Array) -> int:
    """Return the largest exponent of the rows whose `present` is above zero; 0 when there is none.

    Rows without weights must not vote: their exponent is 0, and rescaling tiny sums to it could lose them all.
    """
    voting = exponents[present > 0]
    return int(voting.max()) if len(voting) else 0


def _gather(rows: RowStatistics, *, fan_in: int) -> RowStatistics:
    exponent = common_exponent(rows.exponents, present=rows.max_magnitude)
    drop = np.where(rows.max_magnitude > 0, rows.exponents - exponent, 0)
    terms = rows.sums.T
    if drop.any():
        terms = terms * np.array([_power_of_two(drop, order) for order in rows.orders]).reshape(terms.shape)
    return RowStatistics(
        orders=rows.orders,
        sums=canonical_sum(terms)[np.newaxis],
        exponents=np.array([exponent]),
        max_magnitude=rows.max_magnitude.max(keepdims=True),
        zeros=rows.zeros.sum(keepdims=True),
        fan_in=fan_in,
    )


def _power_of_two(drop: Counts, order: float) -> Array:
    """Return 2^(order drop) for drop in [-2148, 0]; exactly 1 for 0. In halves, because the table ends at -1074."""
    table = power_table(order).exponents
    half = drop // 2
    return table[half - LOWEST_EXPONENT] * table[drop - half - LOWEST_EXPONENT]
