"""The k-th largest of many weights by counting: nothing is sorted, and what is copied is a few candidates.

A count takes one fast pass. A few weights of the row, ranked, tell the first two pivots; the others are interpolated
between the closest counts so far. Once little of the row is left between them, only that is counted on.
"""

from typing import Any

from ellq_kernels.cpu.decoding import Format, key_of, keys_at, padded
from ellq_kernels.cpu.jit import kernel, part
from ellq_kernels.cpu.lane_memory import load, store_chosen
from ellq_kernels.cpu.lanes import above, both, count, equal, highest, plus, splat, unlike, where
from ellq_math.dtypes import Bits
from ellq_math.sums import LANES

FEW = 2 * LANES
"""Candidates that are compared with each other rather than counted."""

ROOM = 1024
"""Room for candidates that are moved together, with LANES to spare. More than FEW."""

STRAY = 2
"""Places from the expected rank to the first two pivots, of sixteen weights: one standard deviation."""


@part
def pick_largest(bits: Bits, fmt: Format, kept: int, room: Bits) -> tuple[int, int]:
    """Return the kept-th largest key, and how many keys equal to it are among the kept. 1 <= kept <= len(bits).

    `room` has ROOM places.
    """
    if len(bits) <= FEW:
        return pick_of_few(room, gather_between(bits, fmt, 0, fmt.infinity, room), kept)
    return rank_many(bits, fmt, kept, room)


@kernel
def rank_many(bits: Bits, fmt: Format, kept: int, room: Bits) -> tuple[int, int]:
    """Return what pick_largest does, for more than FEW keys. Apart from it, or short rows would pay for what it needs."""
    low, from_low = 0, len(bits)
    high, from_high = fmt.infinity, 0
    above_rank, below_rank = first_pivots(bits, fmt, kept, room)
    left, from_left = bits, 0  # candidates, and how many keys are above all of them
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
        found = from_left + count_from(left, fmt, pivot)
        if found >= kept:
            low, from_low = pivot, found
        else:
            high, from_high = pivot, found
        if step > 1 and from_low - from_high <= min(len(left) // 2, ROOM - LANES):
            left, from_left = room[: gather_between(left, fmt, low, high, room)], from_high
    if high - low == 1:
        return low, kept - from_high
    return pick_of_few(room, gather_between(left, fmt, low, high, room), kept - from_high)


@kernel
def first_pivots(bits: Bits, fmt: Format, kept: int, room: Bits) -> tuple[int, int]:
    """Return a key that is probably above the rank, and one that is probably below."""
    for place in range(LANES):
        room[place] = key_of(bits[place * (len(bits) // LANES)], fmt)
    rank = 1 + kept * LANES // (len(bits) + 1)
    return pick_of_few(room, LANES, max(rank - STRAY, 1))[0], pick_of_few(room, LANES, min(rank + STRAY, LANES))[0]


@kernel
def pick_of_few(few: Bits, found: int, rank: int) -> tuple[int, int]:
    """Return the rank-th largest of the first `found` keys and as many zeros as it takes, and how many equals rank so high.

    `found` is at most FEW. By comparing each with all, sixteen at once and without a branch on what they are. Needs room for
    full lanes.
    """
    if rank > found:
        return 0, rank - found
    for j in range(found, padded(found)):
        few[j] = 0
    low = count_larger(few, found, 0)
    over = highest(where(above(low, rank - 1), 0, low))
    if found <= LANES:
        return highest(where(equal(low, over), load(few, 0), 0)), rank - over
    high = count_larger(few, found, LANES)
    over = max(over, highest(where(above(high, rank - 1), 0, high)))
    key = highest(where(equal(low, over), load(few, 0), 0))
    return max(key, highest(where(equal(high, over), load(few, LANES), 0))), rank - over


@part
def count_larger(few: Bits, found: int, at: int) -> Any:
    """Return how many of the first `found` keys are larger than each of the sixteen from `at` on."""
    keys = load(few, at)
    larger = none = both(keys, 0)
    for j in range(found):
        larger = plus(larger, where(above(splat(few[j]), keys), plus(none, 1), 0))
    return larger


@kernel
def count_from(bits: Bits, fmt: Format, pivot: int) -> int:
    """Return how many keys are at least the pivot, which is above 0."""
    found = 0
    for j in range(0, len(bits), LANES):
        found += count(above(keys_at(bits, j, fmt), pivot - 1))
    return found


@kernel
def gather_between(bits: Bits, fmt: Format, low: int, high: int, keys: Bits) -> int:
    """Set keys to those from low to below high, in order and without zeros, and return how many they are.

    What follows them is overwritten, LANES at most. `keys` may begin where `bits` do.
    """
    below, found = max(low, 1) - 1, 0
    for j in range(0, len(bits), LANES):
        sixteen = keys_at(bits, j, fmt)
        inside = unlike(above(sixteen, below), above(sixteen, high - 1))
        store_chosen(keys, found, sixteen, inside)  # no branch: it would often be guessed wrong
        found += count(inside)
    return found
