"""A budget for a row that is too long for one thread: threads add it up together until few enough candidates are left."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ellq_kernels.cpu.decoding import Format, magnitude_of
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.ranking import FEW, ROOM, gather_between, pick_largest
from ellq_kernels.cpu.spending import Bracket, Found, add_up, narrowed, pick_within
from ellq_kernels.cpu.threads import Threads
from ellq_kernels.cpu.units import RowUnits
from ellq_math.dtypes import Bits
from ellq_math.sums import LANES

LONG = 1 << 20
"""Weights of a row that threads share, and candidates that one thread takes over: at most 8 MiB of keys."""

SAMPLE = 1 << 18
"""Weights that tell the first two pivots."""

SAMPLED = 64
"""Of how many weights at least one is in the sample."""


@dataclass(frozen=True)
class LongRow:
    """A row, and what its weights cost."""

    bits: Bits
    format: Format
    threads: Threads
    units: RowUnits

    def choose(self, budget: int) -> tuple[float, int, int]:
        """Return the threshold, the ties and the weights that stay when the smallest go whose cost is at most the budget."""
        at = self._narrow(budget)
        if at.high - at.low == 1:
            equals: Any = np.array([at.low], self.bits.dtype)
            each = add_up(equals, self.format, at.high, at.high, self.units).below_first
            key, stay = at.low, at.inside - (budget - at.spent) // each
            left = stay
        else:
            candidates = np.concatenate(self._over(gather, at.low, at.high))
            key, stay, left = self._pick(candidates, budget - at.spent)
        return (magnitude_of(key, self.format), stay, left + at.from_high) if stay > 0 else (math.inf, 0, 0)

    def _narrow(self, budget: int) -> Bracket:
        """Return candidates that are few, or all equal."""
        at = Bracket(0, self.format.infinity, 0, len(self.bits), 0)
        pivots = self._likely_pivots(budget)
        while at.high - at.low > 1 and at.inside > LONG:
            first = min(max(pivots[0], at.low + 1), at.high - 1)
            second = min(max(pivots[1], first), at.high - 1)
            found = np.sum(self._over(add_up, first, second, self.units), axis=0)
            inside = Found(*(found - (at.spent, at.spent, at.from_high, at.from_high)).tolist())
            at = narrowed(at, first, second, inside, budget)
            third = (at.high - at.low) // 3
            pivots = at.low + third, at.high - third  # where the sample misled
        return at

    def _likely_pivots(self, budget: int) -> tuple[int, int]:
        """Return a key that is probably below the end of the cut, and one that is probably above."""
        stride = sampling_stride(len(self.bits))
        sample = self.bits[::stride].copy()
        _, _, left = self._pick(sample, budget // stride)
        stray = 2 * math.isqrt(len(sample))  # four standard deviations of a rank
        room: Any = np.empty(ROOM, self.bits.dtype)
        ranks = (min(max(place, 1), len(sample)) for place in (left + stray, left - stray))
        below, above = (pick_largest(sample, self.format, rank, room)[0] for rank in ranks)
        return below, above

    def _pick(self, keys: Bits, budget: int) -> tuple[int, int, int]:
        room: Any = np.empty(len(keys) + 2 * LANES, keys.dtype)
        costs = np.empty(FEW, np.int64)
        return pick_within(keys, self.format, budget, self.units, room, costs)

    def _over(self, kernel: Any, *arguments: object) -> list[Any]:
        def task(first: int, last: int) -> Any:
            return kernel(self.bits[first:last], self.format, *arguments)

        return self.threads.over(len(self.bits), weights_each=1, task=task)


def sampling_stride(weights: int) -> int:
    """Return how far apart the weights of a sample of so many are."""
    return max(weights // SAMPLE, SAMPLED) | 1  # odd, or it would meet the same columns of a flattened matrix


@kernel
def gather(bits: Bits, fmt: Format, low: int, high: int) -> Bits:
    """Return the keys from low to below high, at most LONG, without zeros."""
    found: Any = np.empty(min(len(bits), LONG) + LANES, bits.dtype)  # memory that is not touched costs nothing
    return found[: gather_between(bits, fmt, low, high, found)]
