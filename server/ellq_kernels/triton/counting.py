"""Whole numbers of weights: those above one threshold, their units, and the first that is no number."""

import torch
import triton.language as tl

from ellq_kernels.cuts import row_cuts
from ellq_kernels.triton.jit import kernel, launch
from ellq_kernels.triton.layout import Layout, chunks_of, lay_out
from ellq_kernels.triton.reading import infinity_key, key_of, magnitude_of, place
from ellq_kernels.triton.units import shares_of, unit_scales
from ellq_kernels.triton.weights import TritonWeights
from ellq_math.sums import CHUNK
from ellq_math.values import Counts, Cut, FixedPoints

CHUNKS_A_PROGRAM = 4


def first_nonfinite(weights: TritonWeights) -> int | None:
    """Return the flat index of the first NaN or infinity."""
    layout = _layout(weights)
    found = torch.empty(layout.stretches, dtype=torch.int64, device=weights.device)
    launch(
        place_nonfinite, (len(layout.tiles),),
        weights.bits, layout.tiles, found, weights.bits.numel(),
        DTYPE=weights.dtype, ROWS=layout.per_tile, WIDTH=CHUNK, ALIGNMENT=layout.alignment,
        INFINITY=infinity_key(weights.dtype),
    )  # fmt: skip
    first = int(found.min())
    return first if first < weights.bits.numel() else None


def unit_totals(weights: TritonWeights, fixed: FixedPoints) -> Counts:
    """Return the units of every row, rounded down."""
    layout = _layout(weights)
    found = torch.empty(layout.stretches, dtype=torch.int64, device=weights.device)
    launch(
        total_units, (len(layout.tiles),),
        weights.bits, layout.tiles, unit_scales(fixed, weights.dtype, upper=False, device=weights.device), found, layout.rows,
        DTYPE=weights.dtype, ROWS=layout.per_tile, WIDTH=CHUNK, ALIGNMENT=layout.alignment,
    )  # fmt: skip
    return found.view(weights.neurons, -1).sum(dim=1).cpu().numpy()


def cut_at(weights: TritonWeights, *, threshold: float, ties_kept: int) -> tuple[Cut, int]:
    """Return the cut of every row for one threshold over all."""
    layout = _layout(weights)
    found = torch.empty((2, layout.stretches), dtype=torch.int64, device=weights.device)
    bound = torch.tensor(
        [threshold], dtype=torch.float64, device=weights.device
    )  # a float argument would arrive in single precision
    launch(
        compare, (len(layout.tiles),),
        weights.bits, layout.tiles, bound, found, layout.stretches,
        DTYPE=weights.dtype, ROWS=layout.per_tile, WIDTH=CHUNK, ALIGNMENT=layout.alignment,
    )  # fmt: skip
    above, equal = found.view(2, weights.neurons, -1).sum(dim=2).cpu().numpy()
    return row_cuts(above, equal, threshold=threshold, ties_kept=ties_kept, width=weights.fan_in)


def _layout(weights: TritonWeights) -> Layout:
    return lay_out(chunks_of([weights]), per_tile=CHUNKS_A_PROGRAM, device=weights.device)


@kernel
def place_nonfinite(
    weights: tl.tensor, tiles: tl.tensor, found: tl.tensor, nowhere: tl.tensor,
    DTYPE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, ALIGNMENT: tl.constexpr, INFINITY: tl.constexpr,
) -> None:  # fmt: skip
    """Store the place of the first number of each chunk that is not finite, `nowhere` when all are."""
    start, _, length, chunk, _ = place(tiles, ROWS, ALIGNMENT)
    offset = tl.arange(0, WIDTH)
    inside = offset[None, :] < length[:, None]
    at = start[:, None] + offset[None, :]
    key = key_of(tl.load(weights + at, mask=inside, other=0), DTYPE)
    tl.store(found + chunk, tl.min(tl.where(key >= INFINITY, at, nowhere), axis=1), mask=length > 0)


@kernel
def total_units(
    weights: tl.tensor, tiles: tl.tensor, scales: tl.tensor, found: tl.tensor, rows: tl.tensor,
    DTYPE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, ALIGNMENT: tl.constexpr,
) -> None:  # fmt: skip
    """Add up the units of each chunk, rounded down."""
    start, _, length, chunk, row = place(tiles, ROWS, ALIGNMENT)
    offset = tl.arange(0, WIDTH)
    inside = offset[None, :] < length[:, None]
    x = magnitude_of(key_of(tl.load(weights + (start[:, None] + offset[None, :]), mask=inside, other=0), DTYPE), DTYPE)
    units = shares_of(x, scales, rows, row, length > 0).to(tl.int64)  # truncation: shares are not negative
    tl.store(found + chunk, tl.sum(units, axis=1), mask=length > 0)


@kernel
def compare(
    weights: tl.tensor, tiles: tl.tensor, threshold: tl.tensor, found: tl.tensor, stretches: tl.tensor,
    DTYPE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, ALIGNMENT: tl.constexpr,
) -> None:  # fmt: skip
    """Count the weights of each chunk above a threshold, and those equal to it."""
    start, _, length, chunk, _ = place(tiles, ROWS, ALIGNMENT)
    offset = tl.arange(0, WIDTH)
    inside = offset[None, :] < length[:, None]
    x = magnitude_of(key_of(tl.load(weights + (start[:, None] + offset[None, :]), mask=inside, other=0), DTYPE), DTYPE)
    bound = tl.load(threshold)
    above, equal = (inside & (x > bound)).to(tl.int32), (inside & (x == bound)).to(tl.int32)
    tl.store(found + chunk, tl.sum(above, axis=1).to(tl.int64), mask=length > 0)
    tl.store(found + stretches + chunk, tl.sum(equal, axis=1).to(tl.int64), mask=length > 0)
