"""|w|^q, the same bits everywhere.

Platform libraries disagree on pow in the last bits, and keep counts depend on it. So ellq has its own: a power of two
from a table, a power of the leading eleven mantissa bits from another, and a short series for the rest, all in plain IEEE
multiplications and additions (never fused), which every device rounds alike.
"""

from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache

import numpy as np

from ellq_math.sums import Array

TABLE_BITS = 11
"""Leading mantissa bits that index the second table: what is left is below 2^-12 of the centre of its interval."""

LOWEST_EXPONENT = -1074
"""Exponent of the smallest double; the table of powers of two starts here."""

POWER_ROUNDINGS = 8
"""|w|^q is within this many units of roundoff: at most 5 (two tables, two products, one sum), series error included."""

_CENTRE_DIGITS = Context(prec=25)
_EXPONENT_DIGITS = Context(prec=60)  # more, because 2000 products in a row use some up


@dataclass(frozen=True)
class PowerTable:
    """Everything needed to raise magnitudes to one order.

    `exponents[e - LOWEST_EXPONENT]` is 2^(order e) for e = -1074 ... 1023; `centres[j]` is c_j^order and
    `inverse_centres[j]` is 1/c_j for c_j = 1 + (j + 1/2) / 2048; `series` holds the first four coefficients of
    (1 + r)^order - 1. All float64 and read-only.
    """

    order: float
    exponents: Array
    centres: Array
    inverse_centres: Array
    series: tuple[float, float, float, float]


@lru_cache(maxsize=256)
def power_table(order: float) -> PowerTable:
    """Return the tables for an order in (0, 2]; every entry is rounded once, from 25 or more decimal digits."""
    exact = Decimal(order)
    step = _EXPONENT_DIGITS.power(2, exact)
    exponents = [_EXPONENT_DIGITS.power(step, LOWEST_EXPONENT)]
    while len(exponents) < 1024 - LOWEST_EXPONENT:
        exponents.append(_EXPONENT_DIGITS.multiply(exponents[-1], step))
    centres = [1 + (j + 0.5) / 2**TABLE_BITS for j in range(2**TABLE_BITS)]
    first = order
    second = first * (order - 1) / 2
    third = second * (order - 2) / 3
    fourth = third * (order - 3) / 4
    return PowerTable(
        order=order,
        exponents=_frozen([float(x) for x in exponents]),
        centres=_frozen([float(_CENTRE_DIGITS.power(Decimal(c), exact)) for c in centres]),
        inverse_centres=_frozen([1 / c for c in centres]),
        series=(first, second, third, fourth),
    )


def power(magnitude: Array, order: float) -> Array:
    """Return magnitude^order within POWER_ROUNDINGS units of roundoff; orders 1/2, 1 and 2 are correctly rounded.

    Shape: any -> the same, float64; magnitudes non-negative and finite; zero gives zero. Subnormal doubles are normalised
    first. Results below 2^-1022 are only good to 2^-1074, and order 2 can overflow or underflow: scale first.
    """
    if order == 1.0:
        return magnitude.copy()
    if order == 2.0:
        return magnitude * magnitude
    if order == 0.5:
        return np.sqrt(magnitude)
    table = power_table(order)
    subnormal = magnitude < 2.0**-1022
    bits = (magnitude * np.where(subnormal, 2.0**54, 1.0)).view(np.uint64)
    exponent = (bits >> np.uint64(52)).astype(np.int64) - 1023 - 54 * subnormal
    interval = ((bits >> np.uint64(52 - TABLE_BITS)) & np.uint64(2**TABLE_BITS - 1)).astype(np.int64)
    mantissa = ((bits & np.uint64(2**52 - 1)) | np.uint64(1023 << 52)).view(np.float64)
    centre = 1.0 + (interval + 0.5) / 2**TABLE_BITS
    r = (mantissa - centre) * table.inverse_centres[interval]
    first, second, third, fourth = table.series
    series = r * (first + r * (second + r * (third + r * fourth)))
    near = table.centres[interval]
    found = (near + near * series) * table.exponents[np.maximum(exponent, LOWEST_EXPONENT) - LOWEST_EXPONENT]
    return np.where(magnitude == 0, 0.0, found)


def _frozen(values: list[float]) -> Array:
    array = np.array(values)
    array.setflags(write=False)
    return array
