"""Histograms for the thresholds of pools (ellq_math.pools)."""

import numpy as np
import torch
import triton.language as tl

from ellq_kernels.triton.jit import kernel, launch
from ellq_kernels.triton.reading import key_of, magnitude_of
from ellq_kernels.triton.units import pool_units_of
from ellq_kernels.triton.weights import TritonWeights
from ellq_math.dtypes import WEIGHT_DTYPES, decode
from ellq_math.pool_units import units_of
from ellq_math.pools import DIGITS, following_bits, histogram_of
from ellq_math.values import Counts, Histogram, PoolUnits

COPIES = 32
"""Tables of counters for 16-bit keys, 8 MB in all: trained weights crowd into few bins, and a bin's additions wait in line."""

WIDE_COPIES = 4
"""The same for digits, whose tables are eight times as large."""

BLOCK = 1024


def histogram(weights: TritonWeights, *, level: int, prefix: int, units: PoolUnits | None) -> Histogram:
    """Return the histogram of a digit over the magnitudes behind a prefix."""
    if WEIGHT_DTYPES[weights.dtype].itemsize == 2:
        found = _counts_of_keys(weights, level=level, prefix=prefix, units=units)
    else:
        found = _counts_of_digits(weights, level=level, prefix=prefix, units=units)
    if units is None:
        return Histogram(weights=found[0], units=None, lower_total=None)
    return histogram_of(*found, level=level, p=units.p)


def _counts_of_keys(weights: TritonWeights, *, level: int, prefix: int, units: PoolUnits | None) -> list[Counts]:
    """Return weights, and units rounded up and down, by digit: 2^15 keys are counted, the rest follows on the host."""
    counts = torch.zeros((COPIES, 2**15), dtype=torch.int64, device=weights.device)
    launch(
        count_keys, _programs(weights),
        weights.bits, counts, weights.bits.numel(), DTYPE=weights.dtype, COPIES=COPIES, BLOCK=BLOCK,
    )  # fmt: skip
    by_key = counts.sum(dim=0).cpu().numpy()
    keys = np.flatnonzero(by_key)
    magnitudes = decode(keys.astype(np.uint16), weights.dtype)
    leading = magnitudes.view(np.int64) >> following_bits(level)
    inside = leading >> DIGITS[level] == prefix
    digits, times = leading[inside] & (2 ** DIGITS[level] - 1), by_key[keys[inside]]
    each = [np.ones_like(times)] + ([] if units is None else list(units_of(magnitudes[inside], units)))
    found = [np.zeros(2 ** DIGITS[level], np.int64) for _ in each]
    for bins, cost in zip(found, each, strict=True):
        np.add.at(bins, digits, cost * times)
    return found


def _counts_of_digits(weights: TritonWeights, *, level: int, prefix: int, units: PoolUnits | None) -> list[Counts]:
    """Return weights, and units rounded up and down, by digit."""
    bins = 2 ** DIGITS[level]
    counts = torch.zeros((WIDE_COPIES, 1 if units is None else 3, bins), dtype=torch.int64, device=weights.device)
    wanted = torch.tensor([prefix, 0 if units is None else 2**units.bits], dtype=torch.int64, device=weights.device)
    launch(
        count_digits, _programs(weights),
        weights.bits, counts, wanted, weights.bits.numel(), bins,
        DTYPE=weights.dtype, P=0 if units is None else units.p, SHIFT=following_bits(level), DIGIT=DIGITS[level],
        COPIES=WIDE_COPIES, BLOCK=BLOCK,
    )  # fmt: skip
    return list(counts.sum(dim=0).cpu().numpy())


def _programs(weights: TritonWeights) -> tuple[int]:
    return (-(-weights.bits.numel() // BLOCK),)


@kernel
def count_keys(
    weights: tl.tensor, counts: tl.tensor, count: tl.tensor, DTYPE: tl.constexpr, COPIES: tl.constexpr, BLOCK: tl.constexpr
) -> None:
    """Count every key of a 16-bit dtype."""
    program = tl.program_id(0).to(tl.int64)
    at = program * BLOCK + tl.arange(0, BLOCK)
    key = key_of(tl.load(weights + at, mask=at < count, other=0), DTYPE)
    tl.atomic_add(counts + program % COPIES * 32768 + key, tl.full([BLOCK], 1, tl.int64), mask=at < count, sem="relaxed")


@kernel
def count_digits(
    weights: tl.tensor, counts: tl.tensor, wanted: tl.tensor, count: tl.tensor, bins: tl.tensor,
    DTYPE: tl.constexpr, P: tl.constexpr, SHIFT: tl.constexpr, DIGIT: tl.constexpr, COPIES: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """Count digits, and add up units if P; `wanted` holds the prefix and the units of one."""
    program = tl.program_id(0).to(tl.int64)
    at = program * BLOCK + tl.arange(0, BLOCK)
    key = key_of(tl.load(weights + at, mask=at < count, other=0), DTYPE)
    pattern = magnitude_of(key, DTYPE).to(tl.int64, bitcast=True)
    leading = pattern >> SHIFT
    inside = (at < count) & ((leading >> DIGIT) == tl.load(wanted))
    columns = 3 if P > 0 else 1
    bin_of = counts + program % COPIES * columns * bins + (leading & (bins - 1))
    tl.atomic_add(bin_of, tl.full([BLOCK], 1, tl.int64), mask=inside, sem="relaxed")
    if P > 0:
        upper, lower = pool_units_of(pattern, tl.load(wanted + 1).to(tl.float64), P)
        tl.atomic_add(bin_of + bins, upper, mask=inside, sem="relaxed")
        tl.atomic_add(bin_of + 2 * bins, lower, mask=inside, sem="relaxed")
