"""The one order in which ellq adds floating point numbers, and what rounding can cost.

Floating point addition depends on its order, and keep counts depend on sums. Every kernel maker adds in the order below, so
that all of them agree bit for bit, however many threads they use.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LANES = 16
"""Running sums side by side in a chunk; lane l takes terms l, l + 16, l + 32, ..."""

CHUNK = 1024
"""Terms that are folded into one partial sum; partial sums are terms of the next level."""

ROUNDINGS_A_LEVEL = CHUNK // LANES - 1 + 4
"""Most roundings that any term meets in one level: down its lane, then four halvings of the lanes."""

CHUNKS_AT_ONCE = 64
"""Chunks of a row that numpy folds side by side: 512 KiB for each leading row, so that a core's cache holds a few rows' while
one lane after the other is added."""

UNIT_ROUNDOFF = 2.0**-53


def canonical_sum(terms: Array) -> Array:
    """Return the sum over the last axis, added in ellq's canonical order.

    Shape: (..., n) -> (...), float64. n = 0 gives 0. Padding with zeros never changes the result.
    """
    if terms.shape[-1] == 0:
        return np.zeros(terms.shape[:-1])
    while True:
        terms = _fold_chunks(terms)
        if terms.shape[-1] == 1:
            return terms[..., 0]


def sum_roundings(count: int) -> int:
    """Return the most roundings any term of a canonical sum of `count` terms meets.

    A sum of non-negative terms is within a relative (1 + u)^roundings - 1 of the truth, u = 2^-53 (Higham, Accuracy and
    Stability of Numerical Algorithms, section 4.2).
    """
    levels = 1
    while count > CHUNK:
        count = -(-count // CHUNK)
        levels += 1
    return levels * ROUNDINGS_A_LEVEL


def round_up(value: Array, *, roundings: int) -> Array:
    """Return a value that is never below the true one, given how many roundings `value` has met.

    Doubling the unit roundoff pays for the higher-order terms and for this multiplication. Zero stays zero: a sum of
    non-negative terms is zero only if all terms are. Infinity stays.
    """
    inflated = np.nextafter(value * (1 + 2 * (roundings + 1) * UNIT_ROUNDOFF), np.inf)
    return np.where(value == 0, 0.0, inflated)


def round_down(value: Array, *, roundings: int) -> Array:
    """Return a value that is never above the true one, given how many roundings `value` has met, and never negative."""
    deflated = np.nextafter(value * (1 - 2 * (roundings + 1) * UNIT_ROUNDOFF), -np.inf)
    return np.maximum(deflated, 0.0)


def _fold_chunks(terms: Array) -> Array:
    """Return the partial sums of every chunk. Shape: (..., n) -> (..., ceil(n / CHUNK))."""
    *lead, count = terms.shape
    whole = count // CHUNK
    found = np.empty((*lead, -(-count // CHUNK)))
    chunks = terms[..., : whole * CHUNK].reshape(*lead, whole, CHUNK)
    for first in range(0, whole, CHUNKS_AT_ONCE):
        some = slice(first, min(first + CHUNKS_AT_ONCE, whole))
        found[..., some] = _fold_lanes(chunks[..., some, :])
    if count % CHUNK:
        last = np.zeros((*lead, -(-(count % CHUNK) // LANES) * LANES))  # a short chunk needs no padding to full length
        last[..., : count % CHUNK] = terms[..., whole * CHUNK :]
        found[..., whole] = _fold_lanes(last)
    return found


def _fold_lanes(chunks: Array) -> Array:
    """Return the sums of chunks. Shape: (..., n) -> (...), n a multiple of LANES."""
    steps = chunks.reshape(*chunks.shape[:-1], chunks.shape[-1] // LANES, LANES)
    lanes = steps[..., 0, :].copy()
    for step in range(1, steps.shape[-2]):
        lanes += steps[..., step, :]
    width = LANES
    while width > 1:
        width //= 2
        lanes = lanes[..., :width] + lanes[..., width : 2 * width]
    return lanes[..., 0]
