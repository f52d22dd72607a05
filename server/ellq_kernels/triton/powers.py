"""|w|^q inside kernels, with the bits of ellq_math.powers."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import triton.language as tl

from ellq_kernels.triton.jit import kernel
from ellq_math.dtypes import WEIGHT_DTYPES, decode
from ellq_math.powers import LOWEST_EXPONENT, TABLE_BITS, power, power_table
from ellq_math.sums import Array

EXPONENTS = tl.constexpr(1024 - LOWEST_EXPONENT)
INTERVALS = tl.constexpr(2**TABLE_BITS)
INTERVAL_SHIFT = tl.constexpr(52 - TABLE_BITS)
LOWEST = tl.constexpr(LOWEST_EXPONENT)
SERIES = tl.constexpr(EXPONENTS.value + 2 * INTERVALS.value)
"""Where a table of `_general` holds what: exponents, centres, inverse centres, then the four terms of the series."""

KINDS = {1.0: "itself", 2.0: "square", 0.5: "root"}
"""Orders that need no table."""

FOLDED = tl.constexpr(512)
"""Entries of the folded table of square roots of BF16."""


def kinds_of(orders: tuple[float, ...], dtype: str) -> tuple[str, ...]:
    """Return how each order is raised. Kernels are compiled for kinds, never for orders: those are the callers' to choose.

    16-bit weights have 2^15 magnitudes, so their powers are looked up. In FP64 a series takes a dozen operations and a root
    eight; an H100 has time for some ten a weight at 80 % of its bandwidth (64 lanes in each of 132 multiprocessors, 1.2e12
    weights a second). Of the 256 KB of a table, trained weights touch some ten binades: 10 KB of BF16, which stay in the L1
    cache. What then limits is the rate at which L1 serves a warp that reads 32 places at once. The square root of BF16 is the
    one that is asked for most, and its table folds: every second binade has the same mantissas, so 4 KB in shared memory do.
    Nothing of this was measured.
    """
    if dtype == "BF16":
        return tuple({**KINDS, 0.5: "folded root"}.get(order, "lookup") for order in orders)
    if WEIGHT_DTYPES[dtype].itemsize == 2:
        return tuple(KINDS[order] if order in (1.0, 2.0) else "lookup" for order in orders)
    return tuple(KINDS.get(order, "series") for order in orders)


@lru_cache(maxsize=64)
def device_tables(orders: tuple[float, ...], dtype: str, device: torch.device) -> torch.Tensor:
    """Return one table for each order, of zeros where its kind needs none. Shape: (max(orders, 1), entries) float64."""
    build = {"lookup": _lookup, "series": _general, "folded root": _folded_roots}
    entries = 2**15 if WEIGHT_DTYPES[dtype].itemsize == 2 else SERIES.value + 4
    tables = np.zeros((max(len(orders), 1), entries))
    for row, (order, kind) in enumerate(zip(orders, kinds_of(orders, dtype), strict=True)):
        if kind in build:
            tables[row] = build[kind](order, dtype)
    return torch.from_numpy(tables).to(device)


def _lookup(order: float, dtype: str) -> Array:
    """Return the power of every magnitude of a 16-bit dtype, by key; 0 for NaN and infinity. Shape: (2^15,)."""
    magnitudes = decode(np.arange(2**15, dtype=np.uint16), dtype)
    return power(np.where(np.isfinite(magnitudes), magnitudes, 0.0), order)


def _folded_roots(order: float, dtype: str) -> Array:
    """Return the roots of the keys below 256, then half the roots of the next 256. Shape: (2^15,), FOLDED of them used.

    Each two binades, 256 keys of BF16, double the root. So the root of any other key is that of its place within two binades,
    with 1 added to the exponent for each 256 keys: half a root, because the first 256 are counted.
    """
    roots = _lookup(order, dtype)
    roots[256:512] /= 2
    return roots


def _general(order: float, dtype: str) -> Array:
    """Return everything that raises any double to an order. Shape: (SERIES + 4,)."""
    del dtype
    table = power_table(order)
    return np.concatenate([table.exponents, table.centres, table.inverse_centres, table.series])


@kernel
def raise_to(key: tl.tensor, x: tl.tensor, table: tl.tensor, roots: tl.tensor, KINDS: tl.constexpr, WHICH: tl.constexpr) -> Any:
    """Return x to the order of the table; `key` is that of x unscaled, for looking up. `roots`: the folded table."""
    kind: tl.constexpr = KINDS[WHICH]  # picked here, because Triton 3.6 passes no strings on
    if kind == "itself":
        found = x
    elif kind == "square":
        found = x * x
    elif kind == "root":
        found = tl.sqrt(x)  # sqrt.rn.f64: correctly rounded
    elif kind == "folded root":
        found = unfold(key, roots)
    elif kind == "lookup":
        found = tl.load(table + key)
    else:
        found = raise_by_series(x, table)
    return found


@kernel
def unfold(key: tl.tensor, roots: tl.tensor) -> Any:
    """Return the roots of BF16 keys from the folded table, which lies in shared memory. Shape: (m, n) -> (m, n) float64."""
    place = tl.minimum(key, (key & 255) | 256)
    found = tl.reshape(tl.gather(roots, tl.reshape(place, [key.numel]), 0), key.shape)
    return (found.to(tl.int64, bitcast=True) + ((key & 0x7F00).to(tl.int64) << 44)).to(tl.float64, bitcast=True)


@kernel
def raise_by_series(x: tl.tensor, table: tl.tensor) -> Any:
    """Restate ellq_math.powers.power. Every literal is exact in single precision, because kernels read them so."""
    plain = x.to(tl.int64, bitcast=True)
    subnormal = plain < (1 << 52)
    bits = tl.where(subnormal, (x * 18014398509481984.0).to(tl.int64, bitcast=True), plain)  # times 2^54
    exponent = (bits >> 52) - 1023 - tl.where(subnormal, 54, 0)
    interval = (bits >> INTERVAL_SHIFT) & (INTERVALS - 1)
    mantissa = ((bits & ((1 << 52) - 1)) | (1023 << 52)).to(tl.float64, bitcast=True)
    centre = (interval.to(tl.float64) + 0.5) * (1.0 / INTERVALS) + 1.0
    r = (mantissa - centre) * tl.load(table + EXPONENTS + INTERVALS + interval)
    first, second = tl.load(table + SERIES), tl.load(table + SERIES + 1)
    third, fourth = tl.load(table + SERIES + 2), tl.load(table + SERIES + 3)
    series = r * (first + r * (second + r * (third + r * fourth)))
    near = tl.load(table + EXPONENTS + interval)
    found = (near + near * series) * tl.load(table + tl.maximum(exponent, LOWEST) - LOWEST)
    return tl.where(plain == 0, 0.0, found)
