"""Statistics of many tensors in one launch: every power sum, the largest magnitude, zeros and whether all is finite."""

# Triton's loops and constants have no types that fit their uses.
# pyright: reportGeneralTypeIssues=false, reportArgumentType=false, reportAssignmentType=false

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import triton.language as tl

from ellq_kernels.scaling import scale_down, scale_exponents
from ellq_kernels.triton.jit import kernel, launch
from ellq_kernels.triton.layout import Span, chunks_of
from ellq_kernels.triton.powers import FOLDED, SERIES, device_tables, kinds_of, raise_to
from ellq_kernels.triton.reading import LANES, fold_lanes, key_of, magnitude_of, place
from ellq_kernels.triton.summing import Sums, chunk_layout, empty_sums, fold_rows
from ellq_kernels.triton.weights import TritonWeights
from ellq_math.dtypes import WEIGHT_DTYPES, decode
from ellq_math.sums import Array
from ellq_math.values import Counts, RowStatistics


def measure_many(weights: Sequence[TritonWeights], orders: tuple[float, ...]) -> list[RowStatistics]:
    """Return the statistics of each tensor; all of one dtype.

    A row with a NaN or infinity has one for its largest magnitude, and its sums mean nothing.
    """
    dtype, spans = weights[0].dtype, chunks_of(weights)
    exponents = np.zeros(sum(span.neurons for span in spans), np.int64)
    if dtype == "F64":  # all powers are of scaled magnitudes, so the largest must be known first
        largest = _pass(weights, (), spans, exponents).largest.cpu().numpy()
        exponents = scale_exponents(magnitudes_of(largest, dtype), dtype)
    sums = _pass(weights, orders, spans, exponents)
    columns, largest = sums.columns.cpu().numpy(), magnitudes_of(sums.largest.cpu().numpy(), dtype)
    powers, zeros = np.ascontiguousarray(columns[:-1].T), columns[-1].astype(np.int64)  # at once: tensors can be many
    ends = np.cumsum([span.neurons for span in spans])
    return [
        RowStatistics(
            orders=orders,
            sums=powers[end - span.neurons : end],
            exponents=exponents[end - span.neurons : end],
            max_magnitude=largest[end - span.neurons : end],
            zeros=zeros[end - span.neurons : end],
            fan_in=span.fan_in,
        )
        for span, end in zip(spans, ends.tolist(), strict=True)
    ]


def magnitudes_of(keys: Counts, dtype: str) -> Array:
    """Return the magnitudes of keys. Shape: any -> the same, float64."""
    return decode(keys.astype(WEIGHT_DTYPES[dtype].bits), dtype)


def scales_of(exponents: Counts, dtype: str, device: torch.device) -> torch.Tensor:
    """Return both factors of 2^-exponent of every row; none where nothing is scaled. Shape: (rows,) -> (2, rows) float64."""
    return torch.from_numpy(np.stack(scale_down(exponents if dtype == "F64" else exponents[:0]))).to(device)


def _pass(weights: Sequence[TritonWeights], orders: tuple[float, ...], spans: list[Span], exponents: Counts) -> Sums:
    """Return the sums of rows: one column for each order, then that of zeros."""
    dtype, device = weights[0].dtype, weights[0].device
    kinds = kinds_of(orders, dtype)
    folded = kinds.index("folded root") if "folded root" in kinds else -1
    # a folded table is stored in shared memory at each step, so more threads share it
    layout = chunk_layout(spans, device=device, full=64 if folded < 0 else 128)
    sums = empty_sums(len(orders) + 1, layout)
    launch(
        measure_chunks, (len(layout.tiles),),
        weights[0].bits, layout.tiles, scales_of(exponents, dtype, device), device_tables(orders, dtype, device),
        sums.columns, sums.largest, layout.rows, layout.stretches, -(-layout.longest // LANES.value),
        DTYPE=dtype, KINDS=kinds, ROOT=folded, ROWS=layout.per_tile, ALIGNMENT=layout.alignment,
        num_warps=max(4, layout.per_tile // 16),
    )  # fmt: skip
    return fold_rows(sums, spans)


@kernel
def measure_chunks(
    weights: tl.tensor, tiles: tl.tensor, scales: tl.tensor, tables: tl.tensor, columns: tl.tensor, largest: tl.tensor,
    rows: tl.tensor, stretches: tl.tensor, steps: tl.tensor,
    DTYPE: tl.constexpr, KINDS: tl.constexpr, ROOT: tl.constexpr, ROWS: tl.constexpr, ALIGNMENT: tl.constexpr,
) -> None:  # fmt: skip
    """Measure a tile of chunks: all lanes side by side, one step of sixteen weights down each chunk at a time.

    ROOT: which of the KINDS is a folded root, -1 for none.
    """
    start, _, length, stretch, row = place(tiles, ROWS, ALIGNMENT)
    if DTYPE == "F64":
        first = tl.load(scales + row, mask=length > 0, other=0.0)
        second = tl.load(scales + rows + row, mask=length > 0, other=0.0)
    sums = zero_sums(KINDS, ROWS)
    zeros = tl.zeros([ROWS, LANES], tl.int32)
    most = key_of(zeros.to(weights.dtype.element_ty), DTYPE)
    roots = tables
    if ROOT >= 0:
        roots = tl.load(tables + ROOT * 32768 + tl.arange(0, FOLDED))
    for step in tl.range(0, steps, loop_unroll_factor=2):  # two loads in flight
        lane = tl.arange(0, LANES) + step * LANES
        inside = lane[None, :] < length[:, None]
        key = key_of(tl.load(weights + (start[:, None] + lane[None, :]), mask=inside, other=0), DTYPE)
        most = tl.maximum(most, key)
        zeros += (inside & (key == 0)).to(tl.int32)
        x = magnitude_of(key, DTYPE)
        if DTYPE == "F64":
            x = x * first[:, None] * second[:, None]
        sums = add_powers(sums, key, x, tables, roots, DTYPE, KINDS)
    for which in tl.static_range(len(KINDS)):
        tl.store(columns + tl.cast(which, tl.int64) * stretches + stretch, fold_lanes(sums[which], ROWS), mask=length > 0)
    counted = tl.sum(zeros, axis=1).to(tl.float64)
    tl.store(columns + tl.cast(len(KINDS), tl.int64) * stretches + stretch, counted, mask=length > 0)
    tl.store(largest + stretch, tl.max(most, axis=1).to(tl.int64), mask=length > 0)


@kernel
def zero_sums(KINDS: tl.constexpr, ROWS: tl.constexpr) -> Any:
    """Return running sums that have added nothing, one for each kind."""
    sums = ()
    for _ in tl.static_range(len(KINDS)):
        sums = sums + (tl.zeros([ROWS, LANES], tl.float64),)
    return sums


@kernel
def add_powers(
    sums: tl.tensor, key: tl.tensor, x: tl.tensor, tables: tl.tensor, roots: tl.tensor,
    DTYPE: tl.constexpr, KINDS: tl.constexpr,
) -> Any:  # fmt: skip
    """Return the running sums with one more step of terms."""
    entries: tl.constexpr = 32768 if DTYPE == "BF16" or DTYPE == "F16" else SERIES + 4
    added = ()
    for which in tl.static_range(len(KINDS)):
        added = added + (sums[which] + raise_to(key, x, tables + which * entries, roots, KINDS, which),)
    return added
