"""A budget for a row that is too long for one thread: threads count it together until few enough candidates are left."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ellq_kernels.cpu.decoding import Format, key_of, magnitude_of
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.ranking import count_from, gather_between
from ellq_kernels.cpu.selecting import unit_up
from ellq_kernels.cpu.threads import Threads
from ellq_kernels.scaling import UnitScale
from ellq_math.dtypes import Bits
from ellq_math.sums import LANES
from ellq_math.values import Counts

LONG = 1 << 20
"""Weights of a row that threads share, and candidates that one thread takes over: 8 MiB of keys."""

SAMPLE = 1 << 18
"""Weights that tell the first two pivots."""

SAMPLED = 64
"""Of how many weights at least one is in the sample."""


@dataclass(frozen=True)
class Candidates:
    """The cut ends among keys from `low` to below `high`: what is below can all go, but not all below `high` can."""

    low: int
    high: int
    below: int
    """Weights below `low`."""
    spent: int
    """What they cost."""
    inside: int


@dataclass(frozen=True)
class LongRow:
    """A row, and what its weights cost."""

    bits: Bits
    format: Format
    threads: Threads
    units: UnitScale
    row: int

    def choose(self, room: int) -> tuple[float, int, int]:
        """Return the threshold, the ties and the weights that stay when the smallest go whose cost is at most `room`."""
        if self._cost_below(self.format.infinity) <= room:
            return math.inf, 0, 0
        found = self._narrow(room)
        count = len(self.bits) - found.below
        if found.high - found.low == 1:
            each = self._costs(np.array([found.low]))[0]
            goes = (room - found.spent) // each  # not free, or all would go
            return magnitude_of(found.low, self.format), int(found.inside - goes), int(count - goes)
        keys = np.concatenate(self._over(gather, found.low, found.high))
        keys.sort()
        goes = int(np.searchsorted(self._costs(keys).cumsum(), room - found.spent, side="right"))
        ties = int(np.searchsorted(keys, keys[goes], side="right")) - goes
        return magnitude_of(int(keys[goes]), self.format), ties, count - goes

    def _narrow(self, room: int) -> Candidates:
        """Return candidates that are few, or all equal."""
        low, high = 0, self.format.infinity
        below, spent, not_above = 0, 0, len(self.bits)
        pivots = self._first_pivots(room)
        while high - low > 1 and (pivots or not_above - below > LONG):
            pivot = pivots.pop() if pivots else low + (high - low) // 2
            pivot = min(max(pivot, low + 1), high - 1)
            weights, cost = len(self.bits) - sum(self._over(count_from, pivot)), self._cost_below(pivot)
            if cost <= room:
                low, below, spent = pivot, weights, cost
            else:
                high, not_above = pivot, weights
        return Candidates(low, high, below, spent, inside=not_above - below)

    def _first_pivots(self, room: int) -> list[int]:
        stride = max(len(self.bits) // SAMPLE, SAMPLED)
        keys = (self.bits[::stride] & self.bits.dtype.type((1 << self.format.key_bits) - 1)).astype(np.int64)
        keys.sort()
        end = int(np.searchsorted(self._costs(keys).cumsum(), room / stride))
        stray = 2 * math.isqrt(len(keys))  # four standard deviations of a rank
        return [int(keys[min(max(place, 0), len(keys) - 1)]) for place in (end - stray, end + stray)]

    def _cost_below(self, pivot: int) -> int:
        return sum(self._over(units_below, pivot, self.units, self.row))

    def _costs(self, keys: Counts) -> Counts:
        return units_of_keys(keys, self.format, self.units, self.row)

    def _over(self, kernel: Any, *arguments: object) -> list[Any]:
        def task(first: int, last: int) -> Any:
            return kernel(self.bits[first:last], self.format, *arguments)

        return self.threads.over(len(self.bits), weights_each=1, task=task)


@kernel
def gather(bits: Bits, fmt: Format, low: int, high: int) -> Counts:
    """Return the keys from low to below high."""
    above = count_from(bits, fmt, high)
    inside = (count_from(bits, fmt, low) if low > 0 else len(bits)) - above
    found: Any = np.zeros(inside + LANES, bits.dtype)  # zeros are not gathered
    gather_between(bits, fmt, low, high, found)
    return found[:inside].astype(np.int64)


@kernel
def units_below(bits: Bits, fmt: Format, pivot: int, units: UnitScale, row: int) -> int:
    """Return the sum of the units, rounded up, of keys below the pivot."""
    p, first, second = units.p[row], units.first[row], units.second[row]
    resolution, slack = units.resolution[row], units.slack[row]
    total = 0
    for raw in bits:
        key = key_of(raw, fmt)
        each = unit_up(magnitude_of(key, fmt), p, first, second, resolution, slack)
        total += each if key < pivot else 0
    return total


@kernel
def units_of_keys(keys: Counts, fmt: Format, units: UnitScale, row: int) -> Counts:
    """Return the units of keys, rounded up. Shape: (n,) -> (n,)."""
    p, first, second = units.p[row], units.first[row], units.second[row]
    found = np.empty(len(keys), np.int64)
    for j in range(len(keys)):
        found[j] = unit_up(magnitude_of(keys[j], fmt), p, first, second, units.resolution[row], units.slack[row])
    return found
