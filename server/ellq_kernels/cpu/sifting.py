"""The k-th largest of all weights of several matrices, in one pass: a sample tells which few of them are candidates."""

import math
from collections.abc import Sequence

import numpy as np

from ellq_kernels.cpu.decoding import Format, key_below, key_of, keys_at, magnitude_of, magnitudes_of, padded
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.lane_memory import store_chosen
from ellq_kernels.cpu.lanes import above, count, equal, unlike
from ellq_kernels.cpu.threads import Threads
from ellq_kernels.cpu.weights import CpuWeights
from ellq_math.dtypes import Bits
from ellq_math.sums import LANES, Array

SAMPLE = 1 << 17
"""Least weights of the sample where there are many."""

SAMPLED = 16
"""Of how many weights at least one is in the sample."""

ROOMS = (1 << 6, 1 << 20)
"""Least and most candidates that a block has room for, 8 bytes each; between them an eighth of its weights."""


def sift(threads: Threads, pool: Sequence[CpuWeights], kept: int) -> tuple[float, int] | None:
    """Return the kept-th largest magnitude and how many equal to it are among the kept; None when the sample misled.

    1 <= kept <= all weights.
    """
    low, high = _pivots(pool, kept)

    def task(part: int, first: int, last: int) -> tuple[tuple[int, int, int, int], Array]:
        inside = np.empty(min(max((last - first) // 8, ROOMS[0]), ROOMS[1]))
        found = sift_block(pool[part].bits[first:last], pool[part].format, low, high, inside)
        return found, inside[: found[2] - found[1]].copy()  # a view would keep all the room of every block

    blocks = [(part, *block) for part, weights in enumerate(pool) for block in threads.ranges(weights.count, weights_each=1)]
    found = threads.run(task, blocks)
    over_high, from_high, over_low, from_low = np.sum([counts for counts, _ in found], axis=0).tolist()
    if over_high < kept <= from_high:
        return high, kept - over_high
    if over_low < kept <= from_low:
        return low, kept - over_low
    if not from_high < kept <= over_low or sum(len(candidates) for _, candidates in found) < over_low - from_high:
        return None
    inside = np.concatenate([candidates for _, candidates in found])
    place = over_low - kept
    inside.partition(place)
    return float(inside[place]), kept - from_high - int((inside > inside[place]).sum())


def _pivots(pool: Sequence[CpuWeights], kept: int) -> tuple[float, float]:
    """Return magnitudes that are probably below and above the wanted one, the second larger than the first."""
    weights = sum(part.count for part in pool)
    stride = max(weights // SAMPLE, SAMPLED) | 1  # odd, or it would meet the same columns in every row
    sample, seen = list[Array](), 0
    for part in pool:
        sample.append(every(part.bits, part.format, -seen % stride, stride))
        seen += part.count
    magnitudes = np.concatenate(sample)
    stray = 2 * math.isqrt(len(magnitudes)) + 1  # at least four standard deviations of a rank
    place = len(magnitudes) - kept * len(magnitudes) // weights
    low, high = place - stray, place + stray
    magnitudes.partition([max(low, 0), min(high, len(magnitudes) - 1)])
    above_rank = max(float(magnitudes[high]), math.ulp(0.0)) if high < len(magnitudes) else math.inf
    below_rank = float(magnitudes[low]) if low >= 0 else 0.0
    return min(below_rank, math.nextafter(above_rank, 0.0)), above_rank


@kernel
def every(bits: Bits, fmt: Format, start: int, stride: int) -> Array:
    """Return every stride-th magnitude from the one at `start` on."""
    found = np.empty(max((len(bits) - start + stride - 1) // stride, 0))
    for place in range(len(found)):
        found[place] = magnitude_of(key_of(bits[start + place * stride], fmt), fmt)
    return found


@kernel
def sift_block(bits: Bits, fmt: Format, low: float, high: float, inside: Array) -> tuple[int, int, int, int]:
    """Return how many magnitudes are above `high`, at least that, above `low`, at least that. 0 <= low < high.

    Those between both go to `inside`, as many as it has room for.
    """
    below_high, has_high = key_below(high, fmt)
    below_low, has_low = key_below(low, fmt)
    over_high = at_high = over_low = at_low = stored = 0
    if has_low and below_low == 0:
        at_low = len(bits) - padded(len(bits))  # what pads is no weight
    for j in range(0, len(bits), LANES):
        keys = keys_at(bits, j, fmt)
        top, candidates = above(keys, below_high), above(keys, below_low)
        if has_high:
            at_high += count(equal(keys, below_high))
            candidates = unlike(candidates, equal(keys, below_high))
        if has_low:
            at_low += count(equal(keys, below_low))
        candidates = unlike(candidates, top)
        over_high += count(top)
        here = count(candidates)
        over_low += here
        if here > 0 and stored + here <= len(inside):
            store_chosen(inside, stored, magnitudes_of(keys, fmt), candidates)
            stored += here
    over_low += over_high + at_high
    return over_high, over_high + at_high, over_low, over_low + at_low
