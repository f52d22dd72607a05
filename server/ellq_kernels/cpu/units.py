"""Fixed-point units of magnitudes, with the bits of ellq_math.measuring.fixed_units."""

from typing import Any, NamedTuple

from numba.extending import overload

from ellq_kernels.cpu.decoding import Format, magnitudes_of
from ellq_kernels.cpu.jit import part
from ellq_kernels.cpu.lanes import above, larger, times, where
from ellq_kernels.cpu.rounding import rounded_down, rounded_up
from ellq_kernels.scaling import UnitScale


class RowUnits(NamedTuple):
    """How the magnitudes of one row become units: UnitScale, with what may be multiplied beforehand."""

    p: int
    first: float
    second: float
    resolution: float


@part
def units_of_row(units: UnitScale, row: int) -> RowUnits:
    """Return the units of a row. Powers of two may be multiplied in any order: what that rounds is far below a unit.

    The slack is none, but it goes with one, the resolution, which moves the rounded bits of x x slack and changes none.
    """
    p, resolution = units.p, units.resolution * units.slack
    return RowUnits(p, units.first[row], units.second[row] * (resolution if p == 1 else 1.0), resolution)


def units_up(keys: Any, fmt: Format, units: RowUnits) -> Any:
    """Return the units of sixteen keys, rounded up; nothing but zero is free."""
    raise NotImplementedError


@overload(units_up, strict=False, jit_options={"forceinline": True})
def _units_up(keys: Any, fmt: Any, units: Any) -> Any:
    if keys.element.bitwidth == 64:  # the share of a key that is not zero may underflow
        return lambda keys, fmt, units: where(above(keys, 0), larger(rounded_up(shares_of(keys, fmt, units)), 1), 0)
    return lambda keys, fmt, units: rounded_up(shares_of(keys, fmt, units))


@part
def units_down(keys: Any, fmt: Format, units: RowUnits) -> Any:
    """Return the units of sixteen keys, rounded down."""
    return rounded_down(shares_of(keys, fmt, units))


@part
def shares_of(keys: Any, fmt: Format, units: RowUnits) -> Any:
    """Return the units of sixteen keys before they are rounded to integers."""
    x = scaled(keys, fmt, units)
    return x if units.p == 1 else times(times(x, x), units.resolution)


def scaled(keys: Any, fmt: Format, units: RowUnits) -> Any:
    """Return the scaled magnitudes of sixteen keys. Only the exponents of F64 take two factors."""
    raise NotImplementedError


@overload(scaled, strict=False, jit_options={"forceinline": True})
def _scaled(keys: Any, fmt: Any, units: Any) -> Any:
    if keys.element.bitwidth == 64:
        return lambda keys, fmt, units: times(times(magnitudes_of(keys, fmt), units.first), units.second)
    return lambda keys, fmt, units: times(magnitudes_of(keys, fmt), units.first * units.second)
