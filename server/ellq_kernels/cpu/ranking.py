"""The k-th largest of many weights by counting alone: nothing is moved, sorted or copied, whatever the dtype.

A count takes one fast pass. A few weights of the row, sorted, tell the first two pivots; the others are interpolated
between the closest counts so far.
"""

from ellq_kernels.cpu.decoding import Format, key_of, keys_at
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.lane_memory import load
from ellq_kernels.cpu.lanes import above, count, equal
from ellq_math.dtypes import Bits
from ellq_math.sums import LANES
from ellq_math.values import Counts

FEW = LANES
"""Candidates that are compared with each other rather than counted, and weights that tell the first two pivots."""

STRAY = 2
"""How many places of that sample the first two pivots are from where the rank is expected: one standard deviation."""


@kernel
def pick_largest(bits: Bits, fmt: Format, kept: int, few: Counts) -> tuple[int, int]:
    """Return the kept-th largest key, and how many keys equal to it are among the kept. 1 <= kept <= len(bits).

    `few` is room for FEW keys.
    """
    if len(bits) <= FEW:
        return pick_of_few(few, gather_between(bits, fmt, 0, fmt.infinity, few), kept)
    low, from_low = 0, len(bits)
    high, from_high = fmt.infinity, 0
    above_rank, below_rank = first_pivots(bits, fmt, kept, few)
    step = 0
    while high - low > 1 and from_low - from_high > FEW:
        if step == 0:
            pivot = below_rank
        elif step == 1:
            pivot = above_rank
        elif step % 4 == 3:
            pivot = low + (high - low) // 2  # so that no distribution takes more than a few passes a bit
        else:
            pivot = low + int((high - low) * ((from_low - kept + 0.5) / (from_low - from_high)))
        step += 1
        pivot = min(max(pivot, low + 1), high - 1)
        found = count_from(bits, fmt, pivot)
        if found >= kept:
            low, from_low = pivot, found
        else:
            high, from_high = pivot, found
    if high - low == 1:
        return low, kept - from_high
    return pick_of_few(few, gather_between(bits, fmt, low, high, few), kept - from_high)


@kernel
def first_pivots(bits: Bits, fmt: Format, kept: int, few: Counts) -> tuple[int, int]:
    """Return a key that is probably above the rank, and one that is probably below."""
    for place in range(FEW):
        few[place] = key_of(bits[place * (len(bits) // FEW)], fmt)
    rank = 1 + kept * FEW // (len(bits) + 1)
    return pick_of_few(few, FEW, max(rank - STRAY, 1))[0], pick_of_few(few, FEW, min(rank + STRAY, FEW))[0]


@kernel
def pick_of_few(few: Counts, found: int, rank: int) -> tuple[int, int]:
    """Return the largest key but `rank` - 1 of the first `found`, and how many keys equal to it have at most that rank.

    By comparing each with all at once, which no branch can mispredict. 1 <= rank <= found <= FEW.
    """
    few[found:] = 0
    keys = load(few, 0)
    for j in range(found):
        larger = count(above(keys, few[j]))
        if larger < rank <= larger + count(equal(keys, few[j])):
            return few[j], rank - larger
    return 0, rank


@kernel
def count_from(bits: Bits, fmt: Format, pivot: int) -> int:
    """Return how many keys are at least the pivot, which is above 0."""
    found = 0
    for j in range(0, len(bits), LANES):
        found += count(above(keys_at(bits, j, fmt), pivot - 1))
    return found


@kernel
def gather_between(bits: Bits, fmt: Format, low: int, high: int, keys: Counts) -> int:
    """Set keys to those from low to below high and return how many they are."""
    found = 0
    for j in range(0, len(bits), LANES):
        sixteen = keys_at(bits, j, fmt)
        if low == 0 or count(above(sixteen, low - 1)) > count(above(sixteen, high - 1)):
            for place in range(j, min(j + LANES, len(bits))):  # a slice would cost more than the loop
                key = key_of(bits[place], fmt)
                if low <= key < high:
                    keys[found] = key
                    found += 1
    return found
