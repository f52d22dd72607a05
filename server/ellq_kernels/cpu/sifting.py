"""The k-th largest of all weights of several matrices, in one pass: a sample tells which few of them are candidates."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ellq_kernels.cpu.decoding import FORMATS, Format, key_below, key_of, keys_at, magnitude_of, padded
from ellq_kernels.cpu.jit import kernel
from ellq_kernels.cpu.lane_memory import AHEAD, prefetch, store_chosen
from ellq_kernels.cpu.lanes import above, count, equal, unlike
from ellq_kernels.cpu.ranking import ROOM, pick_largest
from ellq_kernels.cpu.threads import Threads
from ellq_kernels.cpu.weights import CpuWeights
from ellq_math.dtypes import Bits
from ellq_math.sums import LANES, Array

SAMPLE = 1 << 12
"""Least weights of a sample, about: candidates are a sixteenth of all then, half of what there is room for.

A pool of no more weights is all candidates."""

ROOMS = (1 << 6, 1 << 20)
"""Least and most candidates that a block has room for.

Between them an eighth of its weights: float64 once for each block and once for all are POOL_BYTES_A_WEIGHT."""


def sift(threads: Threads, pool: Sequence[CpuWeights], kept: int) -> tuple[float, int] | None:
    """Return the kept-th largest magnitude and how many equal to it are among the kept; None when the sample misled.

    1 <= kept <= all weights.
    """
    weights = sum(part.count for part in pool)
    if weights <= SAMPLE:
        return _pick(_sample(pool, stride=1), kept)
    low, high = _pivots(pool, weights, kept)

    def task(part: int, first: int, last: int) -> tuple[tuple[int, int, int, int], Array]:
        return sift_block(pool[part].bits[first:last], pool[part].format, low, high)

    blocks = [(part, *block) for part, weights in enumerate(pool) for block in threads.ranges(weights.count, weights_each=1)]
    found = threads.run(task, blocks)
    over_high, from_high, over_low, from_low = np.sum([counts for counts, _ in found], axis=0).tolist()
    if over_high < kept <= from_high:
        return high, kept - over_high
    if over_low < kept <= from_low:
        return low, kept - over_low
    if not from_high < kept <= over_low or sum(len(candidates) for _, candidates in found) < over_low - from_high:
        return None
    return _pick(np.concatenate([candidates for _, candidates in found]), kept - from_high)


def _pivots(pool: Sequence[CpuWeights], weights: int, kept: int) -> tuple[float, float]:
    """Return magnitudes that are probably below and above the wanted one, the second larger than the first."""
    sample = _sample(pool, stride=stride_of(weights))
    stray = 2 * math.isqrt(len(sample)) + 1  # at least four standard deviations of a rank
    place = kept * len(sample) // weights
    high = max(_pick(sample, place - stray)[0], math.ulp(0.0)) if place > stray else math.inf
    low = _pick(sample, place + stray)[0] if place + stray <= len(sample) else 0.0
    return min(low, math.nextafter(high, 0.0)), high


def stride_of(weights: int) -> int:
    """Return how far apart the weights of a sample of so many are, more than SAMPLE.

    With n weights, n / stride are in the sample and about 4 sqrt(n stride) will be candidates. One costs about as much as
    the other, so that together they cost least where the stride is the cube root of n.
    """
    return min(round(weights ** (1 / 3)), weights // SAMPLE) | 1  # odd, or it would meet the same columns in every row


def _sample(pool: Sequence[CpuWeights], *, stride: int) -> Array:
    """Return every stride-th magnitude of all."""
    found, seen = list[Array](), 0
    for part in pool:
        found.append(every(part.bits, part.format, -seen % stride, stride))
        seen += part.count
    return np.concatenate(found)


def _pick(magnitudes: Array, rank: int) -> tuple[float, int]:
    """Return the rank-th largest, and how many equal to it are among the first `rank`. 1 <= rank <= all of them."""
    doubles = FORMATS["F64"]
    key, ties = pick_largest(magnitudes.view(np.uint64), doubles, rank, np.empty(ROOM, np.uint64))
    return magnitude_of(key, doubles), ties


@kernel
def every(bits: Bits, fmt: Format, start: int, stride: int) -> Array:
    """Return every stride-th magnitude from the one at `start` on."""
    found = np.empty(max((len(bits) - start + stride - 1) // stride, 0))
    for place in range(len(found)):
        found[place] = magnitude_of(key_of(bits[start + place * stride], fmt), fmt)
    return found


@kernel
def sift_block(bits: Bits, fmt: Format, low: float, high: float) -> tuple[tuple[int, int, int, int], Array]:
    """Return how many magnitudes are above `high`, at least that, above `low`, at least that. 0 <= low < high.

    And those between both, as many as there is room for.
    """
    below_high, has_high = key_below(high, fmt)
    below_low, has_low = key_below(low, fmt)
    over_high = at_high = over_low = at_low = stored = 0
    room = min(max(len(bits) // 8, ROOMS[0]), ROOMS[1])
    inside: Any = np.empty(room + LANES, bits.dtype)
    if has_low and below_low == 0:
        at_low = len(bits) - padded(len(bits))  # what pads is no weight
    for j in range(0, len(bits), LANES):
        prefetch(bits, j + AHEAD)
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
        if stored <= room:  # no branch on `here`: it would often be guessed wrong
            store_chosen(inside, stored, keys, candidates)
            stored += here
    over_low += over_high + at_high
    counts = over_high, over_high + at_high, over_low, over_low + at_low
    return counts, every(inside[: min(stored, room)], fmt, 0, 1)
